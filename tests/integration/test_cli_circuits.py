"""``retrace circuits``: what is asked of a service, and what is shown."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.cli_service import FakeService, Terminal

PATH = "/v1/circuits"
AT = "2026-11-23T10:00:00.000000Z"


def circuit(**members: Any) -> dict[str, Any]:
    return {
        "host": "http://car.test:80",
        "node": "host:1:ab",
        "state": "open",
        "failures": 10,
        "last_failure": "cannot\x1b[31m connect",
        "last_failure_at": AT,
        "changed_at": AT,
        "probe_at": AT,
        "turned_away": 3,
        "opened_by": None,
        "reason": None,
        **members,
    }


@pytest.fixture
def service(httpserver, monkeypatch):
    return FakeService(httpserver, monkeypatch)


@pytest.fixture
def terminal(capsys):
    return Terminal(capsys)


@pytest.mark.parametrize("words", [["circuits"], ["circuits", "list"]])
def test_the_list(service, terminal, words):
    by_hand = circuit(host="http://hotel.test:80", opened_by="ada", reason="they move", probe_at=None)
    service.gives("GET", PATH, {"items": [circuit(), by_hand], "next": None})
    assert terminal.run(*words) == 0
    words = " ".join(terminal.out.split())
    for part in ("http://car.test:80", "open", "2026-11-23 10:00:00", "connect", "ada:"):
        assert part in words, terminal.out
    assert max(map(len, terminal.out.splitlines())) <= 80
    assert "\x1b[31m" not in terminal.out


def test_a_circuit_that_is_closed_is_not_said_to_lead_to_a_host_that_is_back(service, terminal):
    """It may have been closed by hand."""
    closed = circuit(state="closed", failures=0, probe_at=None)
    once = circuit(state="closed", failures=1, last_failure="gone")
    service.gives("GET", PATH, {"items": [closed, once], "next": None})
    assert terminal.run("circuits") == 0
    words = " ".join(terminal.out.split())
    assert "it is back" not in words
    assert "was open until" in words
    assert "1 failure: gone" in words


def test_none(service, terminal):
    service.gives("GET", PATH, {"items": [], "next": None})
    assert terminal.run("circuits") == 0
    assert terminal.out == "No callout has failed at its host.\n"


@pytest.mark.parametrize(
    ("words", "body"),
    [
        (["close", "http://car.test"], {"host": "http://car.test"}),
        (["open", "http://car.test"], {"host": "http://car.test"}),
        (["open", "http://car.test", "--reason", "why"], {"host": "http://car.test", "reason": "why"}),
    ],
)
def test_by_hand(service, terminal, words, body):
    service.gives("POST", f"{PATH}/{words[0]}", {"items": [circuit(state="closed")], "next": None})
    assert terminal.run("circuits", *words) == 0
    assert service.body() == body
    assert "closed" in terminal.out
