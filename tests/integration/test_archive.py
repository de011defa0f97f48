"""The archive over HTTP, on both databases: gone from everywhere, readable on request, its place in the chain kept."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from datetime import timedelta

import httpx2
import pytest

from adapters.bootstrap import open_service
from adapters.settings import Settings
from tests.support.service import Api
from tests.support.verified import breaks

pytestmark = pytest.mark.anyio
DEFINITION = """
document: {dsl: '1.0.3', namespace: shop, name: parcel, version: '1.0.0'}
resource: {path: parcels}
do:
  - label: {set: {text: '${ "To " + .city }'}}
"""
KEY = {"Idempotency-Key": "parcel-1"}
START = {"definition": "shop/parcel", "input": {"city": "Faro"}, "business_key": "b", "tags": {"team": "north"}}


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/retrace.db"
    return str(request.getfixturevalue("fresh_postgres"))


@asynccontextmanager
async def serving(database):
    service = await open_service(Settings(database=database, partitions=2, grace=0.1), functions={}, development=True)
    try:
        transport = httpx2.ASGITransport(app=service.app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080", timeout=30) as http:
            yield service.node, Api(http)
    finally:
        await service.close()


async def archive(node):
    await node.projector.caught_up()
    return await node.archivist.archive(node.engine.clock.now() + timedelta(seconds=1))


async def chain_breaks(node) -> list[tuple[str, int]]:
    log = node.world.storage.log
    found = []
    for head in await log.heads(range(node.partitions)):
        found += breaks(head, await log.log(head.partition, limit=10_000))
    return found


async def test_it_is_gone_from_everywhere_and_can_be_read(database):
    async with serving(database) as (node, api):
        await api.deploy(DEFINITION)
        started = await api.http.post("/v1/orchestrations", json=START, headers=KEY)
        id_ = started.json()["id"]
        path = f"/v1/orchestrations/{id_}"
        await api.ended(id_)
        history = await api.history(id_)
        assert await archive(node) == 1
        assert not await chain_breaks(node)

        for address in (path, f"{path}/history", f"{path}/tasks", f"{path}/rollback-plan", f"/parcels/{id_}"):
            answer = await api.http.get(address)
            assert answer.status_code == 404
            assert answer.json()["type"].endswith("/problems/not-found")
        assert "archive=true" in (await api.http.get(path)).json()["detail"]
        assert (await api.http.post(f"{path}/cancel")).status_code == 404
        for query in ({}, {"status": "completed"}, {"tag": "team:north"}, {"business_key": "b"}):
            assert (await api.done("GET", "/v1/orchestrations", params=query))["items"] == []

        page = await api.done("GET", f"{path}/history", params={"archive": "true", "limit": 2})
        assert page == {"items": history[:2], "next_after": 2}
        lines = await api.http.get(
            f"{path}/history", params={"archive": "true"}, headers={"Accept": "application/x-ndjson"}
        )
        assert [json.loads(line) for line in lines.text.splitlines()] == history
        assert (await api.http.get(f"{path}/history", params={"archive": "yes"})).status_code == 400

    async with serving(database) as (node, api):
        page = await api.done("GET", f"{path}/history", params={"archive": "true", "limit": 500})
        assert page["items"] == history
        assert not await chain_breaks(node)


async def test_a_repeat_that_comes_after_all_promises_starts_nothing(database):
    async with serving(database) as (node, api):
        await api.deploy(DEFINITION)
        id_ = (await api.http.post("/v1/orchestrations", json=START, headers=KEY)).json()["id"]
        await api.ended(id_)
        assert await archive(node) == 1
        again = await api.http.post("/v1/orchestrations", json=START, headers=KEY)
        assert again.headers["Idempotency-Replayed"] == "true", "within the promise it is the first answer"
        await node.world.storage.requests.expire(node.engine.clock.now() + timedelta(seconds=1))
        late = await api.http.post("/v1/orchestrations", json=START, headers=KEY)
        assert late.status_code == 409
        assert late.json()["type"].endswith("/problems/orchestration-ended")
        assert late.json()["current_status"] == "completed"
        assert id_ in late.json()["detail"]
        other = await api.http.post("/v1/orchestrations", json=START)
        assert other.status_code == 201, "its business key is free"


async def test_a_view_that_is_built_again_leaves_out_what_is_archived(database):
    async with serving(database) as (node, api):
        await api.deploy(DEFINITION)
        for city in ("Faro", "Porto"):
            await api.ended((await api.start("shop/parcel", {"city": city}))["id"])
        assert await archive(node) == 2
        young = (await api.start("shop/parcel", {"city": "Lisbon"}))["id"]
        await api.ended(young)
        await node.projector.rebuild()
        items = (await api.done("GET", "/v1/orchestrations"))["items"]
        assert [item["id"] for item in items] == [young]


async def test_what_if_looks_at_what_is_archived(database):
    async with serving(database) as (node, api):
        await api.deploy(DEFINITION)
        id_ = (await api.http.post("/v1/orchestrations", json=START)).json()["id"]
        await api.ended(id_)
        assert await archive(node) == 1
        path = f"/v1/orchestrations/{id_}/what-if"
        answer = await api.done("POST", path, json={})
        assert (answer["outcome"], answer["status"]) == ("same", "completed")
        answer = await api.done("POST", path, json={"input": {"city": "Lisbon"}})
        assert (answer["outcome"], answer["status"]) == ("other", "completed")
        assert answer["output"] == {"text": "To Lisbon"}
        assert (answer["same_calls"], answer["leaves_at"]["differs"]) == (False, ["output"])
