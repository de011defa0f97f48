"""Suspend and resume: what is recorded, what waits, what a cancel makes of it."""

from __future__ import annotations

from typing import Any

import pytest

from domain import commands as c
from domain import events as e
from domain.errors import OrchestrationEndedError, fault
from tests.support.pure_world import Result, done, doubt, refused
from tests.support.scripted import Scripted, bare, step

WAIT = {"w": {"wait": {"seconds": 10}}}


def suspended(*tasks: Any, top: dict[str, Any] | None = None, **script: Any) -> Scripted:
    world = Scripted([*tasks], script, **(top or {}))
    world.start_it()
    world.do("o_root", c.Suspend, reason="maintenance")
    assert world.root.status == "suspended"
    return world


def resume(world: Scripted) -> None:
    world.do("o_root", c.Resume)


def test_results_are_recorded_and_nothing_is_decided() -> None:
    """ "While suspended, results, attempt timeouts and events are recorded, timers stay due, nothing is decided" """
    world = suspended(bare("a"), bare("b"), a=None)
    world.answer_to("a", done())
    assert (world.topics()[-1], world.called) == ("result.recorded", ["a"])
    resume(world)
    assert (world.called, world.root.status) == (["a", "b"], "completed")


def test_a_result_is_recorded_once() -> None:
    world = suspended(bare("a"), a=None)
    world.answer_to("a", done({"n": 1}))
    world.late("a", done({"n": 2}))
    resume(world)
    assert (len(world.recorded(e.ResultRecorded)), world.root.output) == (1, {"n": 1})


def test_timers_stay_due() -> None:
    """ "timers stay due" """
    world = suspended(WAIT, bare("b"))
    world.pass_time(100)
    assert (world.root.next_due(), world.called) == (None, [])
    resume(world)
    assert (world.called, world.root.status) == (["b"], "completed")


def test_a_timer_that_is_not_yet_due_at_resume_fires_in_its_time() -> None:
    world = suspended(WAIT)
    world.pass_time(4)
    resume(world)
    world.pass_time(5.9)
    assert world.root.status == "running"
    world.pass_time(0.1)
    assert world.root.status == "completed"


def test_events_are_held() -> None:
    """ "events are recorded" """
    world = suspended({"l": {"listen": {"to": {"one": {"with": {"type": "go"}}}}}})
    world.receive("go", {"n": 1})
    assert world.root.status == "suspended"
    resume(world)
    assert (world.root.status, world.root.output) == ("completed", [{"n": 1}])


@pytest.mark.parametrize(("answer_at", "effect"), [(3, "completed"), (7, "uncertain")])
def test_resume_handles_them_in_the_order_of_their_time(answer_at: float, effect: str) -> None:
    """ "resume handles them in order of due time": an answer before the timeout counts, one after it is late."""
    cut = {"t": {"try": [step("a", {"after": "uncertain"})], "timeout": {"after": {"seconds": 5}}, "catch": {}}}
    outer = {"o": {"try": [cut], "catch": {}}}
    world = suspended(outer, bare("b"), a=None)
    world.pass_time(answer_at)
    world.answer_to("a", done())
    world.pass_time(20 - answer_at)
    resume(world)
    assert world.run("a").status == effect
    assert world.run("a").effect == "completed", "late or not, it is known that it was done"
    assert world.called == ["a", "b"]


def test_a_workflow_timeout_that_came_first_does_not_lose_a_recorded_result() -> None:
    world = suspended(step("a", {"if": "true"}), a=None, top={"timeout": {"after": {"seconds": 5}}})
    world.pass_time(6)
    world.answer_to("a", done({"n": 1}))
    resume(world)
    assert (world.run("a").effect, world.undone, world.root.status) == ("completed", ["a"], "compensated")


def test_a_recorded_failure_may_be_retried_after_resume() -> None:
    retry = {"delay": {"seconds": 1}, "limit": {"attempt": {"count": 1}}}
    busy = Result("refused", fault=fault("communication", "later", status=429), retry_after_s=5.0)
    world = suspended(bare("a", retry=retry), a=None)
    world.answer_to("a", busy)
    resume(world)
    world.script["a"] = done()
    world.pass_time(4.9)
    assert world.called == ["a"]
    world.pass_time(0.1)
    assert (world.called, world.root.status) == (["a", "a"], "completed")


def test_suspend_and_resume_twice_change_nothing() -> None:
    world = suspended(WAIT)
    version = world.root.version
    world.do("o_root", c.Suspend)
    assert world.root.version == version
    resume(world)
    version = world.root.version
    resume(world)
    assert world.root.version == version


