"""Large values of a running service, on both databases: histories stay small, and nothing else is different."""

from __future__ import annotations

from hashlib import sha256

import pytest

from tests.support.audited import serving

pytestmark = pytest.mark.anyio

KEEPER = """
document: {dsl: '1.0.3', namespace: shop, name: keeper, version: '1.0.0'}
do:
  - first: {set: {text: '${ .text }', small: 1}}
  - second: {set: {text: '${ .text }', small: 2}}
  - wait: {listen: {to: {one: {with: {type: go}}}}}
  - third: {set: {same: '${ $outputs.second.text == $workflow.input.text }'}}
"""
TEXT = "Grüße " * 100_000


async def kept(api) -> str:
    await api.deploy(KEEPER)
    return str((await api.start("shop/keeper", {"text": TEXT}))["id"])


@pytest.fixture
async def running(served):
    node, api = served
    node.journal._largest = 64 * 1024
    yield node, api


async def test_a_history_is_small_and_says_where_the_rest_is(running):
    node, api = running
    id_ = await kept(api)
    await api.waiting(id_, "wait")
    answer = await api.http.get(f"/v1/orchestrations/{id_}/history", params={"limit": 500})
    assert len(answer.content) < 10_000
    reference = answer.json()["items"][0]["data"]["input"]["text"]
    digest = f"sha256:{sha256(TEXT.encode()).hexdigest()}"
    assert reference == {"digest": digest, "bytes": len(TEXT.encode()), "media_type": "text/plain; charset=utf-8"}
    content = await api.http.get(f"/v1/orchestrations/{id_}/blobs/{digest}")
    assert content.text == TEXT
    assert content.headers["content-type"] == "text/plain; charset=utf-8"
    assert content.headers["x-content-type-options"] == "nosniff"
    assert content.headers["content-length"] == str(len(TEXT.encode()))
    again = await api.http.get(
        f"/v1/orchestrations/{id_}/blobs/{digest}", headers={"If-None-Match": content.headers["etag"]}
    )
    assert again.status_code == 304


async def test_a_status_has_the_values_themselves(running):
    node, api = running
    id_ = await kept(api)
    status = await api.waiting(id_, "wait")
    assert status["input"]["text"] == TEXT


async def test_what_was_forgotten_is_folded_again(running):
    node, api = running
    id_ = await kept(api)
    await api.waiting(id_, "wait")
    node.cache.forget(node.engine.identity.locate(id_)[1])
    await api.http.post(
        f"/v1/orchestrations/{id_}/events",
        json={"specversion": "1.0", "id": "1", "source": "s", "type": "go"},
        headers={"Content-Type": "application/cloudevents+json"},
    )
    status = await api.ended(id_)
    assert status["output"] == {"same": True}


async def test_a_value_is_kept_once_for_an_orchestration(running):
    node, api = running
    id_ = await kept(api)
    await api.waiting(id_, "wait")
    partition, orchestration = node.engine.identity.locate(id_)
    rows = [each for each in await node.blobs.page(partition) if each[0] == orchestration]
    assert [each[2] for each in rows] == [len(TEXT.encode())]


async def test_the_content_of_another_orchestration_is_not_found(running):
    node, api = running
    id_ = await kept(api)
    other = str((await api.start("patient"))["id"])
    digest = f"sha256:{sha256(TEXT.encode()).hexdigest()}"
    assert (await api.http.get(f"/v1/orchestrations/{id_}/blobs/{digest}")).status_code == 200
    for path in (f"{other}/blobs/{digest}", f"{id_}/blobs/sha256:{'0' * 64}", f"{id_}/blobs/x"):
        assert (await api.http.get(f"/v1/orchestrations/{path}")).status_code == 404


async def test_a_missing_content_concerns_one_orchestration_and_is_named(running):
    node, api = running
    id_ = await kept(api)
    await api.waiting(id_, "wait")
    partition, orchestration = node.engine.identity.locate(id_)
    digest = sha256(TEXT.encode()).digest()
    await node.blobs.drop(partition, orchestration, [digest])
    node.cache.forget(orchestration)
    answer = await api.http.get(f"/v1/orchestrations/{id_}")
    assert answer.status_code == 500
    assert answer.json()["type"] == "/problems/content-missing"
    assert id_ in answer.json()["detail"]
    assert digest.hex() in answer.json()["detail"]
    history = await api.history(id_)
    assert history[0]["data"]["input"]["text"]["digest"] == f"sha256:{digest.hex()}"
    assert (await api.ended(str((await api.start("shop/parcel", {"city": "Rome"}))["id"])))["status"] == "completed"
