"""``retrace projections``: what is asked of a service, and what is shown."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.cli_service import ID, FakeService, Terminal

PATH = "/v1/projections"


def projection(name: str = "trips", **members: Any) -> dict[str, Any]:
    return {
        "name": name,
        "version": 2,
        "live": True,
        "state": "live",
        "table": f"projection_{name}_v2",
        "registered": True,
        "events_done": 1000,
        "events_total": 1000,
        "lag_events": 0,
        "lag_ms": 0,
        "error": None,
        "created_at": "2026-11-23T10:00:00.000000Z",
        **members,
    }


@pytest.fixture
def service(httpserver, monkeypatch):
    return FakeService(httpserver, monkeypatch)


@pytest.fixture
def terminal(capsys):
    return Terminal(capsys)


@pytest.mark.parametrize("words", [["projections"], ["projections", "list"]])
def test_the_list(service, terminal, words):
    error = {
        "orchestration": ID,
        "version": 7,
        "type": "task.completed",
        "detail": "KeyError: 'x'\x1b[31m",
        "at": "...",
    }
    building = projection("sales", live=False, state="building", events_done=999, lag_events=1, lag_ms=61_000)
    failed = projection("broken", state="failed", error=error, events_done=10, lag_events=990, lag_ms=5)
    service.gives("GET", PATH, {"items": [projection(), building, failed], "next": None})
    assert terminal.run(*words) == 0
    lines = terminal.out.splitlines()
    assert lines[1].split() == ["trips", "2", "live", "100", "%", "0", "0", "ms", "projection_trips_v2"]
    assert "99.9 %" in lines[2]
    assert "61 s" in lines[2]
    assert f"broken version 2 stopped at event 7 (task.completed) of {ID}: KeyError" in " ".join(terminal.out.split())
    assert "\x1b" not in terminal.out
    assert max(map(len, lines)) <= 80
    assert terminal.json(*words) == [projection(), building, failed]


def test_nothing_to_list(service, terminal):
    service.gives("GET", PATH, {"items": [], "next": None})
    assert terminal.run("projections") == 0
    assert terminal.out == "No projections.\n"


def test_rows(service, terminal):
    row = {"id": ID, "city": "Lisbon", "open": True, "labels": ["ä"], "n": None}
    service.gives("GET", f"{PATH}/trips/rows", {"items": [row], "next": None, "version": 2})
    assert terminal.json("projections", "rows", "trips", "--where", "city:Lisbon", "--where", "open:true") == [row]
    assert service.requests[-1].args.getlist("where") == ["city:Lisbon", "open:true"]
    assert terminal.run("projections", "rows", "trips") == 0
    assert "CITY" in terminal.out
    assert "Lisbon" in terminal.out


@pytest.mark.parametrize(("word", "status"), [("rebuild", 202), ("retry", 200)])
def test_mending(service, terminal, word, status):
    service.gives("POST", f"{PATH}/trips/{word}", projection(), status=status)
    assert terminal.run("projections", word, "trips") == 0
    assert "trips version 2" in terminal.out


def test_dropping(service, terminal):
    service.gives("DELETE", f"{PATH}/trips", "", status=204)
    assert terminal.json("projections", "drop", "trips") == {"dropped": "trips"}
    assert terminal.run("projections", "drop", "trips") == 0
    assert terminal.out == "trips is gone.\n"


def test_a_projection_that_is_not_there(service, terminal):
    service.declines("POST", f"{PATH}/nothing/retry", 404, "not-found", title="Not found", detail="There is no such.")
    assert terminal.run("projections", "retry", "nothing") == 1
    assert "There is no such." in terminal.err
