"""What is refused of ``call: human`` at deployment, and where."""

from __future__ import annotations

from typing import Any

import pytest

from domain.plan import Human
from tests.support.pure_world import plan_of
from tests.unit.test_documents_refusals import in_task

WITH = "call: human\nwith: {title: Approve, "
REFUSED = [
    ("call: human", [("", "missing")]),
    ("call: human\nwith: {}", [("/with", "missing")]),
    ("call: human\nwith: 5", [("/with", "wrong-type")]),
    ('call: human\nwith: {title: ""}', [("/with/title", "invalid")]),
    (WITH + "titel: 1}", [("/with/titel", "unknown-keyword")]),
    (WITH + "description: []}", [("/with/description", "invalid")]),
    (WITH + "form: [1]}", [("/with/form", "wrong-type")]),
    (WITH + "candidates: ann}", [("/with/candidates", "invalid")]),
    (WITH + "candidates: {user: [ann]}}", [("/with/candidates", "invalid")]),
    (WITH + "candidates: {users: []}}", [("/with/candidates", "invalid")]),
    (WITH + 'candidates: [""]}', [("/with/candidates", "invalid")]),
    (WITH + "assignee: [ann]}", [("/with/assignee", "invalid")]),
    (WITH + "priority: 101}", [("/with/priority", "invalid")]),
    (WITH + "priority: true}", [("/with/priority", "invalid")]),
    (WITH + "due: tomorrow}", [("/with/due", "invalid")]),
    (WITH + "due: '2026-01-01T00:00:00'}", [("/with/due", "invalid")]),
    (WITH + "due: {hour: 1}}", [("/with/due", "invalid")]),
    (WITH + "escalation: {}}", [("/with/escalation", "wrong-type")]),
    (WITH + "escalation: [{remind: true}]}", [("/with/escalation/0", "missing")]),
    (WITH + "due: PT1H, escalation: [{remind: 1}]}", [("/with/escalation/0/remind", "wrong-type")]),
    (
        WITH + "escalation: [{after: soon, whom: ann}]}",
        [("/with/escalation/0/whom", "unknown-keyword"), ("/with/escalation/0/after", "invalid")],
    ),
    (WITH + "data: '${ $secrets.key }'}", [("/with/data", "secret-not-allowed")]),
    (WITH + "}\nretry: {}", [("/retry", "unsupported")]),
    (WITH + "}\nidempotent: false", [("/idempotent", "unsupported")]),
    (WITH + "}\ncallback: true", [("/callback", "unsupported")]),
    (WITH + "}\npivot: true", [("/pivot", "unsupported")]),
]


@pytest.mark.parametrize(("text", "problems"), REFUSED, ids=[text.replace("\n", " ") for text, _ in REFUSED])
def test_it_is_refused_at_its_place(text: str, problems: list[tuple[str, str]]) -> None:
    found = in_task(text)
    assert sorted((pointer.removeprefix("/do/0/t"), code) for pointer, code, *_ in found) == sorted(problems)
    assert all(line >= 3 and column >= 1 for _, _, line, column in found)


@pytest.mark.parametrize(
    "with_",
    [
        {"title": "${ .title }", "candidates": "${ .who }", "due": "${ .at }", "escalation": "${ .steps }"},
        {"title": "T", "candidates": ["ann"], "due": "2027-01-01T00:00:00+01:00", "priority": 100},
        {"title": "T", "form": True, "escalation": [{"after": "${ .x }", "candidates": {"users": ["${ .y }"]}}]},
    ],
)
def test_what_may_be_written(with_: dict[str, Any]) -> None:
    plan = plan_of([{"t": {"call": "human", "with": with_}}])
    work = plan.nodes["/do/0/t"].work
    assert isinstance(work, Human)
    assert plan.nodes["/do/0/t"].kind == "human"
    assert not plan.nodes["/do/0/t"].effectful
