"""Rules of rollback: when a rollback starts, and that everything settles before anything is undone."""

from __future__ import annotations

from typing import Any

import pytest

from domain import commands as c
from domain import events as e
from domain.errors import fault
from tests.support.pure_world import Result, done, doubt, refused
from tests.support.scripted import Script, Scripted, bare, step


def branches(*lists: list[Any]) -> dict[str, Any]:
    return {"f": {"fork": {"branches": [{f"b{n}": {"do": tasks}} for n, tasks in enumerate(lists)]}}}


def test_an_uncaught_error_starts_a_rollback() -> None:
    """ "An error that no `catch` handles" and "`rollback.started {cause}` moves to `compensating`" """
    world = Scripted([step("a"), bare("b")], {"b": refused(), "undo_a": None})
    world.start_it()
    (started,) = world.recorded(e.RollbackStarted)
    assert (started.reason.kind, started.reason.task) == ("error", "/do/1/b")
    assert world.root.status == "compensating"


def test_the_workflows_timeout_starts_one_and_is_disarmed_by_any() -> None:
    """ "the workflow's timeout" and "disarms the workflow timeout" """
    world = Scripted([step("a"), {"w": {"wait": {"hours": 1}}}], {"undo_a": None}, timeout={"after": {"seconds": 5}})
    world.start_it()
    world.pass_time(5)
    assert world.recorded(e.RollbackStarted)[0].reason.kind == "timeout"
    world.pass_time(100)
    assert len(world.recorded(e.RollbackStarted)) == 1
    world.answer_to("undo_a", done())
    assert (world.root.status, world.root.next_due()) == ("compensated", None)


def test_a_cancel_starts_one() -> None:
    """ "or a cancel" """
    world = Scripted([step("a"), {"w": {"wait": {"hours": 1}}}])
    world.start_it()
    world.cancel(reason="no longer wanted", actor="ann")
    reason = world.recorded(e.RollbackStarted)[0].reason
    assert (reason.kind, reason.text, reason.actor) == ("cancel", "no longer wanted", "ann")
    assert (world.root.status, world.undone) == ("cancelled", ["a"])


def test_waits_end_and_retries_are_dropped() -> None:
    """ "waits end; tasks not sent and not claimed are dropped; no new attempt starts" """
    retry = {"delay": {"hours": 1}, "limit": {"attempt": {"count": 3}}}
    waits = [{"w": {"wait": {"hours": 1}}}]
    listens = [{"l": {"listen": {"to": {"one": {"with": {"type": "x"}}}}}}]
    busy = {"r": {"call": "r", "retry": retry, "compensate": {"call": "undo_r"}}}
    asked_to_wait = Result("refused", fault=fault("communication", "later", status=429))
    world = Scripted(
        [branches(waits, listens, [busy], [bare("next"), bare("never")])], {"r": asked_to_wait, "next": None}
    )
    world.start_it()
    world.cancel()
    assert {name: world.run(name).status for name in ("w", "l", "r")} == dict.fromkeys(("w", "l", "r"), "cancelled")
    world.answer_to("next", done())
    assert world.root.status == "cancelled"
    assert "never" not in world.called


def test_a_retry_after_a_doubt_is_dropped_and_stays_uncertain() -> None:
    """ "no new attempt starts" and "A run is uncertain if any attempt was" """
    retry = {"delay": {"hours": 1}, "limit": {"attempt": {"count": 3}}}
    world = Scripted([step("a", retry=retry)], {"a": doubt(), "undo_a": None})
    world.start_it()
    world.cancel()
    assert (world.run("a").effect, world.undone) == ("uncertain", ["a"])


