"""The command line and long-running operations."""

from __future__ import annotations

import pytest

from tests.integration.cli_service import FakeService, Terminal

ID = "p_5XkPq2mZr8vTn4Ls9Wd3aB"
PATH = f"/v1/operations/{ID}"


@pytest.fixture
def service(httpserver, monkeypatch):
    return FakeService(httpserver, monkeypatch)


@pytest.fixture
def terminal(capsys):
    return Terminal(capsys)


def operation(status="running", **members):
    return {
        "id": ID,
        "kind": "audit.verify",
        "status": status,
        "request": {"since": "latest"},
        "progress": {"done": 3, "total": 7},
        "error": None,
        "actor": "ann",
        "cancel_requested": False,
        "started_at": "2026-11-23T10:00:00.000000Z",
        "updated_at": "2026-11-23T10:00:01.000000Z",
        "ended_at": None,
        "links": {},
        **members,
    }


def test_operations_are_listed(service, terminal):
    service.gives("GET", "/v1/operations", {"items": [operation()], "next": None})
    assert terminal.run("operations", "--kind", "audit.verify") == 0
    assert service.only.args["kind"] == "audit.verify"
    for word in (ID, "audit.verify", "running", "3/7"):
        assert word in terminal.out
    service.gives("GET", "/v1/operations", {"items": [], "next": None})


def test_one_is_shown_with_its_error(service, terminal):
    error = {"code": "interrupted", "detail": "The node is gone."}
    service.gives("GET", PATH, operation("failed", error=error, result=None))
    assert terminal.run("operations", ID) == 0
    assert "interrupted: The node is gone." in terminal.out
    assert terminal.json("operations", ID)["error"] == error


def test_one_is_cancelled(service, terminal):
    service.gives("POST", f"{PATH}/cancel", operation("cancelled", result=None))
    assert terminal.run("operations", ID, "--cancel") == 0
    assert "cancelled" in terminal.out
    assert terminal.run("operations", "--cancel") == 2
