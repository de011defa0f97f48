"""Rules of rollback: the pivot, the task after which there is no way back."""

from __future__ import annotations

from typing import Any

import pytest

from domain import commands as c
from domain import events as e
from domain.errors import InvalidDefinitionError, InvalidInputError, PastPivotError
from domain.rollback import outcome
from tests.support.pure_world import done, doubt, plan_of, refused, unusable
from tests.support.scripted import Scripted, bare, step

PAY = bare("pay", pivot=True)
WAIT = {"w": {"wait": {"hours": 1}}}


def started(*tasks: Any, top: dict[str, Any] | None = None, **script: Any) -> Scripted:
    world = Scripted([*tasks], script, **(top or {}))
    world.start_it()
    return world


@pytest.mark.parametrize(
    "around",
    [
        lambda t: {"f": {"fork": {"branches": [t]}}},
        lambda t: {"f": {"for": {"in": "[1]"}, "do": [t]}},
        lambda t: {"f": {"try": [bare("a")], "catch": {"do": [t]}}},
        lambda t: {"f": {"call": "a", "compensate": {"do": [t]}}},
    ],
    ids=["fork", "for", "catch", "compensate"],
)
def test_refused_where_it_makes_no_sense(around: Any) -> None:
    """ "refused at deployment inside `fork`, `for`, `catch` and compensations" """
    with pytest.raises(InvalidDefinitionError):
        plan_of([around(PAY)])


@pytest.mark.parametrize(
    "around",
    [lambda t: t, lambda t: {"d": {"do": [t]}}, lambda t: {"d": {"try": [t], "catch": {}}}],
    ids=["root", "do", "try"],
)
def test_allowed_in_sequential_scopes(around: Any) -> None:
    """ "Allowed in sequential scopes" """
    world = started(around(PAY))
    assert (world.root.status, world.root.pivot_passed) == ("completed", world.run("pay").id)


# In doubt -------------------------------------------------------------------------------------------------------------------


def test_an_uncertain_pivot_is_an_incident() -> None:
    """ "Uncertain: an incident" """
    world = started(step("a"), PAY, bare("next"), pay=doubt())
    assert (world.root.status, world.undone, world.called[-1]) == ("running", [], "pay")
    assert (world.incident().kind, world.incident().actions) == ("uncertain_pivot", ("retry", "complete", "fail"))


def test_resolved_by_retry() -> None:
    """ "resolved by retry": under the same key"""
    world = started(step("a"), PAY, bare("next"), pay=[doubt(), done()])
    world.resolve("retry")
    assert (world.called, world.root.status) == (["a", "pay", "pay", "next"], "completed")
    assert world.call_of("pay", 0).key == world.call_of("pay", 1).key


def test_resolved_by_complete() -> None:
    """ "complete (it happened)" """
    world = started(step("a"), PAY, bare("next", **{"with": {"paid": "${ .paid }"}}), pay=doubt())
    world.resolve("complete", output={"paid": 7})
    assert (world.call_of("next").arguments, world.root.status) == ({"paid": 7}, "completed")
    assert world.root.pivot_passed is not None


def test_resolved_by_fail() -> None:
    """ "fail (it did not: roll back)" """
    world = started(step("a"), step("pay", pivot=True), pay=doubt())
    world.resolve("fail")
    assert (world.root.status, world.undone, world.run("pay").effect) == ("compensated", ["a"], "failed")


def test_a_retry_that_is_refused_leaves_the_doubt() -> None:
    """ "a later refusal does not clear it" """
    world = started(step("a"), PAY, pay=[doubt(), refused()])
    world.resolve("retry")
    assert world.incident().kind == "uncertain_pivot"


@pytest.mark.parametrize(("answer", "status"), [(done(), "completed"), (refused(), "compensated")])
def test_a_late_answer_settles_the_doubt(answer: Any, status: str) -> None:
    """ "before ... it corrects the facts": what the operator was asked is known now."""
    cut = {"d": {"do": [PAY]}}
    world = started(step("a"), cut, pay=doubt())
    world.late("pay", answer)
    assert world.root.open_incidents() == []
    assert world.root.status == status


def test_a_definite_failure_rolls_back() -> None:
    assert started(step("a"), PAY, pay=refused()).undone == ["a"]


def test_a_timeout_after_the_pivot_is_not_asked_about_after_the_end() -> None:
    world = started(PAY, bare("next"), next=None, top={"timeout": {"after": {"seconds": 5}}})
    world.pass_time(5)
    assert world.incident().kind == "after_pivot"
    world.answer_to("next", done())
    assert (world.root.status, world.root.open_incidents()) == ("completed", [])
    assert world.recorded(e.IncidentResolved)[0].action == "ended"


# Passed -----------------------------------------------------------------------------------------------------------------------


def test_a_later_uncaught_error_is_an_incident_in_running() -> None:
    """ "a later uncaught error ... is an incident in `running`" """
    world = started(step("a"), PAY, bare("b"), bare("c"), b=refused())
    assert (world.incident().kind, world.root.status, world.undone) == ("after_pivot", "running", [])


