"""``retrace functions`` and ``retrace worker``: what is asked of a service, and what is shown."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.cli_service import FakeService, Terminal

PATH = "/v1/functions"


def called(name: str = "pack", **members: Any) -> dict[str, Any]:
    return {
        "function": name,
        "in_process": False,
        "waiting": 12,
        "held": 0,
        "claimed": 1,
        "workers": ["host:1"],
        "asked_at": "2026-11-23T10:00:00.000000Z",
        "last_claimed_at": None,
        "paused": False,
        "draining": False,
        "max_concurrent": None,
        "max_per_second": None,
        **members,
    }


@pytest.fixture
def service(httpserver, monkeypatch):
    return FakeService(httpserver, monkeypatch)


@pytest.fixture
def terminal(capsys):
    return Terminal(capsys)


@pytest.mark.parametrize("words", [["functions"], ["functions", "list"]])
def test_the_list(service, terminal, words):
    never = called("ship", asked_at=None, claimed=0, workers=[], draining=True, max_concurrent=3, max_per_second=0.5)
    inside = called("bill", in_process=True, waiting=0, claimed=0, workers=[])
    service.gives("GET", PATH, {"items": [inside, called(), never]})
    assert terminal.run(*words) == 0
    lines = [line.split() for line in terminal.out.splitlines()]
    assert lines[1][:6] == ["bill", "in", "process", "0", "0", "active"]
    assert lines[2] == ["pack", "workers", "12", "1", "active", "host:1"]
    assert lines[3] == ["ship", "no", "worker", "12", "0", "drained", "3", "at", "once,", "0.5/s"]
    assert max(map(len, terminal.out.splitlines())) <= 80


@pytest.mark.parametrize("verb", ["pause", "drain", "resume"])
def test_what_is_said_of_one(service, terminal, verb):
    service.gives("POST", f"{PATH}/pack/{verb}", called(paused=verb == "pause"))
    assert terminal.run("functions", verb, "pack") == 0
    assert terminal.out.startswith("pack: ")


def test_limits(service, terminal):
    service.gives("PUT", f"{PATH}/pack/limits", called(max_concurrent=4))
    assert terminal.run("functions", "limit", "pack", "--concurrent", "4") == 0
    assert service.body() == {"max_concurrent": 4, "max_per_second": None}
    assert "4 at once" in terminal.out


def test_a_worker_needs_functions(terminal, tmp_path):
    (tmp_path / "none.py").write_text("")
    assert terminal.run("worker", str(tmp_path / "none.py")) == 1
    assert terminal.run("worker", str(tmp_path / "away.py")) == 1
    assert terminal.run("worker", "no_such_module_anywhere") == 1
    (tmp_path / "work.js").write_text("")
    assert terminal.run("worker", str(tmp_path / "work.js")) == 1
    assert "is no Python file" in terminal.err
    assert "Traceback" not in terminal.err


def test_a_worker_that_is_refused_says_why(service, terminal, tmp_path):
    (tmp_path / "work.py").write_text("from retrace import function\n@function('pack')\ndef pack(): ...\n")
    service.declines("POST", "/v1/tasks/claim", 401, "unauthorized", title="Unauthorized", detail="A token is needed.")
    assert terminal.run("worker", str(tmp_path / "work.py")) == 1
    assert "Unauthorized: A token is needed. (401 unauthorized)\nSet RETRACE_TOKEN" in terminal.err
    assert "broke" not in terminal.err
