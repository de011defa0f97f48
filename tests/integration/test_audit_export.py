"""The export: lines from which every hash can be computed again elsewhere, without any id or secret of ours."""

from __future__ import annotations

import contextlib
import hmac
import json
import sqlite3
from base64 import b64decode
from hashlib import sha256
from typing import Any
from uuid import UUID

import msgspec
import pytest

from adapters.stored_events import EventMapper
from application.chain import GENESIS, event_hash, log_hash
from application.verifying_export import ExportCheck
from tests.support.audited import archive, feed, serving

pytestmark = pytest.mark.anyio


async def exported(api, **query: Any) -> list[dict[str, Any]]:
    answer = await api.http.get("/v1/audit/export", params=query)
    assert answer.status_code == 200
    return [json.loads(line) for line in answer.text.splitlines()]


def events_of(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for each in lines if each["kind"] == "event"]


def own_id(header: dict[str, Any], public_id: str) -> tuple[int, UUID]:
    digest = hmac.digest(b64decode(header["place_key"]), public_id.encode(), "sha256")
    return int.from_bytes(digest[:8]) % header["partitions"], UUID(bytes=digest[8:24])


def check(lines: list[dict[str, Any]]) -> None:
    """Every hash is that of the stored bytes in their place; complete exports are linked from the first position on."""
    header, events, end = lines[0], events_of(lines), lines[-1]
    assert (header["kind"], header["format"], end) == ("header", 1, {"kind": "end", "events": len(events)})
    assert header["database"] == sha256(b"retrace database" + b64decode(header["place_key"])).hexdigest()[:32]
    chains: dict[int, tuple[int, bytes]] = {}
    last: dict[str, str] = {}
    for each in events:
        partition, identity = own_id(header, each["orchestration"])
        assert partition == each["partition"]
        stored = b64decode(each["stored"])
        place = (partition, each["position"], identity, each["version"], each["type"])
        wanted = event_hash(bytes.fromhex(each["previous"]), *place, stored)
        assert wanted.hex() == each["hash"]
        if header["complete"]:
            position, chain = chains.get(partition, (0, GENESIS))
            assert each["position"] == position + 1
            chain = log_hash(chain, wanted)
            assert chain.hex() == each["log_hash"]
            chains[partition] = (position + 1, chain)
            assert each["previous"] == last.get(each["orchestration"], GENESIS.hex())
        last[each["orchestration"]] = each["hash"]


async def test_a_complete_export_is_linked_and_readable(served):
    node, api = served
    for city in ("Faro", "Porto"):
        await api.ended((await api.start("shop/parcel", {"city": city}))["id"])
    await archive(node)
    id_ = (await api.start("patient"))["id"]
    await api.waiting(id_, "wait")
    lines = await exported(api)
    check(lines)
    header, events = lines[0], events_of(lines)
    assert (header["complete"], header["filters"], header["exported_by"]) == (True, {}, "anonymous")
    history = await api.history(id_)
    mine = [each for each in events if each["orchestration"] == id_]
    for line, item in zip(mine, history, strict=True):
        assert item.items() <= line.items()
    assert [each["hash"] for each in mine] == [each["hash"] for each in history]
    assert sorted((each["orchestration"], each["version"]) for each in events) == sorted(
        (each["orchestration"], each["version"]) for each in await feed(api)
    )
    text = json.dumps(lines)
    salt = await node.world.storage.log.salt()
    for secret in (str(node.engine.identity.locate(id_)[1]), salt.hex(), node.engine.identity.sealing_key().hex()):
        assert secret not in text


async def test_a_filtered_export_says_so_and_each_event_can_be_checked(api):
    ids = [(await api.start("shop/parcel", {"city": city}))["id"] for city in ("Faro", "Porto")]
    for id_ in ids:
        await api.ended(id_)
    for query in (
        {"type": "task.*"},
        {"orchestration": ids[0]},
        {"definition": "shop/parcel", "type": "task.completed"},
    ):
        lines = await exported(api, **query)
        check(lines)
        assert not lines[0]["complete"]
        assert lines[0]["filters"]
        assert len(events_of(lines)) == len(await feed(api, **query)) > 0
    assert {each["orchestration"] for each in events_of(await exported(api, orchestration=ids[0]))} == {ids[0]}