@pytest.mark.parametrize(("answer", "undone"), [(done(), ["b", "a"]), (doubt(), ["b", "a"]), (refused(), ["a"])])
def test_requests_in_flight_are_awaited(answer: Result, undone: list[str]) -> None:
    """ "requests in flight are awaited until their own timeout" - nothing is undone before."""
    world = Scripted([step("a"), branches([step("b")], [bare("c")])], {"b": None, "c": refused()})
    world.start_it()
    world.cancel()
    assert world.undone == []
    world.answer_to("b", answer)
    assert world.undone == undone


def test_settling_ends_after_the_settle_timeout() -> None:
    """ "at most `RETRACE_SETTLE_TIMEOUT` (60 s), then uncertain" """
    world = Scripted([step("a")], {"a": None}, settle_timeout_s=60.0)
    world.start_it()
    world.cancel()
    world.pass_time(59.9)
    assert world.root.status == "compensating"
    assert world.undone == []
    world.pass_time(0.1)
    assert (world.run("a").effect, world.undone, world.root.status) == ("uncertain", ["a"], "cancelled")


def test_the_settle_timeout_of_a_branch_that_failed() -> None:
    """Settling ends everywhere: a fork whose branch failed does not wait forever for its siblings."""
    caught = {"t": {"try": [branches([step("a")], [bare("b")])], "catch": {}}}
    world = Scripted([caught], {"a": None, "b": refused()})
    world.start_it()
    world.pass_time(60)
    assert (world.run("a").effect, world.root.status) == ("uncertain", "completed")


def test_a_timeout_of_the_workflow_makes_its_attempts_uncertain_at_once() -> None:
    """ "a timeout of a scope or of the workflow makes its attempts uncertain at once" """
    world = Scripted([step("a")], {"a": None}, timeout={"after": {"seconds": 5}})
    world.start_it()
    world.pass_time(5)
    assert (world.run("a").effect, world.undone, world.root.status) == ("uncertain", ["a"], "compensated")


def test_a_timeout_of_a_scope_makes_its_attempts_uncertain_at_once() -> None:
    """ "a timeout of a scope ... makes its attempts uncertain at once" """
    world = Scripted([{"d": {"do": [step("a")], "timeout": {"after": {"seconds": 5}}}}], {"a": None})
    world.start_it()
    world.pass_time(5)
    assert (world.run("a").effect, world.undone, world.root.status) == ("uncertain", ["a"], "compensated")


def test_the_plan_is_decided_after_everything_has_settled() -> None:
    """ "Then `compensation.decided {reason, plan, left_behind}`; then the undos." """
    world = Scripted([step("a"), step("b"), bare("c")], {"c": refused()})
    world.start_it()
    topics = [t for t in world.topics() if t.startswith(("rollback", "compensation"))]
    undo = ["compensation.started", "compensation.completed"]
    assert topics == ["rollback.started", "compensation.decided", *undo, *undo]
    (decided,) = world.recorded(e.CompensationDecided)
    assert decided.reason.task == "/do/2/c"


def test_further_errors_are_recorded_and_the_first_is_the_cause() -> None:
    """ "Further errors meanwhile are recorded; the first is the cause." """
    world = Scripted([branches([bare("a")], [bare("b")])], {"a": None, "b": None})
    world.start_it()
    world.answer_to("b", refused(409))
    world.answer_to("a", refused(410))
    failed = [world.root.runs[event.run].name for event in world.recorded(e.TaskFailed)]
    assert [name for name in failed if name in ("a", "b")] == ["b", "a"]
    cause = world.root.cause
    assert cause is not None
    assert cause.fault is not None
    assert cause.fault.status == 409


def test_an_error_while_a_cancel_settles_leaves_the_cancel_the_cause() -> None:
    """ "the first is the cause" """
    world = Scripted([bare("a")], {"a": None})
    world.start_it()
    world.cancel()
    world.answer_to("a", refused())
    assert world.root.status == "cancelled"


