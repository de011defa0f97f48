"""Tasks for people: who may take one, what an answer does, what time does, and what happens when nobody wants it any more."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from application.human_changes import status_of
from application.status import represent
from domain import commands as c
from domain import events as e
from domain.errors import NotFoundError, TaskClaimedError, TaskEndedError
from domain.people import REMINDER
from domain.state import State
from domain.state_people import Human
from tests.support.pure_world import refused
from tests.support.scripted import Scripted, bare

FORM = {"type": "object", "required": ["approved"], "properties": {"approved": {"type": "boolean"}}}
ASK: dict[str, Any] = {
    "title": "Approve the loan",
    "form": FORM,
    "data": {"amount": "${ .amount }"},
    "candidates": {"users": ["ann"], "groups": ["clerks"]},
    "due": {"hours": 4},
}


def asking(
    *more: Any, script: Any = None, around: dict[str, Any] | None = None, top: Any = None, **with_: Any
) -> Scripted:
    """A task ``approve`` for people, then `more`."""
    task = {"approve": {"call": "human", "with": {**ASK, **with_}, **(around or {})}}
    world = Scripted([task, *more], script or {}, **(top or {}))
    world.start_it({"amount": 5})
    return world


def tell(world: Scripted, cls: type[c.Command], user: str = "ann", *groups: str, number: int = 1, **more: Any) -> Any:
    return world.do("o_root", cls, number=number, user=user, groups=list(groups), **more)


def answer(world: Scripted, user: str = "ann", *groups: str, output: Any = None, number: int = 1, **more: Any) -> Any:
    members = {"outcome": "completed", "output": output, "digest": repr((user, output, more)).encode()} | more
    return tell(world, c.AnswerTask, user, *groups, number=number, **members)


def refuse(world: Scripted, user: str = "ann") -> Any:
    error = {"type": "https://retrace.invalid/errors/too-risky", "status": 422}
    return answer(world, user, outcome="refused", error=error)


def human(world: Scripted) -> Human:
    found = world.run("approve").human
    assert found is not None
    return found


def status(state: State) -> str:
    run = state.runs[state.people[-1]]
    assert run.human is not None
    return status_of(state, run, run.human)


def test_a_person_is_asked_with_all_that_stands_there() -> None:
    world = asking()
    (asked,) = world.recorded(e.TaskAssigned)
    assert (asked.number, asked.title, asked.form, asked.data) == (1, "Approve the loan", FORM, {"amount": 5})
    assert asked.candidates == e.Candidates(("ann",), ("clerks",))
    (waits,) = represent(world.root)["waiting_for"]
    assert (waits["kind"], waits["title"], waits["assignee"]) == ("human", "Approve the loan", None)
    assert waits["candidates"] == {"users": ["ann"], "groups": ["clerks"]}
    assert (waits["due_at"], waits["id"]) == (represent(world.root)["waiting_for"][0]["due_at"], "o_root-1")


def test_who_has_claimed_it_answers_it() -> None:
    world = asking(bare("pay"))
    tell(world, c.ClaimTask, "bob", "clerks")
    assert human(world).assignee == "bob"
    answer(world, "bob", output={"approved": True})
    assert (world.called, world.root.status, world.run("approve").output) == (["pay"], "completed", {"approved": True})
    assert world.run("approve").effect == "completed"
    assert [step.what for step in human(world).handings] == ["assigned", "claimed", "answered"]


def test_a_candidate_may_answer_what_nobody_has_claimed() -> None:
    world = asking()
    answer(world, "ann", output={"approved": False})
    assert (world.root.status, status(world.root)) == ("completed", "completed")


@pytest.mark.parametrize("cls", [c.ClaimTask, c.ReleaseTask])
def test_whoever_has_nothing_to_do_with_it_does_not_find_it(cls: type[c.Command]) -> None:
    world = asking()
    with pytest.raises(NotFoundError):
        tell(world, cls, "eve", "spies")
    with pytest.raises(NotFoundError):
        answer(world, "eve")
    with pytest.raises(NotFoundError):
        tell(world, cls, "ann", number=2)


def test_without_candidates_it_is_for_everyone() -> None:
    world = asking(candidates=None)
    tell(world, c.ClaimTask, "eve")
    assert human(world).assignee == "eve"


def test_of_two_who_claim_one_has_it() -> None:
    world = asking()
    tell(world, c.ClaimTask, "ann")
    for late in (c.ClaimTask, c.ReleaseTask):
        with pytest.raises(TaskClaimedError, match="ann has the task"):
            tell(world, late, "bob", "clerks")
    with pytest.raises(TaskClaimedError):
        answer(world, "bob", "clerks")
    assert tell(world, c.ClaimTask, "ann") == []


def test_given_back_it_is_for_all_again() -> None:
    world = asking()
    tell(world, c.ClaimTask, "ann")
    tell(world, c.ReleaseTask, "ann")
    assert tell(world, c.ReleaseTask, "ann") == []
    tell(world, c.ClaimTask, "bob", "clerks")
    assert human(world).assignee == "bob"


def test_the_same_answer_again_changes_nothing_and_another_is_too_late() -> None:
    world = asking(bare("pay"), script={"pay": None})
    answer(world, output=1)
    assert answer(world, output=1) == []
    with pytest.raises(TaskEndedError):
        answer(world, output=2)
    with pytest.raises(TaskEndedError):
        tell(world, c.ClaimTask)


def test_a_no_is_a_definite_failure_that_can_be_caught() -> None:
    caught = {"try": [{"approve": {"call": "human", "with": ASK}}], "catch": {"do": [bare("decline")]}}
    world = Scripted([{"guard": caught}])
    world.start_it({"amount": 5})
    refuse(world)
    assert (world.called, world.root.status) == (["decline"], "completed")
    assert (world.run("approve").effect, status(world.root)) == ("failed", "refused")


def test_it_is_given_to_somebody_else() -> None:
    world = asking()
    tell(world, c.ClaimTask, "ann")
    given: dict[str, Any] = {"number": 1, "assignee": "max", "reason": "ann is ill"}
    world.do("o_root", c.ReassignTask, **given)
    assert world.do("o_root", c.ReassignTask, **given) == []
    with pytest.raises(TaskClaimedError):
        answer(world, "ann")
    world.do("o_root", c.ReassignTask, number=1, users=[], groups=["managers"], reason="for managers")
    with pytest.raises(TaskClaimedError, match="for others"):
        tell(world, c.ClaimTask, "ann")
    answer(world, "mia", "managers")
    assert world.root.status == "completed"


# Time -------------------------------------------------------------------------------------------------------------------

ESCALATION = [
    {"after": {"hours": 1}, "remind": True},
    {"candidates": {"groups": ["managers"]}, "priority": 9, "remind": True},
]


def test_it_is_escalated_when_it_is_due() -> None:
    world = asking(escalation=ESCALATION)
    tell(world, c.ClaimTask, "ann")
    world.pass_time(3600)
    assert (human(world).assignee, human(world).escalated) == ("ann", 1)
    world.pass_time(3 * 3600)
    assert (human(world).assignee, human(world).priority, human(world).escalated) == (None, 9, 2)
    assert human(world).candidates == e.Candidates((), ("managers",))
    first, second = (event.event for event in world.recorded(e.TaskEscalated))
    assert (first["type"], first["subject"], first["data"]["assignee"]) == (REMINDER, "o_root-1", "ann")
    assert (second["data"]["candidates"]["groups"], second["data"]["priority"]) == (["managers"], 9)
    assert world.root.emitted == 2
    with pytest.raises(TaskClaimedError):
        answer(world, "ann")
    answer(world, "mia", "managers")
    assert world.root.status == "completed"


@pytest.mark.parametrize("way", ["escalated", "reassigned"])
def test_who_could_have_had_it_is_told_that_it_is_for_others_now(way: str) -> None:
    world = asking(escalation=ESCALATION)
    if way == "escalated":
        world.pass_time(4 * 3600)
    else:
        world.do("o_root", c.ReassignTask, number=1, users=[], groups=["managers"], reason="for managers")
    for person in (("ann",), ("carl", "clerks")):
        with pytest.raises(TaskClaimedError, match="for others"):
            tell(world, c.ClaimTask, *person)
    with pytest.raises(NotFoundError):
        tell(world, c.ClaimTask, "eve", "cooks")


def test_escalations_that_were_missed_come_at_once_and_in_order() -> None:
    world = asking(escalation=ESCALATION)
    world.do("o_root", c.Suspend)
    world.pass_time(24 * 3600)
    assert human(world).escalated == 0
    world.do("o_root", c.Resume)
    assert [event.step for event in world.recorded(e.TaskEscalated)] == [0, 1]


@pytest.mark.parametrize(("claimed", "effect"), [(False, "failed"), (True, "uncertain")])
def test_an_answer_that_does_not_come_in_time_fails_the_task(claimed: bool, effect: str) -> None:
    world = asking(around={"timeout": {"after": {"days": 1}}})
    if claimed:
        tell(world, c.ClaimTask)
    world.pass_time(24 * 3600)
    assert (world.run("approve").effect, status(world.root)) == (effect, "withdrawn")
    assert world.root.fault is not None
    assert world.root.fault.status == 408
    with pytest.raises(TaskEndedError):
        answer(world)


@pytest.mark.parametrize("order", list(permutations(["approve", "deadline"])))
def test_an_answer_and_the_deadline_in_the_same_instant_have_one_outcome(order: tuple[str, ...]) -> None:
    caught = {
        "try": [{"approve": {"call": "human", "with": ASK, "timeout": {"after": {"days": 1}}}}, bare("pay")],
        "catch": {"errors": {"with": {"status": 408}}, "do": [bare("decline")]},
    }
    world = Scripted([{"guard": caught}])
    world.start_it({"amount": 5})
    deadline = world.root.runs[world.root.people[0]].timeout_at
    assert deadline is not None
    world.now = deadline
    lost = 0
    for what in order:
        if what == "deadline":
            world.do("o_root", c.FireTimers)
            continue
        try:
            answer(world, output={"approved": True})
        except TaskEndedError:
            lost += 1
    first = order[0] == "approve"
    assert (world.called, lost) == ((["pay"], 0) if first else (["decline"], 1))
    assert world.root.status == "completed"


# Nobody wants it any more -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("claimed", "undone"), [(False, []), (True, ["approve"])])
def test_a_cancel_withdraws_it(claimed: bool, undone: list[str]) -> None:
    world = asking(around={"compensate": {"call": "undo_approve"}})
    if claimed:
        tell(world, c.ClaimTask)
    world.cancel()
    assert (world.root.runs[world.root.people[0]].effect != "none") is claimed
    assert (world.undone, world.root.status) == (undone, "cancelled")
    assert represent(world.root)["waiting_for"] == []
    with pytest.raises(TaskEndedError):
        answer(world)


def test_what_was_approved_is_not_left_behind_unless_it_says_so() -> None:
    world = asking(bare("pay"), script={"pay": None})
    answer(world)
    world.cancel()
    world.answer_to("pay", refused())
    assert (world.root.status, world.left_behind()) == ("cancelled", {})


def test_a_termination_withdraws_it() -> None:
    world = asking()
    world.do("o_root", c.Terminate)
    assert status(world.root) == "withdrawn"
    with pytest.raises(TaskEndedError):
        tell(world, c.ClaimTask)


def test_while_it_is_suspended_an_answer_is_kept() -> None:
    world = asking(bare("pay"))
    world.do("o_root", c.Suspend)
    tell(world, c.ClaimTask)
    answer(world, output=3)
    assert (world.called, world.root.status, represent(world.root)["waiting_for"]) == ([], "suspended", [])
    assert answer(world, output=3) == []
    with pytest.raises(TaskEndedError):
        answer(world, output=4)
    world.do("o_root", c.Resume)
    assert (world.called, world.run("approve").output, world.root.status) == (["pay"], 3, "completed")


def test_a_no_while_it_is_suspended_counts_on_resume() -> None:
    world = asking()
    world.do("o_root", c.Suspend)
    refuse(world)
    world.do("o_root", c.Resume)
    assert world.root.status == "faulted"
    assert world.root.fault is not None
    assert world.root.fault.type.endswith("too-risky")


def test_after_the_deadline_nobody_answers_although_it_is_suspended() -> None:
    world = asking(around={"timeout": {"after": {"days": 1}}})
    world.do("o_root", c.Suspend)
    world.pass_time(2 * 24 * 3600)
    with pytest.raises(TaskEndedError):
        answer(world)


@pytest.mark.parametrize("top", [False, True])
def test_nor_after_the_deadline_of_what_is_around_it(top: bool) -> None:
    task = {"approve": {"call": "human", "with": ASK}}
    limit: dict[str, Any] = {"timeout": {"after": {"days": 1}}}
    world = Scripted([task], {}, **limit) if top else Scripted([{"all": {"do": [task], **limit}}])
    world.start_it({"amount": 5})
    world.do("o_root", c.Suspend)
    world.pass_time(2 * 24 * 3600)
    with pytest.raises(TaskEndedError):
        answer(world)


def test_an_answer_that_was_kept_is_not_lost_when_something_else_has_failed_meanwhile() -> None:
    task = {"approve": {"call": "human", "with": ASK, "compensate": {"call": "undo"}}}
    world = Scripted([{"both": {"fork": {"branches": [task, {"w": {"call": "wrong"}}]}}}], {"wrong": None})
    world.start_it({"amount": 5})
    world.do("o_root", c.Suspend)
    world.answer_to("wrong", refused())
    world.pass_time(5)
    answer(world)
    world.do("o_root", c.Resume)
    assert (world.called, world.root.status) == (["wrong", "undo"], "compensated")


def test_people_may_undo_something() -> None:
    undo = {"call": "human", "with": {"title": "Take it back by hand"}}
    world = Scripted([{"send": {"call": "send", "compensate": undo}}, bare("fail")], {"fail": None})
    world.start_it()
    world.cancel()
    world.answer_to("fail", refused())
    assert (world.root.status, [entry["kind"] for entry in represent(world.root)["waiting_for"]]) == (
        "compensating",
        ["human"],
    )
    answer(world, "anyone")
    assert world.root.status == "cancelled"


def test_a_task_that_is_asked_again_has_another_number() -> None:
    again = {
        "try": [{"approve": {"call": "human", "with": ASK}}],
        "catch": {"retry": {"delay": {"seconds": 1}, "limit": {"attempt": {"count": 1}}}},
    }
    world = Scripted([{"guard": again}])
    world.start_it({"amount": 5})
    refuse(world)
    world.pass_time(1)
    assert human(world).number == 2
    assert refuse(world) == []
    with pytest.raises(TaskEndedError):
        answer(world, number=1)
    earlier = world.run("approve").asked(1)
    assert earlier is not None
    assert status_of(world.root, world.run("approve"), earlier) == "refused"
    answer(world, number=2)
    assert world.root.status == "completed"


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("title", "${ 5 }"),
        ("candidates", "${ {users: []} }"),
        ("candidates", '${ "ann" }'),
        ("due", '${ "tomorrow" }'),
        ("due", '${ "2026-01-01T00:00:00" }'),
        ("priority", "${ 101 }"),
        ("assignee", "${ [] }"),
        ("escalation", "${ {} }"),
        ("escalation", ["${ {after: {hours: 1}, whom: 1} }"]),
    ],
)
def test_what_an_expression_gives_has_to_fit(member: str, value: Any) -> None:
    world = asking(**{member: value})
    assert world.root.status == "faulted"
    assert world.root.fault is not None
    assert world.root.fault.type.endswith("/validation")
    assert f"with.{member}" in (world.root.fault.detail or "")