@pytest.mark.parametrize("command", [c.Suspend, c.Resume])
def test_after_the_end_there_is_nothing_to_suspend(command: type[c.Command]) -> None:
    world = Scripted([{"s": {"set": {"n": 1}}}])
    world.start_it()
    with pytest.raises(OrchestrationEndedError):
        world.do("o_root", command)


# Cancel while suspended -----------------------------------------------------------------------------------------------------


def test_cancel_lifts_the_suspension() -> None:
    """ "Cancel while suspended lifts the suspension." """
    world = suspended(step("a"), WAIT)
    world.cancel()
    assert (world.root.status, world.undone) == ("cancelled", ["a"])


@pytest.mark.parametrize(("answer", "undone"), [(done(), ["a"]), (doubt(), ["a"]), (refused(), [])])
def test_cancel_counts_the_results_that_were_recorded(answer: Result, undone: list[str]) -> None:
    """What was done while nobody decided was done all the same."""
    world = suspended(step("a"), bare("b"), a=None)
    world.answer_to("a", answer)
    world.cancel()
    assert (world.undone, world.root.status, "b" in world.called) == (undone, "cancelled", False)


def test_cancel_does_not_fire_what_became_due_meanwhile() -> None:
    world = suspended(step("a"), WAIT, bare("b"))
    world.pass_time(100)
    world.cancel()
    assert (world.called, world.root.status) == (["a", "undo_a"], "cancelled")


def test_cancel_with_a_recorded_pivot() -> None:
    """ "A cancel while it is in flight settles it first" - with the result that was recorded."""
    world = suspended(step("a"), bare("pay", pivot=True), bare("next"), pay=None)
    world.answer_to("pay", done())
    world.cancel()
    assert ("cancel.dropped" in world.topics(), world.root.status, world.called[-1]) == (True, "completed", "next")


# Suspend while compensating -------------------------------------------------------------------------------------------------


def rolling(**script: Any) -> Scripted:
    world = Scripted([step("a"), step("b"), bare("fail")], {"fail": refused(), **script})
    world.start_it()
    return world


def test_suspend_lets_the_undo_in_flight_end_and_starts_no_other() -> None:
    """ "Suspend lets the undo in flight end and starts no other." """
    world = rolling(undo_b=None)
    world.do("o_root", c.Suspend)
    world.answer_to("undo_b", done())
    world.pass_time(1000)
    assert (world.undone, world.root.status) == (["b"], "suspended")
    resume(world)
    assert (world.undone, world.root.status) == (["b", "a"], "compensated")


def test_a_retry_of_an_undo_waits_for_resume() -> None:
    world = rolling(undo_b=[doubt(), done()])
    world.do("o_root", c.Suspend)
    world.pass_time(100)
    assert world.undone == ["b"]
    resume(world)
    assert (world.undone, world.root.status) == (["b", "b", "a"], "compensated")


@pytest.mark.parametrize(
    ("action", "undone"), [("retry", ["b", "b", "a"]), ("skip", ["b", "a"]), ("complete", ["b", "a"])]
)
def test_an_operator_may_decide_on_an_undo_but_nothing_starts(action: str, undone: list[str]) -> None:
    world = rolling(undo_b=[refused(), done()])
    world.do("o_root", c.Suspend)
    world.resolve(action)
    assert (world.undone, world.root.status) == (["b"], "suspended")
    resume(world)
    assert (world.undone, world.root.status) == (undone, "compensated")


def test_suspend_while_settling() -> None:
    """The plan is made after resume, with what was recorded."""
    world = Scripted([step("a")], {"a": None})
    world.start_it()
    world.cancel()
    world.do("o_root", c.Suspend)
    world.answer_to("a", done())
    world.pass_time(1000)
    assert world.recorded(e.CompensationDecided) == []
    resume(world)
    assert (world.undone, world.root.status) == (["a"], "cancelled")


def test_settling_that_took_too_long_is_told_at_resume() -> None:
    world = Scripted([step("a")], {"a": None})
    world.start_it()
    world.cancel()
    world.do("o_root", c.Suspend)
    world.pass_time(1000)
    resume(world)
    assert (world.run("a").effect, world.undone, world.root.status) == ("uncertain", ["a"], "cancelled")


def test_suspend_in_a_partial_rollback() -> None:
    tried = {"t": {"try": [step("a"), step("b"), bare("fail")], "catch": {"compensate": True, "do": [bare("handler")]}}}
    world = Scripted([tried], {"fail": refused(), "undo_b": None})
    world.start_it()
    world.do("o_root", c.Suspend)
    world.answer_to("undo_b", done())
    assert world.undone == ["b"]
    resume(world)
    assert (world.undone, world.called[-1], world.root.status) == (["b", "a"], "handler", "completed")