@pytest.mark.parametrize(
    ("action", "called", "arguments"),
    [
        ("retry", ["b", "b", "c"], {"by": "b"}),
        ("skip", ["b", "c"], {"by": "pay"}),
        ("complete", ["b", "c"], {"own": 1}),
    ],
)
def test_an_operator_finds_a_way_on(action: str, called: list[str], arguments: Any) -> None:
    world = started(PAY, bare("b"), bare("c", **{"with": {"got": "${ . }"}}), b=[refused(), done({"by": "b"})])
    world.resolve(action, output={"own": 1})
    assert world.called[1:] == called
    assert (world.call_of("c").arguments["got"], world.root.status) == (arguments, "completed")


def test_skipping_says_nothing_of_the_effect() -> None:
    world = started(PAY, step("b"), WAIT, b=refused())
    world.resolve("skip")
    assert (world.run("b").status, world.run("b").effect) == ("completed", "failed")
    world.cancel(override_pivot=True)
    assert world.undone == []


def test_the_workflows_timeout_is_an_incident() -> None:
    """ "or workflow timeout is an incident in `running`" - once; everything goes on."""
    world = started(step("a"), PAY, WAIT, top={"timeout": {"after": {"seconds": 5}}})
    world.pass_time(5)
    assert (world.incident().kind, world.root.status) == ("after_pivot", "running")
    world.pass_time(3600)
    assert (world.root.status, len(world.root.incidents)) == ("completed", 1)


def test_catch_works_as_usual_after_it() -> None:
    """ "`catch` works as usual after it." """
    world = started(PAY, {"t": {"try": [step("b"), bare("c")], "catch": {"compensate": True}}}, bare("d"), c=refused())
    assert (world.root.status, world.undone, world.root.incidents) == ("completed", ["b"], [])


def test_an_incident_blocks_its_token_only() -> None:
    """ "An incident blocks its token only; other branches go on." """
    fork = {
        "f": {"fork": {"branches": [{"x": {"do": [bare("x1"), bare("x2")]}}, {"y": {"do": [bare("y1"), bare("y2")]}}]}}
    }
    world = started(PAY, fork, bare("last"), x1=refused(), y1=None)
    world.answer_to("y1", done())
    assert "y2" in world.called
    assert "last" not in world.called
    world.resolve("skip")
    assert (world.called[-2:], world.root.status) == (["x2", "last"], "completed")


def test_what_contains_the_pivot_is_never_tried_again() -> None:
    """The error is held where it happened, so that a retry does not pay twice."""
    world = started({"d": {"do": [PAY, bare("ship")]}}, ship=[refused(), done()])
    assert world.run("ship").held
    world.resolve("retry")
    assert (world.called, world.root.status) == (["pay", "ship", "ship"], "completed")


def test_a_try_that_contains_the_pivot_and_does_not_catch_cannot_be_retried() -> None:
    world = started({"d": {"try": [PAY, bare("ship")], "catch": {"errors": {"with": {"status": 499}}}}}, ship=refused())
    assert world.incident().actions == ("skip", "complete")


@pytest.mark.parametrize("answer", [done(), unusable("raw")])
def test_a_pivot_whose_answer_cannot_be_used_has_happened(answer: Any) -> None:
    """ "A success answer records the effect as done before its body ... is looked at": there is no way back."""
    world = started(step("a"), bare("pay", pivot=True, output={"as": "error"}), bare("next"), pay=answer)
    assert (world.root.status, world.undone) == ("running", [])
    assert (world.incident().kind, world.incident().actions) == ("after_pivot", ("skip", "complete"))
    world.resolve("skip")
    assert world.root.status == "completed"


@pytest.mark.parametrize(("action", "output"), [("skip", {"by": "pay"}), ("complete", {"own": 1})])
def test_an_output_that_cannot_be_made_after_the_pivot(action: str, output: Any) -> None:
    """ "a later uncaught error ... is an incident": also that of the orchestration's own output."""
    world = started(PAY, top={"output": {"as": "error"}})
    assert (world.incident().kind, world.root.status) == ("after_pivot", "running")
    world.resolve("retry")
    world.resolve(action, output={"own": 1})
    assert (world.root.status, world.root.output) == ("completed", output)


# Cancel -------------------------------------------------------------------------------------------------------------------------


def test_cancel_after_the_pivot_is_refused() -> None:
    """ "cancel is refused (409 `past-pivot`)" and changes nothing, also while suspended"""
    world = started(step("a"), PAY, WAIT)
    world.do("o_root", c.Suspend)
    version = world.root.version
    with pytest.raises(PastPivotError):
        world.cancel()
    assert (world.root.version, world.root.status) == (version, "suspended")