def test_no_timer_of_settling_is_due_again_and_again() -> None:
    """An undo in progress is never given up, so the end of settling must not be due while it alone is awaited."""
    tried = {"t": {"try": [step("a"), bare("b")], "catch": {"compensate": True}}}
    world = Scripted([tried], {"b": refused(), "undo_a": None}, settle_timeout_s=10.0)
    world.start_it()
    world.cancel()
    world.pass_time(11)
    assert world.root.next_due() is None
    world.answer_to("undo_a", done())
    assert (world.root.status, world.undone) == ("cancelled", ["a"])


# Late results -------------------------------------------------------------------------------------------------------------


def uncertain_then_newer(compensate: dict[str, Any] | None = None) -> Scripted:
    """`a` was cut off and is uncertain; `last` completed after it; its undo is in flight, that of `a` comes next."""
    cut = {"t": {"try": [step("a", compensate)], "timeout": {"after": {"seconds": 1}}, "catch": {}}}
    outer = {"o": {"try": [cut], "catch": {}}}
    world = Scripted([outer, step("last"), bare("fail")], {"a": None, "fail": refused(), "undo_last": None})
    world.start_it()
    world.pass_time(1)
    assert world.undone == ["last"]
    assert world.run("a").effect == "uncertain"
    return world


def test_a_late_success_is_asked_for_its_condition() -> None:
    """ "it corrects the facts and the plan": now that it completed, `compensate.if` is asked."""
    world = uncertain_then_newer({"if": ".n > 1"})
    world.late("a", done({"n": 1}))
    assert world.run("a").effect == "completed"
    world.answer_to("undo_last", done())
    assert world.undone == ["last"]
    assert world.left_behind() == {"a": "its compensate.if is false"}


def test_a_late_success_gives_the_undo_its_output() -> None:
    """ "it corrects the facts": the undo sees what the run gave."""
    world = uncertain_then_newer({"with": {"out": "${ . }", "how": "${ $task.outcome }"}})
    world.late("a", done({"n": 1}))
    world.answer_to("undo_last", done())
    assert world.call_of("undo_a").arguments == {"out": {"n": 1}, "how": "completed"}


def test_a_late_condition_that_cannot_be_evaluated_is_an_incident() -> None:
    """ "an `if` that cannot be evaluated is an incident, never a skip" """
    world = uncertain_then_newer({"if": "error"})
    world.late("a", done({"n": 1}))
    world.answer_to("undo_last", done())
    assert world.incident().kind == "compensation_failed"
    assert world.undone == ["last"]


def test_a_late_refusal_drops_the_undo() -> None:
    """ "it corrects the facts and the plan" """
    world = uncertain_then_newer()
    world.late("a", refused())
    world.answer_to("undo_last", done())
    assert (world.undone, world.root.status, world.left_behind()) == (["last"], "compensated", {})


def test_an_undo_that_is_dropped_lets_nothing_pass() -> None:
    """ "nothing earlier in its sequence is undone until an operator" has decided about the one that is stuck"""
    answers: Script = {"b": None, "c": None, "undo_c": refused()}
    world = Scripted([step("a"), branches([step("b")], [step("c")])], answers)
    world.start_it()
    world.cancel()
    world.pass_time(61)
    world.late("b", refused())
    assert (world.undone, world.incident().kind) == (["c"], "compensation_failed")
    world.resolve("skip")
    assert (world.undone, world.root.status) == (["c", "a"], "cancelled")


def test_two_undos_in_a_row_that_are_dropped_let_nothing_pass() -> None:
    branch = [[step(name)] for name in ("b", "c", "d")]
    world = Scripted([step("a"), branches(*branch)], {**dict.fromkeys("bcd"), "undo_d": refused()})
    world.start_it()
    world.cancel()
    world.pass_time(61)
    for name in ("c", "b"):
        world.late(name, refused())
        assert world.undone == ["d"]
    world.resolve("complete")
    assert (world.undone, world.root.status) == (["d", "a"], "cancelled")


