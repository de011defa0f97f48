"""The loan: clerk, then manager; reminded, escalated, and declined when nobody answers. The days are virtual."""

from __future__ import annotations

from typing import Any

import pytest

from domain import commands as c
from domain import events as e
from domain.errors import TaskEndedError
from tests.support.examples_script import Script, example
from tests.support.pure_world import World

LOAN = example("loan/loan.yaml")
HOUR = 3600


def loan(amount: int = 80_000) -> tuple[World, Script]:
    script = Script()
    world = World(LOAN, script)
    world.start({"applicant": "Ada", "amount": amount})
    return world, script


def answer(world: World, number: int, group: str, approved: bool, user: str = "ann") -> None:
    members: dict[str, Any] = {"outcome": "completed", "output": {"approved": approved}, "digest": bytes([number])}
    world.do("o_root", c.AnswerTask, number=number, user=user, groups=[group], **members)


def test_a_large_loan_is_signed():
    world, script = loan()
    answer(world, 1, "clerks", approved=True)
    assert script.calls() == ["put accounts"]
    answer(world, 2, "managers", approved=True)
    assert script.calls() == ["put accounts", "put payments"]
    assert (world.root.status, world.root.output) == ("completed", {"paid": 80_000})


def test_a_small_loan_is_not():
    world, script = loan(500)
    answer(world, 1, "clerks", approved=True)
    assert script.calls() == ["put accounts", "put payments"]
    assert len(world.root.people) == 1


def test_a_manager_who_declines_has_the_account_closed():
    world, script = loan()
    answer(world, 1, "clerks", approved=True)
    answer(world, 2, "managers", approved=False)
    assert script.calls() == ["put accounts", "delete accounts"]
    assert world.root.fault is not None
    assert (world.root.status, world.root.fault.type) == ("compensated", "https://example.com/errors/declined")


def test_a_clerk_who_declines_leaves_nothing_to_undo():
    world, script = loan()
    answer(world, 1, "clerks", approved=False)
    assert (script.calls(), world.root.status) == ([], "faulted")


def test_who_does_not_answer_is_reminded_then_managers_are_asked():
    world, _ = loan()
    world.do("o_root", c.ClaimTask, number=1, user="carl", groups=["clerks"])
    world.pass_time(4 * HOUR)
    reminder, escalation = [event for event in world.history["o_root"] if isinstance(event, e.TaskEscalated)]
    assert reminder.event is not None
    assert (reminder.event["data"]["assignee"], reminder.candidates) == ("carl", None)
    assert (escalation.candidates, escalation.priority) == (e.Candidates((), ("managers",)), 50)
    answer(world, 1, "managers", approved=True, user="mia")
    assert len(world.root.people) == 2


@pytest.mark.parametrize("approve_first", [True, False])
def test_an_approval_in_the_last_instant(approve_first):
    world, script = loan(500)
    world.pass_time(48 * HOUR - 1)
    deadline = world.root.runs[world.root.people[0]].timeout_at
    assert deadline is not None
    world.now = deadline
    if approve_first:
        answer(world, 1, "managers", approved=True)
        world.do("o_root", c.FireTimers)
        assert (world.root.status, script.calls()) == ("completed", ["put accounts", "put payments"])
        return
    world.do("o_root", c.FireTimers)
    with pytest.raises(TaskEndedError):
        answer(world, 1, "managers", approved=True)
    assert (world.root.status, script.calls()) == ("faulted", [])
