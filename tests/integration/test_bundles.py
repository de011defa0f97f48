"""Bundles over HTTP: complete, of live, ended and archived orchestrations; they replay without the service."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator

import pytest

from application.checkpoints import holds, read
from retrace import replay
from tests.integration.test_archive import archive, serving
from tests.integration.test_audit_accesses import accesses
from tests.integration.test_rest_service import GREETING, PATIENT
from tests.integration.test_verification import serving as signing
from tests.support.running_examples import running_examples
from tests.support.service import Api, running_service

pytestmark = pytest.mark.anyio


@pytest.fixture
async def api(tmp_path) -> AsyncIterator[Api]:
    async with running_service(tmp_path) as running:
        for document in (GREETING, PATIENT):
            assert (await running.deploy(document))["http_status"] == 201
        yield running


async def test_a_bundle_has_the_history_and_the_status(api):
    id_ = (await api.start("shop/greeting", {"city": "Rome"}))["id"]
    status = await api.ended(id_)
    answer = await api.http.get(f"/v1/orchestrations/{id_}/bundle")
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{id_}.json"'
    bundle = answer.json()
    assert bundle["format"] == 1
    assert bundle["status"] == {name: value for name, value in status.items() if name != "links"}
    history = await api.history(id_)
    assert [{k: v for k, v in item.items() if k not in ("previous", "stored")} for item in bundle["history"]] == history
    assert [item["previous"] for item in bundle["history"][1:]] == [item["hash"] for item in history[:-1]]
    assert bundle["definition"]["reference"] == "shop/greeting@1.0.0"
    assert bundle["definition"]["document"]["document"]["name"] == "greeting"
    assert set(bundle["versions"]) == {"retrace", "python"}
    assert replay.load(bundle).verify() == []


async def test_one_that_still_runs_has_a_bundle_too(api):
    id_ = (await api.start("patient"))["id"]
    await api.waiting(id_, "wait")
    found = replay.load(await api.done("GET", f"/v1/orchestrations/{id_}/bundle"))
    assert (found.status["status"], found.unlike(), found.verify()) == ("running", [], [])


async def test_no_id_of_the_service_is_in_it(tmp_path):
    async with serving(f"sqlite:///{tmp_path}/r.db") as (node, api):
        await api.deploy(GREETING)
        id_ = (await api.start("shop/greeting", {"city": "Rome"}))["id"]
        await api.ended(id_)
        _, own = node.engine.identity.locate(id_)
        bundle = await api.http.get(f"/v1/orchestrations/{id_}/bundle")
        stored = b"".join(base64.b64decode(item["stored"]) for item in bundle.json()["history"])
        assert str(own).encode() not in bundle.content
        assert own.hex.encode() not in bundle.content
        assert own.bytes not in stored
        assert not {"partition", "position"} & set(bundle.json()["history"][0])


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_what_is_archived_has_the_same_bundle(kind, tmp_path, request):
    database = f"sqlite:///{tmp_path}/r.db" if kind == "sqlite" else request.getfixturevalue("fresh_postgres")
    async with serving(database) as (node, api):
        await api.deploy(GREETING)
        id_ = (await api.start("shop/greeting", {"city": "Rome"}))["id"]
        await api.ended(id_)
        before = await api.done("GET", f"/v1/orchestrations/{id_}/bundle")
        assert await archive(node) == 1
        after = await api.done("GET", f"/v1/orchestrations/{id_}/bundle")
        assert {**before, "exported_at": ""} == {**after, "exported_at": ""}
        other = "o_" + "x" * 22
        assert (await api.http.get(f"/v1/orchestrations/{other}/bundle")).status_code == 404


async def test_the_checkpoint_that_covers_it_is_in_it_and_holds(tmp_path):
    async with signing(f"sqlite:///{tmp_path}/r.db", partitions=1) as (node, api):
        await api.deploy(GREETING)
        ids = [(await api.start("shop/greeting", {"city": "Rome"}))["id"] for _ in range(3)]
        for id_ in ids:
            await api.ended(id_)
        path = f"/v1/orchestrations/{ids[0]}/bundle"
        assert (await api.done("GET", path))["checkpoints"] == []
        await node.checkpoints.make(node.world.signer)
        [found] = (await api.done("GET", path))["checkpoints"]
        database, record = read(found)
        assert holds(node.world.keys, database, record)
        await api.ended((await api.start("shop/greeting", {"city": "Rome"}))["id"])
        await node.checkpoints.make(node.world.signer)
        assert (await api.done("GET", path))["checkpoints"] == [found], "the first one covers it"


async def test_who_takes_a_bundle_is_recorded(api):
    id_ = (await api.start("shop/greeting", {"city": "Rome"}))["id"]
    length = (await api.ended(id_))["version"]
    await api.done("GET", f"/v1/orchestrations/{id_}/bundle", params={"redact": "city"})
    [access, *_] = await accesses(api, what="bundle")
    assert (access["orchestration"], access["events"], access["filters"]) == (id_, length, {"redact": ["city"]})


async def test_redacted_values_do_not_leave(api):
    id_ = (await api.start("shop/greeting", {"city": "Rome-by-night"}))["id"]
    await api.ended(id_)
    answer = await api.http.get(f"/v1/orchestrations/{id_}/bundle", params={"redact": ["city", "/status/output"]})
    bundle = answer.json()
    stored = b"".join(base64.b64decode(item["stored"]) for item in bundle["history"])
    assert b"Rome" not in answer.content + stored
    assert bundle["redacted"] == {
        "places": ["city", "/status/output"],
        "values": 1,
        "nowhere": [],
        "hashes_checkable": False,
    }
    assert bundle["status"]["output"] == {"text": "[redacted 1]"}
    assert replay.load(bundle).verify() == []


@pytest.mark.parametrize("query", [{"redact": "/status/nowhere"}, {"redact": "/"}, {"redact": ""}, {"hide": "city"}])
async def test_a_place_that_cannot_be_is_a_malformed_request(api, query):
    id_ = (await api.start("shop/greeting", {"city": "Rome"}))["id"]
    answer = await api.http.get(f"/v1/orchestrations/{id_}/bundle", params=query)
    assert answer.status_code == 400
    assert answer.json()["type"] == "/problems/malformed-request"


async def test_the_example_replays_elsewhere(tmp_path):
    """Real callouts, a rollback, and then nothing but the bundle."""
    async with running_examples(tmp_path, "trip") as (api, _):
        started = await api.done("POST", "/trips", json={"traveller": "Ada", "city": "Nowhere"})
        await api.ended(started["id"])
        bundle = await api.done("GET", f"/v1/orchestrations/{started['id']}/bundle")
    trip = replay.load(bundle)
    assert (trip.verify(), trip.unlike(), trip.broken_links()) == ([], [], [])
    assert trip.at(trip.versions)["status"] == "compensated"
    assert [step.rollback["undone"] for step in trip][-1] == ["bookHotel", "reserveCar"]


async def test_children_are_told_and_have_bundles_of_their_own(tmp_path):
    async with running_examples(tmp_path, "order") as (api, _):
        order = {"sku": "teapot", "quantity": 1, "country": "Italy", "grace": "PT0S"}
        id_ = (await api.start("shop/order", order))["id"]
        await api.reached(id_, lambda status: any(each["kind"] == "child" for each in status["waiting_for"]))
        [child] = (await api.done("GET", f"/v1/orchestrations/{id_}/bundle"))["children"]
        assert (child["definition"], child["task"]) == ("shop/shipping@1.0.0", "/do/3/ship")
        found = replay.load(await api.done("GET", f"/v1/orchestrations/{child['id']}/bundle"))
        assert (found.verify(), found.status["parent"]) == ([], id_)
