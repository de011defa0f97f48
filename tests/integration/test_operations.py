"""Long-running operations over HTTP and on the command line, on both databases."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import httpx2
import pytest

from adapters.bootstrap import open_service
from adapters.settings import Settings
from tests.support.service import Api

pytestmark = pytest.mark.anyio


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


async def until(event: asyncio.Event, progress):
    progress.total = 2
    progress.advance()
    await event.wait()
    progress.advance()
    return {"sound": True}


async def test_it_is_polled_until_it_has_completed(database):
    async with serving(database) as (node, api):
        event = asyncio.Event()
        id_ = await node.operations.start("audit.verify", "ann", lambda progress: until(event, progress), {"a": 1})
        shown = await api.done("GET", f"/v1/operations/{id_}", params={"wait": 0})
        assert (shown["status"], shown["result"]) == ("running", None)
        assert shown["links"] == {"self": f"/v1/operations/{id_}", "cancel": f"/v1/operations/{id_}/cancel"}
        waiting = asyncio.create_task(api.done("GET", f"/v1/operations/{id_}", params={"wait": 20}))
        await asyncio.sleep(0)
        event.set()
        shown = await waiting
        assert (shown["status"], shown["result"], shown["progress"]) == (
            "completed",
            {"sound": True},
            {"done": 2, "total": 2},
        )
        listed = await api.done("GET", "/v1/operations", params={"kind": "audit.verify"})
        assert [each["id"] for each in listed["items"]] == [id_]
        assert "result" not in listed["items"][0]
        assert (await api.done("GET", "/v1/operations", params={"kind": "other"}))["items"] == []


async def test_it_is_cancelled(database):
    async with serving(database) as (node, api):
        id_ = await node.operations.start("k", "ann", lambda progress: until(asyncio.Event(), progress))
        answer = await api.http.post(f"/v1/operations/{id_}/cancel")
        assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
        assert (await api.done("POST", f"/v1/operations/{id_}/cancel"))["status"] == "cancelled"


async def test_a_restart_tells_that_it_was_interrupted(database):
    async with serving(database) as (node, _):
        id_ = await node.operations.start("k", "ann", lambda progress: until(asyncio.Event(), progress))
    async with serving(database) as (_, api):
        shown = await api.done("GET", f"/v1/operations/{id_}", params={"wait": 5})
        assert (shown["status"], shown["error"]["code"]) == ("failed", "interrupted")


async def test_refusals(database):
    async with serving(database) as (_, api):
        for path in ("p_" + "0" * 22, "p_x", "o_" + "0" * 22):
            assert (await api.http.get(f"/v1/operations/{path}")).status_code == 404
            assert (await api.http.post(f"/v1/operations/{path}/cancel")).status_code == 404
        assert (await api.http.get("/v1/operations", params={"cursor": "x"})).status_code == 400
