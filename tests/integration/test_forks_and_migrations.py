"""Forks and migrations over HTTP, against participants that keep a ledger: what was done is not done twice."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from adapters.bootstrap import open_service
from adapters.documents import read_definition
from adapters.settings import Settings
from application.service import CommandRequest, ForkRequest, StartRequest
from tests.support.examples_script import EXAMPLES
from tests.support.running_examples import running_examples
from tests.support.service import Api, running_service

pytestmark = pytest.mark.anyio
LISTENING = """
document: {dsl: '1.0.3', namespace: default, name: patient, version: '%s'}
do:
%s
  - await: {listen: {to: {one: {with: {type: go}}}}}
  - after: {set: {said: %s}}
"""


async def trip(api: Api, city: str, card: str = "4711") -> dict[str, Any]:
    started = await api.done("POST", "/trips", json={"traveller": "Ada", "city": city, "card": card})
    return await api.ended(started["id"])


async def versions(api: Api, id_: str, kind: str) -> list[int]:
    return [each["version"] for each in await api.history(id_) if each["type"] == kind]


async def fork(api: Api, id_: str, version: int, *, query: str = "", key: str | None = None, **members: Any) -> Any:
    headers = {} if key is None else {"Idempotency-Key": key}
    body = {"from_version": version, "reason": "once more", **members}
    return await api.http.post(f"/v1/orchestrations/{id_}/fork{query}", json=body, headers=headers)


def codes(answer: Any) -> list[str]:
    return [each["code"] for each in answer.json()["errors"]]


# Forks -----------------------------------------------------------------------------------------------------------------


async def test_what_was_done_is_not_done_again_and_is_undone_by_its_own_name(tmp_path):
    async with running_examples(tmp_path, "order", faster={"PT30S": "PT1H"}) as (api, participants):
        order = {"sku": "teapot", "quantity": 1, "country": "Atlantis", "card": "4711"}
        started = await api.done("POST", "/orders", json=order)
        status = await api.waiting(started["id"], "gracePeriod")
        id_, version = started["id"], status["version"]
        refused = await fork(api, id_, version)
        assert (refused.status_code, codes(refused)) == (409, ["original-unfinished"])
        assert refused.json()["type"] == "/problems/fork-conflict"
        await api.done("POST", f"/v1/orchestrations/{id_}/terminate", json={"reason": "by mistake"})
        answer = await fork(api, id_, version, input={**order, "country": "Italy", "grace": "PT1S"}, business_key="b")
        made = answer.json()
        assert answer.status_code == 201
        assert answer.headers["Location"] == f"/v1/orchestrations/{made['id']}" == made["links"]["self"]
        assert made["forked_from"] == {"id": id_, "version": version}
        assert made["input"]["country"] == "Italy"
        assert (made["business_key"], made["parent"]) == ("b", None)
        first, *_ = await api.history(made["id"])
        assert first["type"] == "orchestration.forked"
        assert first["data"]["origin"]["version"] == version
        assert (first["data"]["reason"], first["actor"]) == ("once more", "anonymous")
        assert "prefix" not in first["data"]
        assert first["data"]["input"] == made["input"]
        await api.done("POST", f"/v1/orchestrations/{made['id']}/cancel", json={"reason": "enough"})
        ended = await api.ended(made["id"])
        assert (ended["status"], ended["rollback"]["done"]) == ("cancelled", ["reserveStock"])
        stock = [(each.effect, each.id) for each in participants.ledger if each.kind == "stock"]
        assert stock == [("done", id_), ("undone", id_)]
        assert (await api.status(id_))["status"] == "terminated"
        assert (await api.status(id_))["forked_from"] is None


async def test_what_was_undone_since_is_refused_unless_forced(tmp_path):
    async with running_examples(tmp_path, "trip") as (api, participants):
        failed = await trip(api, "Nowhere")
        completed = await versions(api, failed["id"], "attempt.started")
        after_car = completed[1]
        refused = await fork(api, failed["id"], after_car, input={"traveller": "Ada", "city": "Turin", "card": "4711"})
        assert codes(refused) == ["effect-undone"]
        assert refused.json()["errors"][0]["pointer"] == "/do/0/reserveCar"
        dry = await fork(api, failed["id"], after_car, force=True, query="?dry_run=true")
        assert dry.status_code == 200
        forked, *_ = dry.json()["events"]
        assert "effect-undone" in [each["code"] for each in forked["data"]["remarks"]]
        before = len(participants.ledger)
        start = await fork(api, failed["id"], completed[0], input={"traveller": "Ada", "city": "Turin", "card": "4711"})
        ended = await api.ended(start.json()["id"])
        assert ended["status"] == "completed"
        assert [each.kind for each in participants.ledger[before:]] == ["cars", "hotels", "flights", "payments"]
        assert {task["run"] for task in ended["tasks"] if task["name"] == "reserveCar"} == {1, 2}


@pytest.mark.parametrize(("version", "code"), [(2, "within-decision"), (99, "outside-life"), (-1, "no-way-on")])
async def test_versions_that_none_can_begin_from(tmp_path, version, code):
    async with running_examples(tmp_path, "trip") as (api, _):
        failed = await trip(api, "Nowhere")
        refused = await fork(api, failed["id"], version if version > 0 else failed["version"])
        assert (refused.status_code, codes(refused)) == (422, [code])
        assert refused.json()["errors"][0]["pointer"] == "/from_version"


async def test_only_versions_from_which_there_is_a_way_on_are_offered(tmp_path):
    async with running_examples(tmp_path, "trip") as (api, _):
        failed = await trip(api, "Nowhere")
        first = (await fork(api, failed["id"], 2)).json()["errors"][0]["detail"]
        assert first.endswith(": choose 3")
        last = (await fork(api, failed["id"], failed["version"] - 1)).json()["errors"][0]["detail"]
        assert f"to {failed['version']}" in last
        assert not last.endswith(f" {failed['version']}")


async def test_a_fork_with_a_key_is_one_fork(tmp_path):
    async with running_service(tmp_path) as api:
        await api.deploy(LISTENING % ("1.0.0", "", "1"))
        started = await api.start("patient")
        await api.done("POST", f"/v1/orchestrations/{started['id']}/terminate")
        one = await fork(api, started["id"], started["version"], key="f1")
        again = await fork(api, started["id"], started["version"], key="f1")
        assert one.json()["id"] == again.json()["id"]
        assert again.headers["Idempotency-Replayed"] == "true"
        other = await fork(api, started["id"], started["version"], key="f1", force=True)
        assert other.status_code == 422
        listed = (await api.done("GET", "/v1/orchestrations"))["items"]
        assert len(listed) == 2


async def test_a_fork_takes_what_came_after_its_point(tmp_path):
    """Its `listen` is in the prefix: an event that is held for whoever waits reaches it all the same."""
    async with running_service(tmp_path) as api:
        await api.deploy(LISTENING % ("1.0.0", "", "1"))
        started = await api.start("patient")
        await api.done("POST", f"/v1/orchestrations/{started['id']}/terminate")
        event = {"specversion": "1.0", "id": "e1", "source": "test", "type": "go"}
        headers = {"Content-Type": "application/cloudevents+json"}
        sent = await api.done("POST", "/v1/events", content=msgspec.json.encode(event), headers=headers)
        assert sent["outcome"] == "held"
        made = (await fork(api, started["id"], started["version"])).json()
        assert (await api.ended(made["id"]))["status"] == "completed"


async def test_a_body_that_is_no_good(tmp_path):
    async with running_service(tmp_path) as api:
        await api.deploy(LISTENING % ("1.0.0", "", "1"))
        started = await api.start("patient")
        for body in ({}, {"from_version": 0, "reason": "x"}, {"from_version": 1, "reason": " "}):
            answer = await api.http.post(f"/v1/orchestrations/{started['id']}/fork", json=body)
            assert answer.status_code == 422
        unknown = await fork(api, "o_" + "z" * 22, 1)
        assert unknown.status_code == 404
        other = await fork(api, started["id"], started["version"], definition="shop/order", force=True)
        assert codes(other) == ["other-definition"]


async def test_an_archived_original_can_be_forked(tmp_path):
    settings = Settings(database=f"sqlite:///{tmp_path}/retrace.db", partitions=2, grace=0.1)
    service = await open_service(settings, functions={}, development=True)
    try:
        node = service.node
        await node.definitions.deploy((LISTENING % ("1.0.0", "", "1")).encode(), "application/yaml")
        id_ = await node.commands.start(StartRequest(definition="default/patient"))
        version = (await node.queries.status(id_))["version"]
        await node.commands.terminate(CommandRequest(id=id_, reason="over"))
        await node.projector.caught_up()
        assert await node.archivist.archive(node.engine.clock.now() + timedelta(seconds=1))
        made = await node.commands.fork(ForkRequest(id=id_, from_version=version, reason="again"))
        assert isinstance(made, str)
        assert (await node.queries.status(made))["forked_from"] == {"id": id_, "version": version}
    finally:
        await service.close()


# Migrations --------------------------------------------------------------------------------------------------------------


async def migrate(api: Api, id_: str, definition: str, query: str = "", **members: Any) -> Any:
    body = {"definition": definition, "reason": "mended", **members}
    return await api.http.post(f"/v1/orchestrations/{id_}/migrate{query}", json=body)


async def test_it_goes_on_under_the_new_version(tmp_path):
    async with running_service(tmp_path) as api:
        await api.deploy(LISTENING % ("1.0.0", "", "1"))
        started = await api.start("patient")
        await api.deploy(LISTENING % ("1.1.0", "  - before: {set: {n: 1}}", "2"))
        dry = await migrate(api, started["id"], "patient@1.1.0", "?dry_run=true")
        [event] = dry.json()["events"]
        assert event["data"]["moves"] == {"/do/0/await": "/do/1/await"}
        assert [each["code"] for each in event["data"]["remarks"]] == ["passed-over"]
        assert (await api.status(started["id"]))["version"] == started["version"]
        answer = await migrate(api, started["id"], "patient@1.1.0")
        assert (answer.status_code, answer.json()["version"]) == (200, started["version"] + 1)
        again = await migrate(api, started["id"], "patient")
        assert again.json() == answer.json()
        status = await api.status(started["id"])
        assert status["definition"] == "default/patient@1.1.0"
        assert status["tasks"][0]["reference"] == "/do/1/await"
        listed = await api.done("GET", "/v1/orchestrations", params={"definition": "patient@1.1.0"})
        assert [each["id"] for each in listed["items"]] == [started["id"]]
        event_ = {"specversion": "1.0", "id": "e1", "source": "test", "type": "go"}
        headers = {"Content-Type": "application/cloudevents+json"}
        url = f"/v1/orchestrations/{started['id']}/events"
        await api.done("POST", url, content=msgspec.json.encode(event_), headers=headers)
        ended = await api.ended(started["id"])
        assert ended["output"] == {"said": 2}
        late = await migrate(api, started["id"], "patient@1.0.0")
        assert (late.status_code, late.json()["current_status"]) == (409, "completed")


async def test_positions_that_do_not_map_are_told(tmp_path):
    async with running_service(tmp_path) as api:
        await api.deploy(LISTENING % ("1.0.0", "", "1"))
        started = await api.start("patient")
        await api.deploy((LISTENING % ("2.0.0", "", "1")).replace("await:", "pause:"))
        refused = await migrate(api, started["id"], "patient@2.0.0")
        assert (refused.status_code, codes(refused)) == (422, ["no-task"])
        assert refused.json()["errors"][0]["pointer"] == "/do/0/await"
        assert (await migrate(api, started["id"], "patient@9.0.0")).status_code == 404
        done = await migrate(api, started["id"], "patient@2.0.0", mapping={"await": "pause"})
        assert done.status_code == 200
        assert (await api.status(started["id"]))["tasks"][0]["name"] == "pause"


async def test_an_undo_that_cannot_work_is_mended(tmp_path):
    """The hotel of the example refuses to be undone; the next version leaves it be, and the rest is undone."""
    async with running_examples(tmp_path, "trip") as (api, participants):
        started = await api.done("POST", "/trips", json={"traveller": "Ada", "city": "Ruins", "card": "4711"})
        stuck = await api.reached(started["id"], lambda status: bool(status["incidents"]))
        text = (EXAMPLES / "trip" / "trip.yaml").read_text(encoding="utf-8")
        text = text.replace("http://127.0.0.1:8090", participants.url).replace("version: '1.0.0'", "version: '1.0.1'")
        at = text.index("compensate", text.index("bookHotel"))
        mended = text[:at] + "compensate: {set: {left: with the insurance}}\n" + text[text.index("  - bookFlight") :]
        assert read_definition(mended, "application/yaml").plan.version == "1.0.1"
        await api.deploy(mended)
        answer = await migrate(api, started["id"], "travel/trip-booking@1.0.1")
        assert answer.status_code == 200, answer.text
        number = stuck["incidents"][0]["number"]
        await api.done(
            "POST", f"/v1/orchestrations/{started['id']}/incidents/{number}/retry", json={"reason": "mended"}
        )
        ended = await api.ended(started["id"])
        assert (ended["status"], ended["rollback"]["outcome"]) == ("compensated", "complete")
        assert participants.effects()[-1] == ("undone", "cars")
