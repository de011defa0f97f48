"""Verification, checkpoints and keys over HTTP, on both databases."""

from __future__ import annotations

import asyncio
import base64
import json
import stat
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pytest_httpserver import HTTPServer

from adapters.bootstrap import open_service
from adapters.checkpoint_outlets import CheckpointFile
from adapters.settings import Settings
from adapters.signatures import Ed25519Keys, read_private, read_public
from application.checkpoints import holds, read
from tests.support.damaging import DEFINITION, KEY, OTHER_KEY, Database
from tests.support.service import Api

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/retrace.db"
    return str(request.getfixturevalue("fresh_postgres"))


@asynccontextmanager
async def serving(database: str, **given: Any):
    members = {"partitions": 2, "grace": 0.1, "audit_key": KEY, "allow_loopback": True, **given}
    service = await open_service(Settings(database=database, **members), functions={}, development=False)
    try:
        transport = httpx2.ASGITransport(app=service.app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080", timeout=30) as http:
            yield service.node, Api(http)
    finally:
        await service.close()


async def verified(api: Api, **body: Any) -> dict[str, Any]:
    """The result of a verification."""
    begun = await api.done("POST", "/v1/audit/verify", json=body)
    shown = await api.done("GET", f"/v1/operations/{begun['id']}", params={"wait": 30})
    assert shown["status"] == "completed", shown
    return dict(shown["result"])


async def some(api: Api, count: int = 4) -> list[str]:
    await api.deploy(DEFINITION)
    ids = [(await api.start("shop/parcel", {"city": f"Faro {each}"}))["id"] for each in range(count)]
    for id_ in ids:
        await api.ended(id_)
    return ids


async def test_the_whole_log_since_a_checkpoint_and_one_orchestration(database):
    async with serving(database) as (node, api):
        ids = await some(api)
        await node.checkpoints.make(node.world.signer)
        answer = await api.http.post("/v1/audit/verify")
        assert answer.status_code == 202
        assert answer.headers["Location"] == f"/v1/operations/{answer.json()['id']}"
        assert (answer.json()["kind"], answer.json()["actor"]) == ("audit.verify", "anonymous")
        whole = await verified(api)
        assert (whole["sound"], whole["signatures_checked"], whole["notes"]) == (True, True, [])
        assert whole["events"] == sum([len(await api.history(each)) for each in ids])
        assert whole["checkpoints"] in (1, 2)
        assert (await verified(api, since="latest"))["events"] == 0
        await some(api, 1)
        assert 0 < (await verified(api, since="latest"))["events"] < whole["events"]
        one = await verified(api, orchestration=ids[0])
        assert (one["sound"], one["events"]) == (True, len(await api.history(ids[0])))
    damaged = Database(database)
    (row, *_) = damaged.run("SELECT partition, position FROM events WHERE version = 3 ORDER BY partition, position")
    damaged.run("UPDATE events SET state = ? WHERE partition = ? AND position = ?", b"\x80", *row)
    async with serving(database) as (_, api):
        found = await verified(api)
        [finding] = found["findings"]
        assert (finding["kind"], finding["partition"], finding["position"], finding["version"]) == (
            "payload_changed",
            *row,
            3,
        )
        one = await verified(api, orchestration=finding["orchestration"])
        assert (one["sound"], one["findings_total"], one["findings"][0]["kind"]) == (False, 1, "payload_changed")
        assert all(
            [(await verified(api, orchestration=each))["sound"] for each in ids if each != finding["orchestration"]]
        )


async def test_one_of_which_nothing_is_left(database):
    async with serving(database) as (node, api):
        [id_] = await some(api, 1)
        await node.projector.caught_up()
    Database(database).run("DELETE FROM events")
    async with serving(database) as (_, api):
        one = await verified(api, orchestration=id_)
        assert [(each["kind"], each["orchestration"]) for each in one["findings"]] == [("orchestration_missing", id_)]


async def test_refusals(database):
    async with serving(database) as (_, api):
        await some(api, 1)
        for body, status in (
            ({"since": "yesterday"}, 422),
            ({"since": "0:999"}, 422),
            ({"since": "99:1"}, 422),
            ({"since": "0001-01-01T00:00:00+14:00"}, 422),
            ({"since": "9999-12-31T23:59:59-14:00"}, 422),
            ({"orchestration": "o_" + "0" * 22}, 404),
            ({"orchestration": "nobody"}, 404),
            ({"checkpoints": [{"partition": 1}]}, 422),
            ({"unknown": 1}, 422),
        ):
            answer = await api.http.post("/v1/audit/verify", json=body)
            assert answer.status_code == status, body
        assert (await api.http.get("/v1/audit/checkpoints", params={"after": "x"})).status_code == 400
        foreign = {
            "format": 1,
            "database": "0" * 32,
            "partition": 0,
            "position": 1,
            "log_hash": "0" * 64,
            "made_at": "2026-01-01T00:00:00Z",
            "key_id": "k",
            "signature": "",
        }
        answer = await api.http.post("/v1/audit/verify", json={"checkpoints": [foreign]})
        assert "another database" in answer.json()["errors"][0]["detail"]


async def test_checkpoints_and_keys_are_shown_and_can_be_checked(database):
    async with serving(database) as (node, api):
        for _ in range(3):
            await some(api, 6)
            await node.checkpoints.make(node.world.signer)
        listed = await api.done("GET", "/v1/audit/checkpoints")
        assert len(listed["items"]) >= 3
        assert listed["next"] is None
        paged, after = [], None
        while True:
            query = {"limit": 2} | ({} if after is None else {"after": after})
            page = await api.done("GET", "/v1/audit/checkpoints", params=query)
            paged += page["items"]
            if (after := page["next"]) is None:
                break
        assert paged == listed["items"]
        only = await api.done("GET", "/v1/audit/checkpoints", params={"partition": 1})
        assert only["items"] == [each for each in paged if each["partition"] == 1]
        assert (await api.done("GET", "/v1/audit/checkpoints", params={"partition": 999}))["items"] == []
        keys = await api.done("GET", "/v1/audit/keys")
        [key] = keys["items"]
        assert key["current"]
        public = Ed25519Keys([read_public(key["pem"])])
        for each in paged:
            name, record = read(each)
            assert name == keys["database"]
            assert holds(public, name, record)


async def test_a_graceful_stop_leaves_a_checkpoint_inside_and_outside(database, tmp_path):
    outside = tmp_path / "checkpoints"
    async with serving(database, checkpoint_to=str(outside)) as (node, api):
        await some(api)
        heads = {head.partition: head for head in node.journal.heads() if head.position}
    lines = [json.loads(line) for line in outside.read_text().splitlines()]
    assert {each["partition"]: each["position"] for each in lines} == {each: heads[each].position for each in heads}
    async with serving(database, checkpoint_to=str(outside)) as (_, api):
        assert (await api.done("GET", "/v1/audit/checkpoints"))["items"] == lines
        assert (await verified(api, checkpoints=lines))["checkpoints"] == 2 * len(lines)
    # The tail is cut, with everything in the database that knew of it; what is outside still tells.
    damaged = Database(database)
    for table in ("checkpoints", "status", "events"):
        damaged.run(f"DELETE FROM {table}")
    damaged.run("UPDATE tracking SET position = 0")
    damaged.run("UPDATE partitions SET head_position = 0, head_hash = ?", bytes(32))
    async with serving(database) as (_, api):
        assert (await verified(api))["sound"]
        found = await verified(api, checkpoints=lines)
        assert {(each["kind"], each["position"]) for each in found["findings"]} == {("tail_cut", 1)}
        assert {each["partition"] for each in found["findings"]} == set(heads)


async def test_without_a_key_there_are_no_checkpoints_and_it_is_said(database):
    async with serving(database, audit_key=None) as (_, api):
        await some(api)
        assert (await api.done("GET", "/v1/audit/keys"))["items"] == []
        found = await verified(api)
        assert (found["sound"], found["signatures_checked"]) == (True, False)
        assert "RETRACE_AUDIT_KEY" in found["notes"][0]
    async with serving(database) as (_, api):
        assert (await api.done("GET", "/v1/audit/checkpoints"))["items"] == []


async def test_a_key_that_was_exchanged_has_to_be_trusted_still(database):
    async with serving(database) as (_, api):
        await some(api)
    async with serving(database, audit_key=OTHER_KEY) as (_, api):
        found = await verified(api)
        assert {each["kind"] for each in found["findings"]} == {"checkpoint_altered"}
        assert "RETRACE_AUDIT_TRUST" in found["findings"][0]["detail"]
    former = base64.b64encode(read_private(KEY).public_key().public_bytes_raw()).decode()
    async with serving(database, audit_key=OTHER_KEY, audit_trust=[former]) as (_, api):
        assert (await verified(api))["sound"]
        assert [each["current"] for each in (await api.done("GET", "/v1/audit/keys"))["items"]] == [True, False]


async def test_no_false_alarm_while_writers_go_on(database):
    async with serving(database, checkpoint_every=0.05) as (_, api):
        await api.deploy(DEFINITION)
        writing = True

        async def write(number: int) -> None:
            turn = 0
            while writing:
                turn += 1
                await api.start("shop/parcel", {"city": f"Faro {number} {turn}"})

        writers = [asyncio.create_task(write(each)) for each in range(4)]
        seen = 0
        for turn in range(12):
            found = await verified(api, **({"since": "latest"} if turn % 3 == 2 else {}))
            assert (found["sound"], found["findings"]) == (True, [])
            seen = max(seen, found["events"])
        writing = False
        await asyncio.gather(*writers)
        assert seen > 20
        assert (await verified(api))["checkpoints"] > 2


# Places outside ---------------------------------------------------------------------------------------------------


async def test_trouble_outside_is_tried_again_and_holds_nobody_up(tmp_path, httpserver: HTTPServer):
    received: list[Any] = []
    httpserver.expect_ordered_request("/checkpoints", method="POST").respond_with_data("down", status=503)
    httpserver.expect_ordered_request("/checkpoints", method="POST").respond_with_handler(
        lambda request: (
            received.append(request.get_json())  # type: ignore[func-returns-value]
            or __import__("werkzeug").Response(status=204)
        )
    )
    address = httpserver.url_for("/checkpoints")
    async with serving(f"sqlite:///{tmp_path}/retrace.db", checkpoint_to=address, checkpoint_every=0.05) as (_, api):
        await some(api)
        async with asyncio.timeout(20):
            while not received:  # noqa: ASYNC110 - the receiver is another thread
                await asyncio.sleep(0.02)
        [message] = received
        listed = (await api.done("GET", "/v1/audit/checkpoints"))["items"]
        assert [each in listed for each in message["checkpoints"]] == [True] * len(message["checkpoints"])


async def test_a_line_that_a_process_died_over_does_not_spoil_the_next(tmp_path):
    path = tmp_path / "checkpoints"
    path.write_text('{"torn')
    await CheckpointFile(path).put([{"n": 1}, {"n": 2}])
    assert path.read_text() == '{"torn\n{"n":1}\n{"n":2}\n'


async def test_a_developers_database_has_a_key_beside_it(tmp_path):
    settings = Settings(database=f"sqlite:///{tmp_path}/retrace.db", partitions=1)
    for _ in range(2):
        service = await open_service(settings, functions={}, development=True)
        keys = service.node.verification.keys()["items"]
        await service.close()
        file = Path(tmp_path / "retrace.db.audit-key.pem")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert [each["pem"] for each in keys] == [
            Ed25519Keys([read_private(str(file)).public_key()]).listed()[0]["pem"]
        ]
