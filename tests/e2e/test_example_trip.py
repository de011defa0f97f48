"""The trip over HTTP: what the page of the example promises, against participants that keep a ledger."""

from __future__ import annotations

import pytest

from examples.participants import Reply
from tests.support.running_examples import running_examples

pytestmark = pytest.mark.anyio
FASTER = {"{seconds: 2}": "{milliseconds: 400}"}
BOOKED = [("done", "cars"), ("done", "hotels"), ("done", "flights")]


async def trip(api, city, card="4711"):
    """The status of a trip once it has ended."""
    started = await api.done("POST", "/trips", json={"traveller": "Ada", "city": city, "card": card})
    return await api.ended(started["id"])


async def test_booked(tmp_path):
    async with running_examples(tmp_path, "trip") as (api, participants):
        status = await trip(api, "Turin")
        assert (status["status"], status["error"], status["rollback"]) == ("completed", None, None)
        assert status["output"] == dict.fromkeys(("car", "hotel", "flight", "payment"), status["id"])
        assert participants.effects() == [*BOOKED, ("done", "payments")]
        assert (await api.done("GET", f"/trips/{status['id']}"))["status"] == "Booked"


async def test_no_flight(tmp_path):
    async with running_examples(tmp_path, "trip") as (api, participants):
        status = await trip(api, "Nowhere")
        assert status["status"] == "compensated"
        assert (status["error"]["status"], status["error"]["instance"]) == (409, "/do/2/bookFlight")
        assert status["rollback"]["plan"] == status["rollback"]["done"] == ["bookHotel", "reserveCar"]
        assert status["rollback"]["outcome"] == "complete"
        assert participants.effects() == [*BOOKED[:2], ("undone", "hotels"), ("undone", "cars")]
        compensations = {task["name"]: task["compensation"]["status"] for task in status["tasks"]}
        assert compensations == {"reserveCar": "completed", "bookHotel": "completed", "bookFlight": "none"}
        assert (await api.done("GET", f"/trips/{status['id']}"))["status"] == "Rejected"


async def test_the_history_names_the_cause(tmp_path):
    async with running_examples(tmp_path, "trip") as (api, _):
        status = await trip(api, "Nowhere")
        history = await api.history(status["id"])
        assert [item["version"] for item in history] == list(range(1, status["version"] + 1))
        (started,) = [item for item in history if item["type"] == "rollback.started"]
        assert "bookFlight" in str(started["data"])
        assert "409" in str(started["data"])


async def test_each_undo_names_the_key_of_what_it_undoes(tmp_path):
    async with running_examples(tmp_path, "trip") as (api, participants):
        await trip(api, "Nowhere")
        forward = {entry.kind: entry.key for entry in participants.ledger if entry.effect == "done"}
        undone = {entry.kind: entry.compensates for entry in participants.ledger if entry.effect == "undone"}
        assert undone == {"hotels": forward["hotels"], "cars": forward["cars"]}
        assert None not in undone.values()


@pytest.mark.parametrize(
    ("city", "status", "effects"),
    [
        ("Venice", "faulted", []),
        ("Campsite", "compensated", [("done", "cars"), ("undone", "cars")]),
    ],
)
async def test_refused_earlier(tmp_path, city, status, effects):
    async with running_examples(tmp_path, "trip") as (api, participants):
        assert (await trip(api, city))["status"] == status
        assert participants.effects() == effects


async def test_a_declined_card_undoes_all_three(tmp_path):
    async with running_examples(tmp_path, "trip") as (api, participants):
        assert (await trip(api, "Turin", card="declined"))["status"] == "compensated"
        assert participants.effects() == [*BOOKED, ("undone", "flights"), ("undone", "hotels"), ("undone", "cars")]


async def test_a_flight_that_never_answers_is_undone_since_it_may_be_booked(tmp_path):
    async with running_examples(tmp_path, "trip", faster=FASTER) as (api, participants):
        status = await trip(api, "Fogtown")
        assert status["status"] == "compensated"
        assert status["error"]["type"].endswith("/timeout")
        assert participants.effects() == [*BOOKED, ("undone", "flights"), ("undone", "hotels"), ("undone", "cars")]
        assert participants.requests.count(("PUT", "flights", status["id"])) == 3
        assert status["rollback"]["steps"][0]["outcome"] == "uncertain"


async def test_an_undo_that_is_busy_is_repeated_and_done_once(tmp_path):
    async with running_examples(tmp_path, "trip") as (api, participants):
        status = await trip(api, "Strike")
        assert status["status"] == "compensated"
        assert participants.effects()[2:] == [("undone", "hotels"), ("undone", "cars")]
        assert participants.requests.count(("DELETE", "hotels", status["id"])) == 3


async def test_an_undo_that_fails_for_good_waits_for_an_operator(tmp_path):
    async with running_examples(tmp_path, "trip") as (api, participants):
        started = await api.done("POST", "/trips", json={"traveller": "Ada", "city": "Ruins"})
        stuck = await api.reached(started["id"], lambda status: bool(status["incidents"]))
        assert stuck["status"] == "compensating"
        assert (await api.done("GET", f"/trips/{started['id']}"))["status"] == "Pending"
        (incident,) = stuck["incidents"]
        assert (incident["kind"], incident["task"]) == ("compensation_failed", "bookHotel")
        assert participants.effects() == BOOKED[:2]
        url = f"/v1/orchestrations/{started['id']}/incidents/{incident['number']}"
        assert (await api.http.post(f"{url}/skip", json={})).status_code == 422
        await api.done("POST", f"{url}/skip", json={"reason": "the hotel is a ruin"})
        status = await api.ended(started["id"])
        assert (status["status"], status["rollback"]["outcome"]) == ("compensated", "partial")
        assert participants.effects() == [*BOOKED[:2], ("undone", "cars")]


async def test_the_incident_can_be_retried(tmp_path):
    async with running_examples(tmp_path, "trip") as (api, participants):
        started = await api.done("POST", "/trips", json={"traveller": "Ada", "city": "Ruins"})
        await api.reached(started["id"], lambda status: bool(status["incidents"]))
        participants.script("DELETE", "hotels", Reply())
        await api.done("POST", f"/v1/orchestrations/{started['id']}/incidents/1/retry", json={"reason": "open again"})
        status = await api.ended(started["id"])
        assert (status["status"], status["rollback"]["outcome"]) == ("compensated", "complete")
        assert participants.effects()[2:] == [("undone", "hotels"), ("undone", "cars")]
