"""``retrace publish``: files of events."""

from __future__ import annotations

import io
import json
import sys

import pytest

from tests.integration.cli_service import ID, PATH, FakeService, Terminal

BATCH = "application/cloudevents-batch+json"
REFUSED = {
    "problem": {
        "type": "/problems/invalid-input",
        "status": 422,
        "detail": "No.",
        "errors": [{"pointer": "/id", "detail": "Bad."}],
    }
}


@pytest.fixture
def service(httpserver, monkeypatch):
    return FakeService(httpserver, monkeypatch)


@pytest.fixture
def terminal(capsys):
    return Terminal(capsys)


def event(number):
    return {"specversion": "1.0", "id": f"{number}", "source": "/x", "type": "go"}


@pytest.mark.parametrize("form", ["array", "lines"])
def test_a_file_is_sent_in_batches(service, terminal, tmp_path, form):
    events = [event(number) for number in range(150)]
    text = json.dumps(events) if form == "array" else "\n".join(map(json.dumps, events)) + "\n"
    (tmp_path / "events").write_text(text)
    service.gives(
        "POST",
        "/v1/events",
        {"items": [{"outcome": "held"}] * 100},
        {"items": [{"outcome": "matched"}] * 50},
        status=202,
    )
    assert terminal.run("publish", str(tmp_path / "events")) == 0
    assert terminal.out.splitlines()[0] == "held (event 0)"
    assert terminal.out.splitlines()[-1] == "matched (event 149)"


def test_what_is_refused_is_told_and_the_exit_code_is_1(service, terminal, monkeypatch):
    service.gives("POST", f"{PATH}/events", {"items": [{"outcome": "held", "version": 3}, REFUSED]}, status=202)
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps([event(1), {}])))
    assert terminal.run("publish", "-", "--to", ID) == 1
    assert terminal.out.splitlines() == ["held (event 1)", "refused (event None): No. /id: Bad."]
    assert service.only.headers["Content-Type"] == BATCH


def test_a_file_that_is_none(terminal, tmp_path):
    assert terminal.run("publish", str(tmp_path / "no")) == 2
    (tmp_path / "bad").write_text("{")
    assert terminal.run("publish", str(tmp_path / "bad")) == 2
    assert "neither a JSON array nor JSON lines" in " ".join(terminal.err.split())