def test_a_late_success_adds_an_undo_in_its_place() -> None:
    """ "it corrects the ... plan": what is undone only after completion is undone now, in the order of the ends."""
    cut = {"t": {"try": [step("a", {"after": "completed"})], "timeout": {"after": {"seconds": 1}}, "catch": {}}}
    outer = {"o": {"try": [cut], "catch": {}}}
    world = Scripted([step("x"), outer, step("y"), bare("fail")], {"a": None, "fail": refused(), "undo_y": None})
    world.start_it()
    world.pass_time(1)
    assert set(world.left_behind()) == {"a"}
    world.late("a", done())
    assert world.left_behind() == {}
    world.answer_to("undo_y", done())
    assert (world.undone, world.root.status) == (["y", "a", "x"], "compensated")


def test_a_late_result_after_the_undo_started_only_tells() -> None:
    """ "afterwards it only tells, with an incident if the orchestration is not final" """
    world = Scripted([step("x"), step("a")], {"a": None, "undo_a": None}, timeout={"after": {"seconds": 1}})
    world.start_it()
    world.pass_time(1)
    assert world.undone == ["a"]
    world.late("a", done({"n": 1}))
    assert world.recorded(e.ResultLate)[0].output == {"n": 1}
    assert world.incident().kind == "late_result"
    assert world.recorded(e.PlanCorrected) == []
    world.late("a", done({"n": 1}))
    assert len(world.recorded(e.ResultLate)) == 1, "told once"
    world.answer_to("undo_a", done())
    assert world.root.status == "compensated", "the incident stops nothing"
    world.resolve("skip")
    assert (world.root.status, world.root.open_incidents()) == ("compensated", [])


def test_a_late_result_after_the_end_only_tells() -> None:
    """ "an incident if the orchestration is not final": here it is."""
    world = Scripted([step("a")], {"a": None}, timeout={"after": {"seconds": 1}})
    world.start_it()
    world.pass_time(1)
    version = world.root.version
    world.late("a", done())
    assert world.topics()[version:] == ["result.late"]
    assert world.root.status == "compensated"


def test_a_late_refusal_of_one_attempt_does_not_clear_the_doubt_of_another() -> None:
    """ "A run is uncertain if any attempt was and none completed; a later refusal does not clear it." """
    retry = {"delay": {"milliseconds": 100}, "limit": {"attempt": {"count": 1}}}
    inner = step("a", retry=retry)
    cut = {"t": {"try": [inner], "timeout": {"after": {"seconds": 1}}, "catch": {}}}
    world = Scripted(
        [{"o": {"try": [cut], "catch": {}}}, step("last"), bare("fail")],
        {"a": [doubt(), None], "fail": refused(), "undo_last": None},
    )
    world.start_it()
    world.pass_time(1)
    world.late("a", refused(), number=1)
    assert world.run("a").effect == "uncertain", "the first attempt may have taken effect"
    world.late("a", refused(), number=0)
    assert world.run("a").effect == "failed"
    world.answer_to("undo_last", done())
    assert world.undone == ["last"]


def test_a_late_success_of_an_earlier_attempt_counts() -> None:
    """ "A run is uncertain if any attempt was and none completed": one did."""
    retry = {"delay": {"seconds": 1}, "limit": {"attempt": {"count": 1}}}
    world = Scripted([step("a", {"after": "completed"}, retry=retry)], {"a": [doubt(), refused()]})
    world.start_it()
    world.late("a", done({"n": 1}))
    world.pass_time(1)
    assert (world.run("a").effect, world.undone) == ("completed", ["a"])


def test_results_of_terminated_orchestrations_are_recorded() -> None:
    """ "A result that comes after all that is recorded as late" """
    world = Scripted([step("a")], {"a": None})
    world.start_it()
    world.do("o_root", c.Terminate)
    assert world.run("a").status == "uncertain"
    world.late("a", done())
    assert (world.topics()[-1], world.root.status) == ("result.late", "terminated")
