"""The participants of the examples behave as participants of a saga should."""

from __future__ import annotations

import asyncio
import sys

import httpx2
import pytest

from examples.participants import MOODS, Participants, Reply, main
from tests.support.examples_script import EXAMPLES

pytestmark = pytest.mark.anyio


@pytest.fixture
async def participants(anyio_backend):
    async with Participants().serving() as running:
        yield running


@pytest.fixture
async def http(participants):
    async with httpx2.AsyncClient(base_url=participants.url) as client:
        yield client


async def test_a_port_that_is_taken_is_told_without_a_traceback(participants, monkeypatch, capsys):
    port = participants.url.rpartition(":")[2]
    monkeypatch.setattr(sys, "argv", ["participants", "--port", port])
    with pytest.raises(SystemExit) as ended:
        await asyncio.to_thread(main)
    assert ended.value.code == 1
    assert capsys.readouterr().err.startswith(f"Port {port} of 127.0.0.1 is in use by another program")


async def test_a_repeat_has_no_second_effect(http, participants):
    first = await http.put("/cars/c1", json={"city": "Turin"}, headers={"Idempotency-Key": "k1"})
    again = await http.put("/cars/c1", json={"city": "Turin"}, headers={"Idempotency-Key": "k1"})
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert participants.effects("c1") == [("done", "cars")]


async def test_undone_once_then_there_is_nothing_to_undo(http, participants):
    await http.put("/cars/c1", json={})
    assert (await http.delete("/cars/c1", headers={"Retrace-Compensates": "k1"})).status_code == 200
    assert (await http.delete("/cars/c1")).status_code == 404
    assert (await http.get("/cars/c1")).status_code == 404
    assert participants.effects("c1") == [("done", "cars"), ("undone", "cars")]
    assert participants.ledger[-1].compensates == "k1"


async def test_what_was_undone_stays_undone_when_the_request_itself_comes_late(http, participants):
    assert (await http.delete("/flights/f1")).status_code == 404
    assert (await http.put("/flights/f1", json={})).status_code == 409
    assert participants.effects("f1") == []


async def test_scripts_come_before_moods(http, participants):
    participants.script("PUT", "flights", Reply(503), Reply(201))
    answers = [(await http.put("/flights/f1", json={"city": "Nowhere"})).status_code for _ in range(3)]
    assert answers[0] == 503
    assert answers[1] == 201
    assert answers[2] == 409


async def test_the_ledger_is_shown_and_forgotten(http, participants):
    await http.put("/hotels/h1", json={})
    await http.put("/hotels/h2", json={})
    shown = (await http.get("/ledger", params={"id": "h2"})).json()["entries"]
    assert [(entry["number"], entry["effect"], entry["kind"]) for entry in shown] == [(2, "done", "hotels")]
    await http.delete("/ledger")
    assert (await http.get("/ledger")).json() == {"entries": []}


def test_every_mood_is_on_a_page():
    pages = "".join(path.read_text(encoding="utf-8") for path in EXAMPLES.glob("*/README.md"))
    moods = {value for _, answers in MOODS.values() for value in answers}
    assert {value for value in moods if f"`{value}`" not in pages and f'"{value}"' not in pages} == set()
