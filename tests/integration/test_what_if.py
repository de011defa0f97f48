"""What-if over HTTP, on a running service: nobody is called, nothing changes, and what is told is what would have been."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from adapters.callouts.dispatch import CalloutDispatch
from adapters.callouts.resources import HttpResources
from retrace.functions import load_functions
from tests.support.service import Api, running_service

pytestmark = pytest.mark.anyio

TRIP: dict[str, Any] = {
    "document": {"dsl": "1.0.3", "namespace": "travel", "name": "trip", "version": "1.0.0"},
    "do": [
        {
            "hotel": {
                "call": "hotel",
                "with": {"city": "${ .city | ascii_upcase }"},
                "compensate": {"call": "cancelHotel", "with": {"id": "${ .id }"}},
            }
        },
        {
            "flight": {
                "call": "flight",
                "with": {"city": "${ $workflow.input.city }"},
                "compensate": {"call": "cancelFlight", "with": {"id": "${ .id }"}},
            }
        },
    ],
}
FUNCTIONS = """
from pathlib import Path
from retrace import Refused, function

def note(name):
    with Path({ledger!r}).open("a") as ledger:
        ledger.write(name + "\\n")

@function("hotel")
def hotel(city: str):
    note("hotel")
    return {{"id": "h-" + city}}

@function("flight")
def flight(city: str):
    note("flight")
    if city == "Nowhere":
        raise Refused("no-such-city", "there is no airport")
    return {{"id": "f-1"}}

@function("cancelHotel")
def cancel_hotel(id: str):
    note("cancelHotel")

@function("cancelFlight")
def cancel_flight(id: str):
    note("cancelFlight")
