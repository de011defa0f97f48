"""``retrace events held``: what is asked of a service, and what is shown."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.cli_service import FakeService, Terminal

PATH = "/v1/events/held"
ID = "o_0123456789abcdefghijkl"


def held(number: int, **members: Any) -> dict[str, Any]:
    return {
        "type": "com.example.paper",
        "source": "/papers",
        "id": f"e{number}",
        "attributes": {},
        "received_at": "2026-11-23T10:00:00.000000Z",
        "expires_at": "2026-11-30T10:00:00.000000Z",
        "orchestration": None,
        "parked": None,
        **members,
    }


@pytest.fixture
def service(httpserver, monkeypatch):
    return FakeService(httpserver, monkeypatch)


@pytest.fixture
def terminal(capsys):
    return Terminal(capsys)


def test_those_for_anybody(service, terminal):
    service.gives("GET", PATH, {"items": [held(1)], "next": None})
    assert terminal.run("events", "held", "--type", "com.example.paper", "--source", "/papers", "--limit", "5") == 0
    assert service.only.args.to_dict() == {"type": "com.example.paper", "source": "/papers", "limit": "5"}
    assert terminal.out.splitlines()[1].split()[:3] == ["com.example.paper", "/papers", "e1"]
    assert "2026-11-30" in terminal.out
    assert max(map(len, terminal.out.splitlines())) <= 80


def test_those_of_one_with_their_numbers(service, terminal):
    parked = held(3, orchestration=ID, expires_at=None, parked={"stream": "papers", "key": "a", "number": 3})
    service.gives("GET", PATH, {"items": [held(1, orchestration=ID, expires_at=None), parked], "next": None})
    assert terminal.run("events", "held", ID) == 0
    assert service.only.args.to_dict() == {"orchestration": ID, "limit": "100"}
    assert "3 in papers of a" in terminal.out


def test_as_json_and_none(service, terminal):
    service.gives("GET", PATH, {"items": [], "next": None})
    assert terminal.json("events", "held") == []
    service.gives("GET", PATH, {"items": [], "next": None})
    assert terminal.run("events", "held") == 0
    told = " ".join(terminal.out.split())
    assert told.endswith("No events are held for anybody. Those that an orchestration keeps: retrace events held ID")
    assert terminal.run("events", "held", ID) == 0
    assert terminal.out.strip() == "No events are held."
