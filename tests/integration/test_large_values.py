"""Large values of a running service, on both databases: histories stay small, and nothing else is different."""

from __future__ import annotations

import json
import sqlite3
from base64 import b64decode
from contextlib import closing
from datetime import timedelta
from hashlib import sha256
from typing import Any

import msgspec
import psycopg
import pytest

from adapters.bundles import UnusableBundleError, open_bundle
from adapters.stored_events import EventMapper
from application.blob_collector import GRACE
from application.checkpoint_store import NoKeys
from application.large_values import blob_of
from application.verification import VerifyRequest
from application.verifying_export import ExportCheck
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
DIGEST = f"sha256:{sha256(TEXT.encode()).hexdigest()}"


async def kept(api) -> str:
    await api.deploy(KEEPER)
    return str((await api.start("shop/keeper", {"text": TEXT}))["id"])


@pytest.fixture
async def running(served):
    node, api = served
    node.journal._largest = 64 * 1024
    return node, api


async def test_a_history_is_small_and_says_where_the_rest_is(running):
    _, api = running
    id_ = await kept(api)
    await api.waiting(id_, "wait")
    answer = await api.http.get(f"/v1/orchestrations/{id_}/history", params={"limit": 500})
    assert len(answer.content) < 10_000
    reference = answer.json()["items"][0]["data"]["input"]["text"]
    assert reference == {"digest": DIGEST, "bytes": len(TEXT.encode()), "media_type": "text/plain; charset=utf-8"}
    content = await api.http.get(f"/v1/orchestrations/{id_}/blobs/{DIGEST}")
    assert content.text == TEXT
    assert content.headers["content-type"] == "text/plain; charset=utf-8"
    assert content.headers["x-content-type-options"] == "nosniff"
    assert content.headers["content-length"] == str(len(TEXT.encode()))
    again = await api.http.get(
        f"/v1/orchestrations/{id_}/blobs/{DIGEST}", headers={"If-None-Match": content.headers["etag"]}
    )
    assert again.status_code == 304


async def test_a_status_has_the_values_themselves(running):
    _, api = running
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
    _, api = running
    id_ = await kept(api)
    other = str((await api.start("patient"))["id"])
    assert (await api.http.get(f"/v1/orchestrations/{id_}/blobs/{DIGEST}")).status_code == 200
    for path in (f"{other}/blobs/{DIGEST}", f"{id_}/blobs/sha256:{'0' * 64}", f"{id_}/blobs/x"):
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


async def verified(node, **request) -> dict[str, Any]:
    id_ = await node.verification.verify(VerifyRequest(**request), "me")
    await node.operations.wait(id_, 60)
    return dict(json.loads(msgspec.json.encode((await node.operations.get(id_))["result"])))


async def test_a_verification_names_a_content_that_is_gone_or_another(running, database):
    node, api = running
    id_ = await kept(api)
    await api.waiting(id_, "wait")
    assert (await verified(node))["sound"]
    partition, orchestration = node.engine.identity.locate(id_)
    altered(database, b"altered")
    for request in ({}, {"orchestration": id_}):
        [finding] = (await verified(node, **request))["findings"]
        assert (finding["kind"], finding["orchestration"], finding["version"]) == ("blob_changed", id_, 1)
        assert sha256(TEXT.encode()).hexdigest() in finding["detail"]
    assert (await api.http.get(f"/v1/orchestrations/{id_}/blobs/{DIGEST}")).status_code == 500
    await node.blobs.drop(partition, orchestration, [sha256(TEXT.encode()).digest()])
    [finding] = (await verified(node))["findings"]
    assert finding["kind"] == "blob_missing"


def altered(database: str, content: bytes) -> None:
    """Somebody changes what lies in the database."""
    changed(database, "UPDATE blobs SET content = ?", content)


def changed(database: str, statement: str, *values: bytes) -> None:
    if database.startswith("sqlite"):
        with closing(sqlite3.connect(database.removeprefix("sqlite:///"))) as connection, connection:
            connection.execute(statement, values)
        return
    with psycopg.connect(database) as postgres:
        postgres.execute(statement.replace("?", "%s"), values)


async def test_an_export_brings_what_its_events_refer_to(running):
    _, api = running
    id_ = await kept(api)
    await api.waiting(id_, "wait")
    export = await api.http.get("/v1/audit/export", headers={"Accept": "application/x-ndjson"})
    lines = [json.loads(line) for line in export.text.splitlines()]
    brought = [each for line in lines for each in line.get("blobs", [])]
    assert [each["digest"] for each in brought] == [DIGEST]
    assert b64decode(brought[0]["content"]) == TEXT.encode()
    assert checked(lines)["sound"]
    brought[0]["content"] = "AAAA"
    assert [each["kind"] for each in checked(lines)["findings"]] == ["blob_changed"]
    for line in lines:
        line.pop("blobs", None)
    assert [each["kind"] for each in checked(lines)["findings"]] == ["blob_missing"]


def checked(lines: list[dict[str, Any]]) -> dict[str, Any]:
    header, *rest = lines
    check = ExportCheck(header, [each for each in rest if each["kind"] != "event"], EventMapper(), NoKeys())
    for _ in check.run(each for each in rest if each["kind"] == "event"):
        pass
    return dict(check.result())