"""


class Travel:
    """A service with trips that have ended, and the ledger of its participants."""

    def __init__(self, api: Api, ledger: Path) -> None:
        self.api = api
        self._ledger = ledger

    @property
    def called(self) -> list[str]:
        return self._ledger.read_text().split()

    async def trip(self, city: str) -> str:
        started = await self.api.start("travel/trip", {"city": city})
        return str((await self.api.ended(started["id"]))["id"])

    async def what_if(self, id_: str, **body: Any) -> dict[str, Any]:
        return await self.api.done("POST", f"/v1/orchestrations/{id_}/what-if", json=body)

    async def fleet(self, **body: Any) -> dict[str, Any]:
        answer = await self.api.http.post("/v1/what-if", json=body)
        assert answer.status_code == 202, answer.text
        operation = await self.api.done("GET", answer.headers["Location"], params={"wait": 20})
        assert operation["status"] == "completed", operation
        found: dict[str, Any] = operation["result"]
        return found


@pytest.fixture
async def travel(tmp_path: Path) -> AsyncIterator[Travel]:
    ledger, functions = tmp_path / "ledger", tmp_path / "functions.py"
    functions.write_text(FUNCTIONS.format(ledger=str(ledger)))
    async with running_service(tmp_path, load_functions(functions)) as api:
        answer = await api.http.post("/v1/definitions", json=TRIP)
        assert answer.status_code == 201, answer.text
        yield Travel(api, ledger)


def changed(**document: Any) -> dict[str, Any]:
    """Version 1.1.0 with other members."""
    return {**TRIP, "document": {**TRIP["document"], "version": "1.1.0"}, **document}


async def test_the_flight_had_been_refused(travel):
    id_ = await travel.trip("Turin")
    before, called = await travel.api.history(id_), travel.called
    answer = await travel.what_if(id_, changes=[{"task": "flight", "outcome": "refused"}])
    assert (answer["outcome"], answer["status"]) == ("other", "compensated")
    assert answer["leaves_at"]["recorded"]["type"] == "task.completed"
    assert answer["leaves_at"]["instead"]["type"] == "task.failed"
    assert [(each["task"], each["compensates"], each["recorded"]) for each in answer["calls"]] == [
        ("hotel", None, True),
        ("flight", None, True),
        ("hotel", "hotel", False),
    ]
    assert answer["calls"][-1]["arguments"] == {"id": "h-TURIN"}
    assert [each["task"] for each in answer["undone"]] == ["hotel"]
    assert answer["recorded"]["status"] == "completed"
    assert answer["assumptions"] == ["the undo of hotel succeeds"]
    assert (await travel.api.history(id_), travel.called) == (before, called)


async def test_nobody_is_called(travel, monkeypatch):
    async def send(*_: Any) -> Any:
        raise AssertionError("somebody was called")

    ids = [await travel.trip(city) for city in ("Turin", "Nowhere")]
    for way in (CalloutDispatch, HttpResources):
        for name in ("send", "fetch"):
            if hasattr(way, name):
                monkeypatch.setattr(way, name, send)
    for id_ in ids:
        for outcome in ("refused", "uncertain", "completed"):
            changes = [{"task": task, "outcome": outcome} for task in ("hotel", "flight")]
            for change in changes:
                answer = await travel.what_if(id_, changes=[change], assume={"flight": {"id": "f"}})
                assert answer["status"] in ("completed", "compensated", "faulted")
    told = await travel.fleet(definition="travel/trip", changes=[{"task": "hotel", "outcome": "uncertain"}])
    assert told["other"] == 2


async def test_whoever_looks_at_one_has_read_its_history(travel):
    id_ = await travel.trip("Turin")
    answer = await travel.what_if(id_)
    accesses = await travel.api.done("GET", "/v1/audit/accesses", params={"orchestration": id_})
    [access] = accesses["items"]
    assert (access["what"], access["events"]) == ("history", answer["recorded"]["version"])


async def test_nothing_said_is_the_same(travel):
    id_ = await travel.trip("Nowhere")
    answer = await travel.what_if(id_)
    assert (answer["outcome"], answer["leaves_at"], answer["status"]) == ("same", None, "compensated")
    assert (await travel.api.http.post(f"/v1/orchestrations/{id_}/what-if")).status_code == 200


async def test_an_input_that_changes_a_call_ends_where_nobody_knows_the_answer(travel):
    id_ = await travel.trip("Turin")
    answer = await travel.what_if(id_, input={"city": "Rome"})
    assert answer["outcome"] == "cannot_continue"
    assert "would call hotel with" in answer["why"]
    assert "ROME" in answer["why"]
    answer = await travel.what_if(id_, input={"city": "Rome"}, assume={"hotel": {"id": "h"}, "flight": {"id": "f"}})
    assert (answer["outcome"], answer["status"]) == ("other", "completed")


async def test_a_fleet_before_a_deployment(travel):
    for city in ("Turin", "Turin", "Nowhere"):
        await travel.trip(city)
    called = travel.called
    assert await travel.fleet(definition="travel/trip") == {
        "definition": "travel/trip@1.0.0",
        "for": "travel/trip",
        "considered": 3,
        "same": 3,
        "other": 0,
        "same_calls": 0,
        "cannot_continue": 0,
        "groups": [],
        "not_grouped": 0,
    }
    told = await travel.fleet(definition=changed(do=[*TRIP["do"], {"tell": {"call": "tell"}}]), status=["completed"])
    assert (told["considered"], told["cannot_continue"]) == (2, 2)
    [group] = told["groups"]
    assert group["reason"] == "would call tell; the record does not say what it answers"
    assert [sorted(each) for each in group["examples"]] == [["definition", "id", "leaves_at", "status"]] * 2
    without_undo = {"hotel": {name: value for name, value in TRIP["do"][0]["hotel"].items() if name != "compensate"}}
    told = await travel.fleet(definition=changed(do=[without_undo, TRIP["do"][1]]))
    assert (told["same"], told["other"]) == (2, 1)
    told = await travel.fleet(definition=changed(do=[*TRIP["do"][:1], {"x": {"set": {"n": 1}}}, TRIP["do"][1]]))
    assert (told["other"], told["same_calls"]) == (3, 3)
    assert travel.called == called


async def test_a_fleet_is_bounded_and_filtered(travel):
    for city in ("Turin", "Nowhere", "Turin"):
        await travel.trip(city)
    assert (await travel.fleet(definition="travel/trip", last=2))["considered"] == 2
    assert (await travel.fleet(definition="travel/trip", status=["compensated"]))["considered"] == 1
    assert (await travel.fleet(definition="travel/trip", **{"for": "travel/other"}))["considered"] == 0


async def test_what_cannot_be_asked_is_refused_with_its_place(travel):
    id_ = await travel.trip("Turin")
    path = f"/v1/orchestrations/{id_}/what-if"
    post = travel.api.http.post
    unknown = await post(path, json={"changes": [{"task": "train", "outcome": "refused"}]})
    assert unknown.status_code == 422
    assert unknown.json()["errors"][0]["pointer"] == "/changes/0/task"
    broken = await post(path, json={"definition": changed(do=[{"a": {"call": "f", "if": ".a |"}}])})
    assert (broken.status_code, broken.json()["errors"][0]["pointer"]) == (422, "/definition/do/0/a/if")
    assert (await post(path, json={"definition": "travel/nothing"})).status_code == 404
    assert (await post(path, json={"changes": [{"task": "hotel", "outcome": "lost"}]})).status_code == 422
    nobody = await post("/v1/orchestrations/o_0000000000000000000000/what-if", json={})
    assert nobody.status_code == 404
    assert (await post("/v1/what-if", json={})).status_code == 422