def test_override_undoes_all_that_can_be_undone() -> None:
    """ "unless `override_pivot: true`, which undoes all that can be undone" """
    world = started(step("a"), PAY, step("b"), WAIT)
    world.cancel(override_pivot=True)
    assert (world.undone, world.root.status, outcome(world.root)) == (["b", "a"], "cancelled", "partial")
    assert set(world.left_behind()) == {"pay"}


def test_override_with_an_open_incident() -> None:
    world = started(step("a"), PAY, bare("b"), b=refused())
    world.cancel(override_pivot=True)
    assert (world.undone, world.root.status, world.root.open_incidents()) == (["a"], "cancelled", [])


def test_a_cancel_while_it_is_in_flight_settles_it_first() -> None:
    """ "A cancel while it is in flight settles it first." Here it happened: the cancel is void."""
    world = started(step("a"), PAY, bare("next"), pay=None)
    world.cancel(reason="stop")
    assert (world.root.status, world.topics()[-1]) == ("running", "cancel.requested")
    world.cancel()
    assert world.topics().count("cancel.requested") == 1
    world.answer_to("pay", done())
    assert (world.root.status, world.called[-1]) == ("completed", "next")
    assert "cancel.dropped" in world.topics()


def test_settled_as_not_happened_the_cancel_goes_on() -> None:
    """ "settles it first": here it did not happen; nothing is retried or caught any more."""
    retry = {"delay": {"seconds": 1}, "limit": {"attempt": {"count": 3}}}
    pay = bare("pay", pivot=True, retry=retry)
    world = started(step("a"), {"t": {"try": [pay], "catch": {"do": [bare("handler")]}}}, pay=None)
    world.cancel(reason="stop")
    world.answer_to("pay", refused(429))
    assert (world.root.status, world.undone) == ("cancelled", ["a"])
    assert "handler" not in world.called


@pytest.mark.parametrize(
    ("action", "status"), [("complete", "completed"), ("fail", "cancelled"), ("retry", "completed")]
)
def test_settled_as_uncertain_the_operator_decides_on_the_cancel_too(action: str, status: str) -> None:
    world = started(step("a"), PAY, pay=[None, done()])
    world.cancel()
    world.answer_to("pay", doubt())
    assert (world.incident().kind, world.root.status) == ("uncertain_pivot", "running")
    world.resolve(action)
    assert world.root.status == status


def test_a_cancel_while_the_operator_is_asked_waits_for_the_answer() -> None:
    """ "settles it first": nobody knows yet whether there is a way back."""
    world = started(step("a"), PAY, pay=doubt())
    world.cancel()
    assert (world.root.status, world.undone) == ("running", [])
    world.resolve("fail")
    assert (world.root.status, world.undone) == ("cancelled", ["a"])


def test_override_does_not_wait_for_the_operator() -> None:
    world = started(step("a"), step("pay", pivot=True), pay=doubt())
    world.cancel(override_pivot=True)
    assert (world.root.status, world.undone) == ("cancelled", ["pay", "a"])


def test_override_of_a_pivot_in_flight_undoes_it_once_it_has_happened() -> None:
    world = started(step("a"), step("pay", pivot=True), pay=None)
    world.cancel()
    world.cancel(override_pivot=True)
    world.answer_to("pay", done())
    assert (world.root.status, world.undone) == ("cancelled", ["pay", "a"])


@pytest.mark.parametrize(
    ("answer", "status", "incident"),
    [(done(), "running", "after_pivot"), (doubt(), "running", "uncertain_pivot"), (refused(), "compensated", None)],
)
def test_the_workflows_timeout_waits_for_a_pivot_in_flight(answer: Any, status: str, incident: str | None) -> None:
    """As a cancel does: giving the pivot up would make a doubt where an answer is on its way."""
    world = started(step("a"), PAY, WAIT, top={"timeout": {"after": {"seconds": 5}}}, pay=None)
    world.pass_time(6)
    assert world.recorded(e.RollbackStarted) == []
    world.answer_to("pay", answer)
    world.pass_time(0)
    assert world.root.status == status
    assert [i.kind for i in world.root.open_incidents()] == ([incident] if incident else [])


def test_the_timeout_of_a_scope_waits_for_a_pivot_in_flight() -> None:
    world = started(step("a"), {"d": {"do": [PAY, WAIT], "timeout": {"after": {"seconds": 5}}}}, bare("b"), pay=None)
    world.pass_time(6)
    assert world.run("pay").flying
    world.answer_to("pay", done())
    world.pass_time(0)
    assert (world.incident().kind, world.incident().actions) == ("after_pivot", ("skip", "complete"))
    world.resolve("skip")
    assert world.root.status == "completed"


def test_nothing_is_resolved_while_suspended() -> None:
    """ "While suspended ... nothing is decided": the decision would send requests."""
    world = started(PAY, pay=doubt())
    world.do("o_root", c.Suspend)
    with pytest.raises(InvalidInputError):
        world.resolve("retry")
    world.do("o_root", c.Resume)
    world.resolve("complete")
    assert world.root.status == "completed"