async def test_a_bundle_replays_without_the_database(running):
    _, api = running
    id_ = await kept(api)
    await api.waiting(id_, "wait")
    bundle = await api.done("GET", f"/v1/orchestrations/{id_}/bundle")
    assert list(bundle["blobs"]) == [DIGEST]
    assert len(json.dumps(bundle["history"])) < 20_000
    _, walk = open_bundle(bundle)
    assert walk.state(len(bundle["history"])).input["text"] == TEXT
    bundle["blobs"][DIGEST]["content"] = "AAAA"
    with pytest.raises(UnusableBundleError, match=DIGEST):
        open_bundle(bundle)
    redacted = await api.done("GET", f"/v1/orchestrations/{id_}/bundle", params={"redact": "text"})
    assert redacted["blobs"] == {}
    assert "Grüße" not in json.dumps(redacted, ensure_ascii=False)
    open_bundle(redacted)


async def test_the_archive_keeps_what_it_refers_to(running):
    node, api = running
    id_ = await kept(api)
    await api.waiting(id_, "wait")
    await api.http.post(f"/v1/orchestrations/{id_}/terminate", json={})
    await node.projector.caught_up()
    assert await node.archivist.archive(node.engine.clock.now() + timedelta(days=1)) == 1
    page = await api.done("GET", f"/v1/orchestrations/{id_}/history", params={"archive": "true"})
    assert page["items"][0]["data"]["input"]["text"]["digest"] == DIGEST
    assert (await api.http.get(f"/v1/orchestrations/{id_}/blobs/{DIGEST}")).text == TEXT
    assert (await verified(node))["sound"]
    partition, orchestration = node.engine.identity.locate(id_)
    await node.blobs.drop(partition, orchestration, [sha256(TEXT.encode()).digest()])
    for request in ({}, {"orchestration": id_}):
        [finding] = (await verified(node, **request))["findings"]
        assert (finding["kind"], finding["orchestration"]) == ("blob_missing", id_)


async def test_what_nothing_refers_to_is_dropped_after_a_day(running):
    node, api = running
    id_ = await kept(api)
    await api.waiting(id_, "wait")
    partition, orchestration = node.engine.identity.locate(id_)
    orphan, long_ago = blob_of(b"orphan", "image/png"), node.engine.clock.now() - GRACE * 2
    await node.blobs.put(partition, orchestration, orphan, long_ago)
    await node.blobs.put(partition, orchestration, blob_of(b"young", "image/png"), node.engine.clock.now())
    assert await node.collector.collect() == 1
    assert await node.blobs.get(partition, orchestration, orphan.digest) is None
    assert len([each for each in await node.blobs.page(partition) if each[0] == orchestration]) == 2
    assert await node.collector.collect() == 0


async def test_all_contents_follow_their_archives(running, database, monkeypatch):
    monkeypatch.setattr("application.blob_collector._PAGE", 2)
    node, api = running
    ids = [await kept(api) for _ in range(8)]
    for id_ in ids:
        await api.waiting(id_, "wait")
        await api.http.post(f"/v1/orchestrations/{id_}/terminate", json={})
    await node.projector.caught_up()
    assert await node.archivist.archive(node.engine.clock.now() + timedelta(days=1)) == 8
    assert await node.collector.collect() == 0
    places = [node.engine.identity.locate(id_) for id_ in ids]
    changed(database, "DELETE FROM archive")
    assert await node.collector.collect() == 8
    assert [await node.blobs.get(*place, sha256(TEXT.encode()).digest()) for place in places] == [None] * 8


async def test_memory_holds_few_large_values(running):
    node, api = running
    node.cache._most_large_bytes = len(TEXT.encode()) * 3
    ids = [await kept(api) for _ in range(4)]
    for id_ in ids:
        await api.waiting(id_, "wait")
    assert sum(node.cache._large.values()) <= node.cache._most_large_bytes
    assert [(await api.status(id_))["input"]["text"] == TEXT for id_ in ids] == [True] * 4
    assert sum(node.cache._large.values()) <= node.cache._most_large_bytes


async def test_a_large_answer_has_no_secrets(database, httpserver, monkeypatch):
    monkeypatch.setenv("RETRACE_SECRET_SHOP", "s3cr3t-token")
    httpserver.expect_request("/echo").respond_with_data("a s3cr3t-token " * 30_000, content_type="text/plain")
    document = f"""
document: {{dsl: '1.0.3', namespace: shop, name: echo, version: '1.0.0'}}
use: {{secrets: [shop]}}
do:
  - ask:
      call: http
      with:
        method: get
        endpoint: {httpserver.url_for("/echo")}
        headers: {{X-Token: '${{ $secrets.shop }}'}}
"""
    async with serving(database, blob_threshold=64 * 1024) as (node, api):
        await api.deploy(document)
        id_ = str((await api.start("shop/echo", {}))["id"])
        status = await api.ended(id_)
        assert status["output"] == "a *** " * 30_000, status["error"]
        partition, orchestration = node.engine.identity.locate(id_)
        [row] = [each for each in await node.blobs.page(partition) if each[0] == orchestration]
        assert (await node.blobs.get(partition, *row[:2])).content == b"a *** " * 30_000
