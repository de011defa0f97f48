"""``retrace what-if``: what is sent, what is shown, and the exit code that a deployment may depend on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.integration.cli_service import ID, PATH, FakeService, Terminal

OPERATION = "p_5XkPq2mZr8vTn4Ls9Wd3aB"


@pytest.fixture
def service(httpserver, monkeypatch):
    return FakeService(httpserver, monkeypatch)


@pytest.fixture
def terminal(capsys):
    return Terminal(capsys)


def call(task: str, outcome: str = "completed", **members: Any) -> dict[str, Any]:
    return {
        "task": task,
        "reference": f"/do/0/{task}",
        "run": 1,
        "attempt": 1,
        "function": task,
        "arguments": {},
        "compensates": None,
        "recorded": True,
        "outcome": outcome,
        "answer_from": "record",
        **members,
    }


def course(status: str, *calls: dict[str, Any], **members: Any) -> dict[str, Any]:
    nothing: dict[str, Any] = {"undone": [], "left_behind": [], "incidents": [], "output": None, "error": None}
    return {"definition": "travel/trip@1.0.0", "status": status, "calls": list(calls), **nothing, **members}


ANSWER = {
    "id": ID,
    "outcome": "other",
    "same_calls": False,
    "why": None,
    "leaves_at": {
        "version": 8,
        "recorded": {"type": "task.completed", "task": "/do/1/flight", "data": {}},
        "instead": {"type": "task.failed", "task": "/do/1/flight", "data": {}},
        "differs": [],
    },
    "assumptions": ["the undo of hotel succeeds"],
    "recorded": course("completed", call("hotel"), call("flight")),
    **course(
        "compensated",
        call("hotel"),
        call("flight", "refused", answer_from="change"),
        call("hotel", compensates="hotel", recorded=False, answer_from="assumption"),
        left_behind=[{"task": "mail", "why": "it has no compensation"}],
        incidents=[{"kind": "compensation_failed", "task": "car", "error": {"status": 423, "title": "Locked"}}],
        error={"status": 409, "title": "Conflict"},
    ),
}


def told(**counts: int) -> dict[str, Any]:
    groups = [
        {
            "outcome": outcome,
            "same_calls": False,
            "count": count,
            "reason": f"reason of {outcome}",
            "examples": [{"id": ID, "why": "because"}],
        }
        for outcome, count in counts.items()
        if outcome in ("other", "cannot_continue") and count
    ]
    given = {"same": 5, "other": 0, "cannot_continue": 0, "same_calls": 0, **counts}
    names = {"definition": "travel/trip@1.1.0", "for": "travel/trip"}
    return {**names, "considered": 9, **given, "groups": groups, "not_grouped": 0}


def operates(service: FakeService, result: dict[str, Any] | None, **members: Any) -> None:
    operation = {"id": OPERATION, "status": "completed", "result": result, "error": None, **members}
    progress = {"done": 3, "total": 9}
    service.gives("POST", "/v1/what-if", {"id": OPERATION, "status": "running"}, status=202)
    running = {**operation, "status": "running", "progress": progress}
    service.gives("GET", f"/v1/operations/{OPERATION}", running, operation)


def test_two_courses_are_shown_side_by_side(service, terminal):
    service.gives("POST", f"{PATH}/what-if", ANSWER)
    assert terminal.run("what-if", ID, "--set", "flight=refused") == 0
    assert service.only.json == {"changes": [{"task": "flight", "outcome": "refused"}]}
    rows = [line.split("|") for line in terminal.out.splitlines() if "|" in line]
    assert [part.split() for part in rows[0]] == [
        ["flight:", "completed"],
        ["flight:", "refused", "supposed"],
    ]
    for words in (
        "other path",
        "undo of hotel: completed",
        "left behind: mail (it has no compensation)",
        "operator needed: compensation_failed of car",
        "part at version 8: task.failed of flight instead of task.completed of flight",
        "Assumed: the undo of hotel succeeds.",
    ):
        assert words in " ".join(terminal.out.split())


def test_everything_that_is_supposed_is_sent(service, terminal, tmp_path):
    service.gives("POST", f"{PATH}/what-if", ANSWER)
    chosen = ["--set", "hotel#2=uncertain", "--set", 'flight={"id": 1}', "--assume", "mail=null"]
    assert terminal.json("what-if", ID, *chosen, "--input", '{"city": "Rome"}', "-d", "travel/trip@1.1.0") == ANSWER
    assert service.only.json == {
        "changes": [
            {"task": "hotel", "run": 2, "outcome": "uncertain"},
            {"task": "flight", "outcome": "completed", "output": {"id": 1}},
        ],
        "assume": {"mail": None},
        "definition": "travel/trip@1.1.0",
        "input": {"city": "Rome"},
    }


def test_a_document_is_sent_as_it_is_understood(service, terminal, tmp_path):
    service.gives("POST", f"{PATH}/what-if", ANSWER)
    file = tmp_path / "new.yaml"
    file.write_text("document: {dsl: '1.0.3', namespace: n, name: x, version: '1.0.0'}\ndo:\n  - a: {call: f}\n")
    assert terminal.run("what-if", ID, "--definition", str(file)) == 0
    assert service.only.json["definition"]["do"] == [{"a": {"call": "f"}}]
    file.write_text("document: {dsl: '1.0.3', namespace: n, name: x, version: '1.0.0'}\ndo:\n  - a: {cal: f}\n")
    assert terminal.run("what-if", ID, "--definition", str(file)) == 2
    assert f"{file}:3:" in terminal.err


@pytest.mark.parametrize(
    ("counts", "allowed", "code"),
    [
        ({}, [], 0),
        ({"other": 2}, [], 1),
        ({"other": 2}, ["other"], 0),
        ({"other": 2, "same_calls": 2}, ["same_calls"], 0),
        ({"other": 2, "same_calls": 1}, ["same_calls"], 1),
        ({"other": 2, "cannot_continue": 1}, ["other"], 1),
        ({"other": 2, "cannot_continue": 1}, ["other", "cannot_continue"], 0),
    ],
)
def test_the_exit_code_tells_whether_all_go_as_recorded(service, terminal, counts, allowed, code):
    operates(service, told(**counts))
    options = [word for each in allowed for word in ("--allow", each)]
    assert terminal.run("what-if", "--definition", "travel/trip@1.1.0", *options) == code
    assert "9 orchestrations of travel/trip by travel/trip@1.1.0" in " ".join(terminal.out.split())
    for outcome in ("other", "cannot_continue"):
        assert (f"reason of {outcome}" in terminal.out) == (outcome in counts)


def test_which_of_many_is_said(service, terminal):
    operates(service, told())
    chosen = ["--status", "running,completed", "--last", "50", "--for", "travel/old"]
    assert terminal.json("what-if", "-d", "trip", *chosen) == told()
    body = json.loads(service.requests[0].get_data())
    assert body == {"definition": "trip", "status": ["running", "completed"], "last": 50, "for": "travel/old"}


def test_an_operation_that_fails_is_told(service, terminal):
    operates(service, None, status="failed", error={"code": "interrupted", "detail": "The node is gone."})
    assert terminal.run("what-if", "-d", "trip") == 1
    assert "The node is gone." in terminal.err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--last", "5"],
        ["-d", "trip", "--input", "{}"],
        ["-d", "trip", "--allow", "all"],
        [ID, "--allow", "other"],
        [ID, "--status", "running"],
        [ID, "--set", "flight"],
        [ID, "--set", "flight=lost"],
        [ID, "--assume", "=1"],
        [ID, "-d", "missing.yaml"],
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(service, terminal, arguments):
    assert terminal.run("what-if", *arguments) == 2
    assert service.requests == []
