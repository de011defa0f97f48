"""``retrace human``: what is asked of a service, and what is shown."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.cli_service import FakeService, Terminal

PATH = "/v1/human-tasks"
TASK = "o_5XkPabcdefghijklmnopqr-1"


def entry(**members: Any) -> dict[str, Any]:
    return {
        "id": TASK,
        "orchestration": TASK[:-2],
        "definition": "bank/loan@1.0.0",
        "task": "approve",
        "reference": "/do/0/approve",
        "title": "Approve",
        "description": None,
        "status": "open",
        "candidates": {"users": ["ann"], "groups": ["clerks"]},
        "assignee": None,
        "priority": 0,
        "due_at": "2026-11-23T10:00:00.000000Z",
        "timeout_at": None,
        "created_at": "2026-11-23T06:00:00.000000Z",
        "overdue": True,
        "links": {},
        "form": {"type": "object"},
        "data": {"amount": 5},
        "escalations": [
            {"at": "2026-11-23T10:00:00.000000Z", "candidates": None, "priority": 3, "remind": True, "done": True}
        ],
        "output": None,
        "error": None,
        "handings": [
            {"at": "2026-11-23T06:00:00.000000Z", "what": "assigned", "user": None, "actor": "ada", "reason": None}
        ],
        **members,
    }


@pytest.fixture
def service(httpserver, monkeypatch):
    return FakeService(httpserver, monkeypatch)


@pytest.fixture
def terminal(capsys):
    return Terminal(capsys)


@pytest.mark.parametrize("words", [["human"], ["human", "list", "--candidate", "ann", "--overdue"]])
def test_the_list(service, terminal, words):
    service.gives("GET", PATH, {"items": [entry(), entry(assignee="bob", overdue=False)], "next": None})
    assert terminal.run(*words) == 0
    assert TASK in terminal.out
    assert "overdue" in terminal.out
    assert "bob" in terminal.out


def test_one(service, terminal):
    service.gives("GET", f"{PATH}/{TASK}", entry())
    assert terminal.run("human", "show", TASK) == 0
    for told in ("Approve", "for ann, group clerks", '"amount": 5', "due: 2026-11-23 10:00:00", "(done)", "assigned"):
        assert told in terminal.out


def test_claim_and_release(service, terminal):
    service.gives("POST", f"{PATH}/{TASK}/claim", entry(assignee="ann"))
    assert terminal.run("human", "claim", TASK, "--as", "ann", "-g", "clerks") == 0
    assert service.body() == {"user": "ann", "groups": ["clerks"]}
    assert terminal.out.strip() == f"ann has {TASK}."
    service.gives("POST", f"{PATH}/{TASK}/release", entry())
    assert terminal.run("human", "release", TASK) == 0
    assert service.body() == {}


def test_answers(service, terminal):
    service.gives("POST", f"{PATH}/{TASK}/complete", entry(status="completed"))
    assert terminal.run("human", "complete", TASK, '{"approved": true}', "--as", "ann") == 0
    assert service.body() == {"user": "ann", "output": {"approved": True}}
    service.gives("POST", f"{PATH}/{TASK}/fail", entry(status="refused"))
    assert terminal.run("human", "fail", TASK, "--type", "too-risky", "--detail", "no income") == 0
    assert service.body() == {"error": {"type": "too-risky", "status": 422, "detail": "no income"}}


def test_without_an_answer_it_says_how_to_give_one(service, terminal):
    problem = {"pointer": "/output", "detail": "null is not of type 'object'"}
    service.declines("POST", f"{PATH}/{TASK}/complete", 422, "invalid-input", errors=[problem])
    assert terminal.run("human", "complete", TASK, "--as", "ann") == 1
    told = " ".join(terminal.err.split())
    assert "asks for an answer, and none was given" in told
    assert f"retrace human complete {TASK} '{{...}}'" in told
    assert f"retrace human show {TASK}" in told
    assert "null" not in told
    # Whoever gives an answer, be it null, is told what is wrong with it.
    assert terminal.run("human", "complete", TASK, "null") == 1
    assert "null is not of type 'object'" in terminal.err
    assert "none was given" not in terminal.err
    service.declines(
        "POST", f"{PATH}/other/complete", 422, "invalid-input", errors=[{"pointer": "/user", "detail": "no"}]
    )
    assert terminal.run("human", "complete", "other") == 1
    assert "/user: no" in terminal.err


def test_a_task_that_asks_for_nothing_takes_no_answer(service, terminal):
    service.gives("POST", f"{PATH}/{TASK}/complete", entry(status="completed"))
    assert terminal.run("human", "complete", TASK) == 0
    assert service.body() == {"output": None}


def test_reassign(service, terminal):
    service.gives("POST", f"{PATH}/{TASK}/reassign", entry(assignee="max"))
    assert terminal.run("human", "reassign", TASK, "max", "--reason", "ann is ill", "--group", "managers") == 0
    assert service.body() == {
        "reason": "ann is ill",
        "assignee": "max",
        "candidates": {"users": [], "groups": ["managers"]},
    }
    assert terminal.run("human", "reassign", TASK, "--reason", "why") == 2