async def test_an_empty_log_is_an_export_too(api):
    lines = await exported(api)
    check(lines)
    assert {each["kind"] for each in lines} <= {"header", "key", "end"}
    assert (await api.http.head("/v1/audit/export")).status_code == 200
    assert (await api.http.get("/v1/audit/export?limit=1")).status_code == 400


async def test_an_export_has_the_checkpoints_of_what_it_holds_and_verifies_without_a_service(tmp_path):
    async with serving(f"sqlite:///{tmp_path}/retrace.db") as (node, api):
        await api.ended((await api.start("shop/parcel", {"city": "Faro"}))["id"])
        made = await node.checkpoints.make(node.world.signer)
        assert made
        await archive(node)
        id_ = (await api.start("patient"))["id"]
        await api.waiting(id_, "wait")
        lines = await exported(api)
        filtered = await exported(api, type="task.*")
        beyond = msgspec.structs.replace(made[0], position=made[0].position + 100)
        await node.world.storage.checkpoints.put([beyond])
        forged = await exported(api)
        keys = node.world.keys
    told = [each for each in lines if each["kind"] == "checkpoint"]
    assert [(each["partition"], each["position"]) for each in told] == [
        (each.partition, each.position) for each in made
    ]
    assert [each["key_id"] for each in lines if each["kind"] == "key"] == [made[0].key_id]

    def verified(lines: list[dict[str, Any]]) -> dict[str, Any]:
        trailer = [each for each in lines[1:] if each["kind"] != "event"]
        check = ExportCheck(lines[0], trailer, EventMapper(), keys)
        assert sum(check.run(events_of(lines))) == len(events_of(lines))
        return check.result()

    for each in (lines, filtered):
        result = verified(each)
        assert (result["sound"], result["findings"]) == (True, [])
    # One that is beyond the end goes with the export: it tells of a log that was cut, or was forged like this one.
    assert [each["kind"] for each in verified(forged)["findings"]] == ["checkpoint_altered"]
    (last,) = [each for each in lines if each.get("type") == "listen.started"]
    last["at"] = "2020-01-01T00:00:00.000000Z"
    assert not verified(lines)["sound"]


@pytest.mark.parametrize("loss", ["DELETE FROM archive", "UPDATE archive SET content = x'01'"])
async def test_bytes_that_the_archive_lost_are_told_and_not_taken_for_changed_events(tmp_path, loss):
    database = f"sqlite:///{tmp_path}/retrace.db"
    async with serving(database, partitions=1) as (node, api):
        for city in ("Faro", "Porto"):
            await api.ended((await api.start("shop/parcel", {"city": city}))["id"])
        await archive(node)
        id_ = (await api.start("patient"))["id"]
        await api.waiting(id_, "wait")
        await node.checkpoints.make(node.world.signer)
    with contextlib.closing(sqlite3.connect(tmp_path / "retrace.db")) as connection, connection:
        connection.execute(loss)
    async with serving(database) as (node, api):
        exports = await exported(api), await exported(api, until="2999-01-01T00:00:00Z")
        keys = node.world.keys
    for lines in exports:
        check = ExportCheck(lines[0], [each for each in lines[1:] if each["kind"] != "event"], EventMapper(), keys)
        assert sum(check.run(events_of(lines))) == len(events_of(lines))
        assert [each["kind"] for each in check.result()["findings"]] == ["archive_missing"] * 2
        bare = [index for index, each in enumerate(lines) if each.get("stored") == ""]
        lines[bare[1]]["log_hash"] = lines[bare[1]]["hash"] = "00" * 32
        check = ExportCheck(lines[0], [each for each in lines[1:] if each["kind"] != "event"], EventMapper(), keys)
        list(check.run(events_of(lines)))
        assert {each.kind for each in check.findings} != {"archive_missing"} or not lines[0]["complete"]
