"""Tasks for people in rehearsals, what-if, forks, migrations and walks."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from adapters.cli.replay_words import asked, told
from adapters.expressions.inline import InlineJq
from adapters.expressions.schemas import JsonSchemas
from application.human_changes import human_changes
from application.live import Live, asked_people
from application.rehearsal_report import as_json
from application.rehearsing import Request, rehearse
from application.storage import DropHuman, PutHuman
from application.walking import Walk
from domain import commands as c
from tests.contract.storages import identity
from tests.support.forks import another, boundaries, fork
from tests.support.pure_world import plan_of
from tests.support.scripted import Scripted, bare
from tests.support.what_if import told as history_of
from tests.support.what_if import what_if
from tests.unit.test_people import ASK, answer, asking, human, refuse, tell

FORM = {"type": "object", "required": ["approved"], "properties": {"approved": {"const": True}}}
DECIDE = [{"approve": {"call": "human", "with": {"title": "Approve", "form": FORM}}}]


def rehearsed(tasks: list[Any], **members: Any) -> dict[str, Any]:
    request = Request(plan=plan_of(tasks), **members)
    found = asyncio.run(rehearse(request, InlineJq(), JsonSchemas()))
    return as_json(found)


def test_a_rehearsal_assumes_an_answer_that_fits_the_form_then_a_no_then_silence() -> None:
    branch = {"if": "${ .approved }", "call": "pay"}
    report = rehearsed([*DECIDE, {"pay": branch}])
    happy = report["happy_path"]
    assert ([each["task"] for each in happy["called"]], happy["status"]) == (["approve", "pay"], "completed")
    refused = next(each for each in report["scenarios"] if "approve is refused" in each["title"])
    silent = next(each for each in report["scenarios"] if "approve times out" in each["title"])
    assert refused["status"] == "faulted"
    assert (silent["status"], silent["remark"]) == ("running", "approve waits for ever: no timeout ends it")


def test_in_a_rehearsal_the_deadline_comes_when_nobody_answers() -> None:
    quick = {"approve": {**DECIDE[0]["approve"], "timeout": {"after": {"hours": 1}}}}
    report = rehearsed([{"t": {"try": [quick], "catch": {"do": [bare("decline")]}}}])
    silent = next(each for each in report["scenarios"] if "approve times out" in each["title"])
    assert silent["status"] == "completed"
    assert [each["task"] for each in silent["called"]][-1] == "decline"


def test_a_rehearsal_takes_the_answer_that_is_given() -> None:
    branch = {"if": '${ .approved == "perhaps" }', "call": "pay"}
    report = rehearsed([*DECIDE, {"pay": branch}], outputs={"approve": {"approved": "perhaps"}})
    assert [each["task"] for each in report["happy_path"]["called"]] == ["approve", "pay"]


def test_a_what_if_gives_what_was_recorded_of_people_to_the_task_of_that_name() -> None:
    world = asking(bare("pay"))
    tell(world, c.ClaimTask)
    answer(world, output={"approved": True})
    plan = another(world.plan_of["o_root"], [*world.plan_of["o_root"].document["do"]])
    assert what_if(world, plan)["status"] == "completed"
    changed = another(
        world.plan_of["o_root"], [*world.plan_of["o_root"].document["do"][:1], {"send": {"call": "send"}}]
    )
    found = what_if(world, changed)
    assert "cannot be decided" not in str(found)


def test_a_what_if_says_that_something_else_is_asked() -> None:
    world = asking(bare("pay"))
    answer(world, output={"approved": True})
    other = {"approve": {"call": "human", "with": {**ASK, "title": "Really?"}}}
    found = what_if(world, another(world.plan_of["o_root"], [other, bare("pay")]))
    assert found["status"] == "completed"
    assert "although the person is asked something else" in str(found["assumptions"])


def test_a_what_if_without_the_task_says_that_nobody_is_asked() -> None:
    world = asking(bare("pay"))
    answer(world, output={"approved": True})
    found = what_if(world, another(world.plan_of["o_root"], [bare("pay")]))
    assert "nobody is asked then" in str(found)


def test_a_fork_has_the_task_as_it_stood() -> None:
    world = asking()
    tell(world, c.ClaimTask)
    claimed = boundaries(world)[-1]
    answer(world, output={"approved": True})
    world.pass_time(3600)
    due_at = human(world).due_at
    state = fork(world, claimed)
    copy = state.runs[state.people[0]].human
    assert copy is not None
    assert due_at is not None
    assert copy.due_at is not None
    assert (copy.assignee, (copy.due_at - due_at).total_seconds()) == ("ann", 3600)
    world.do("o_fork", c.AnswerTask, number=1, user="ann", outcome="completed", output=1, digest=b"1")
    assert state.status == "completed"


def test_a_migration_takes_the_task_along() -> None:
    world = asking()
    moved = another(world.plan_of["o_root"], [bare("before"), *world.plan_of["o_root"].document["do"], bare("pay")])
    world.plans["moved"] = moved
    world.do("o_root", c.Migrate, to=moved.digest)
    answer(world, output={"approved": True})
    assert (world.called, world.root.status) == (["pay"], "completed")


def test_a_walk_has_words_for_what_people_did() -> None:
    world = asking(escalation=[{"after": "PT1H", "priority": 3, "remind": True, "candidates": ["mia"]}])
    tell(world, c.ClaimTask, actor="portal")
    tell(world, c.ReleaseTask)
    world.pass_time(3600)
    world.do("o_root", c.ReassignTask, number=1, assignee="max", reason="mia is away", actor="grace")
    refuse(world, "max")
    walk = Walk(world.plan_of["o_root"], history_of(world))
    assert list(walk.verify()) == []
    words = [asked(moment.command) for moment in walk.moments]
    assert words[1:3] == ["portal took task 1, for ann", "somebody gave task 1 back, for ann"]
    assert words[4] == "grace gave task 1 to max: mia is away"
    assert words[5].startswith("somebody said no to task 1, for max: ")
    lines = [told(event)[1] for moment in walk.moments for event in moment.events]
    assert "number 1, for one of ann, clerks: Approve the loan" in lines
    assert "for one of mia, priority 3, a reminder is sent" in lines


# Rows of lists ----------------------------------------------------------------------------------------------------------


def test_rows_follow_the_events() -> None:
    world = Scripted(
        [{"approve": {"call": "human", "with": ASK}}, {"sign": {"call": "human", "with": {"title": "Sign"}}}]
    )
    world.start_it({"amount": 5})
    live = Live("o_root", 0, identity(1), world.root)
    (put,) = human_changes(live, world.history["o_root"])
    assert isinstance(put, PutHuman)
    assert (put.number, put.status, put.people) == (1, "open", ("u:ann", "g:clerks"))
    (put,) = human_changes(live, tell(world, c.ClaimTask))
    assert isinstance(put, PutHuman)
    assert (put.status, put.assignee) == ("claimed", "ann")
    assert live.people == asked_people(world.root)
    drop, put = human_changes(live, answer(world, output=1))
    assert (drop, put.number) == (DropHuman(identity(1), 1), 2)  # type: ignore[union-attr]
    before = len(world.history["o_root"])
    world.do("o_root", c.Terminate)
    assert human_changes(live, world.history["o_root"][before:]) == [DropHuman(identity(1), 2)]
    assert live.people == asked_people(world.root) == {}


@pytest.mark.parametrize("again", [True, False])
def test_a_row_goes_when_the_task_is_asked_again(again: bool) -> None:
    retry = {"retry": {"delay": {"seconds": 1}, "limit": {"attempt": {"count": int(again)}}}}
    world = Scripted([{"g": {"try": [{"approve": {"call": "human", "with": ASK}}], "catch": retry}}])
    world.start_it({"amount": 5})
    live = Live("o_root", 0, identity(1), world.root)
    human_changes(live, world.history["o_root"])
    assert human_changes(live, refuse(world)) == [DropHuman(identity(1), 1)]
    before = len(world.history["o_root"])
    world.pass_time(1)
    changes = human_changes(live, world.history["o_root"][before:]) if again else []
    assert [getattr(each, "number", 0) for each in changes] == ([2] if again else [])
