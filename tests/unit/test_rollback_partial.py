"""Rules of rollback: `catch.compensate`, a `try` that is entered again, forks and competitions."""

from __future__ import annotations

from typing import Any

import pytest

from domain import events as e
from tests.support.pure_world import done, doubt, refused
from tests.support.scripted import Scripted, bare, step

FAIL = bare("fail")


def tried(*tasks: Any, **catch: Any) -> dict[str, Any]:
    return {"t": {"try": list(tasks), "catch": catch}}


def retry(count: int, seconds: int = 1) -> dict[str, Any]:
    return {"delay": {"seconds": seconds}, "limit": {"attempt": {"count": count}}}


def started(*tasks: Any, top: dict[str, Any] | None = None, **script: Any) -> Scripted:
    world = Scripted([*tasks], {"fail": refused(), **script}, **(top or {}))
    world.start_it()
    return world


# catch.compensate -----------------------------------------------------------------------------------------------------------


def test_the_block_is_undone_before_catch_do() -> None:
    """ "`catch.compensate: true` undoes the `try` block ... before `catch.do`; the orchestration stays `running`." """
    world = started(step("z"), tried(step("a"), FAIL, compensate=True, do=[bare("handler")]), undo_a=None)
    assert (world.called[-1], world.root.status) == ("undo_a", "running")
    world.answer_to("undo_a", done())
    assert (world.called[-1], world.root.status) == ("handler", "completed")
    assert world.undone == ["a"], "what is outside of the block stays"


def test_the_block_is_undone_before_each_retry() -> None:
    """ "undoes the `try` block before each retry" """
    world = started(tried(step("a"), FAIL, compensate=True, retry=retry(2)))
    world.pass_time(10)
    assert world.called == ["a", "fail", "undo_a"] * 3
    assert world.root.status == "compensated", "no handler takes what the retries leave"


def test_the_retry_waits_for_the_undo() -> None:
    """ "before each retry": also when the undo takes longer than the delay."""
    world = started(tried(step("a"), FAIL, compensate=True, retry=retry(1)), undo_a=[None, done()])
    world.pass_time(100)
    assert world.called == ["a", "fail", "undo_a"]
    world.answer_to("undo_a", done())
    world.pass_time(1)
    assert world.called == ["a", "fail", "undo_a"] * 2


def test_an_undo_that_fails_blocks_that_scope_only() -> None:
    """ "an undo that fails blocks that scope only" """
    fork = {
        "f": {
            "fork": {"branches": [{"x": {"do": [tried(step("a"), FAIL, compensate=True)]}}, {"y": {"do": [bare("y")]}}]}
        }
    }
    world = started(fork, bare("last"), y=None, undo_a=[refused(), done()])
    assert world.incident().kind == "compensation_failed"
    world.answer_to("y", done())
    assert (world.run("y").status, world.root.status) == ("completed", "running")
    assert "last" not in world.called
    world.resolve("retry")
    assert (world.called[-1], world.root.status) == ("last", "completed")


def test_what_was_skipped_in_part_is_left_behind_in_the_whole() -> None:
    """ "`partial` (something was skipped or left behind)" """
    world = started(tried(step("a"), FAIL, compensate=True), bare("g"), undo_a=refused(), g=refused())
    world.resolve("skip")
    assert world.left_behind() == {"a": "an operator skipped its undo"}


def test_the_error_of_a_partial_rollback_is_the_one_that_was_caught() -> None:
    """ "`$error` (the cause ...)", "`$context` as it stood when rollback began" """
    undo = {"with": {"error": "${ $error.status }", "context": "${ $context }"}}
    world = started({"e": {"set": {"x": 1}, "export": {"as": "{n: 1}"}}}, tried(step("a", undo), FAIL, compensate=True))
    assert world.call_of("undo_a").arguments == {"error": 409, "context": {"n": 1}}


def test_a_full_rollback_lets_the_undo_in_progress_end_and_takes_over_the_rest() -> None:
    """ "A full rollback that starts meanwhile lets the undo in progress end and takes over the rest." """
    world = started(step("z"), tried(step("a"), step("b"), FAIL, compensate=True), undo_b=None)
    world.cancel()
    assert world.undone == ["b"]
    world.answer_to("undo_b", done())
    assert (world.undone, world.root.status) == (["b", "a", "z"], "cancelled")
    assert (world.planned("/do/1/t#1"), world.planned()) == (["b", "a"], ["a", "z"])


def test_a_full_rollback_tries_again_what_a_partial_one_could_not_undo() -> None:
    """ "takes over the rest": with its incident."""
    world = started(tried(step("a"), FAIL, compensate=True), undo_a=[refused(), done()])
    world.cancel()
    assert (world.undone, world.root.status) == (["a", "a"], "cancelled")
    assert [i.resolved for i in world.root.incidents] == ["rollback"]
    assert len({call.key for call in world.calls if call.function == "undo_a"}) == 1


def test_an_undo_that_fails_while_a_full_rollback_waits_for_it_is_tried_again_by_it() -> None:
    """ "lets the undo in progress end and takes over the rest" """
    world = started(tried(step("a"), FAIL, compensate=True), undo_a=[None, done()])
    world.cancel()
    world.answer_to("undo_a", refused())
    assert (world.undone, world.root.status) == (["a", "a"], "cancelled")
    assert world.root.open_incidents() == []


def test_a_partial_rollback_runs_to_its_end_when_the_scope_around_fails() -> None:
    """ "undoes the `try` block": what was promised is kept, also when a sibling branch fails meanwhile."""
    inner = {"t": {"try": [step("a"), step("b"), FAIL], "catch": {"compensate": True, "do": [bare("handler")]}}}
    fork = {"f": {"fork": {"branches": [{"x": {"do": [inner]}}, {"y": {"do": [bare("y")]}}]}}}
    world = started({"o": {"try": [fork], "catch": {}}}, undo_b=None, y=None)
    world.answer_to("y", refused())
    assert world.root.status == "running"
    world.answer_to("undo_b", done())
    assert (world.undone, world.root.status) == (["b", "a"], "completed")
    assert "handler" not in world.called


# A try that is entered again --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [refused(), doubt()])
def test_a_run_that_did_not_complete_goes_on_under_the_same_key(answer: Any) -> None:
    """ "a run that did not complete goes on as a further attempt of the same run, under the same key" """
    world = started(tried(step("a"), step("b"), retry=retry(1)), b=[answer, done()])
    world.pass_time(1)
    runs = [run for run in world.root.runs.values() if run.name == "b"]
    assert [(run.attempts, run.status) for run in runs] == [(2, "completed")]
    assert world.call_of("b", 0).key == world.call_of("b", 1).key


def test_a_completed_run_becomes_a_new_one_and_all_stay_registered() -> None:
    """ "a completed one becomes a new run; all completed runs stay registered" """
    world = started(tried(step("a"), step("b"), retry=retry(1)), FAIL, b=[refused(), done()])
    world.pass_time(1)
    assert world.call_of("a", 0).key != world.call_of("a", 1).key
    assert world.undone == ["b", "a", "a"]
    compensated = [call.compensates for call in world.calls if call.function == "undo_a"]
    assert compensated == [world.call_of("a", 1).key, world.call_of("a", 0).key]


def test_the_same_run_is_found_over_entries_that_did_not_reach_it() -> None:
    """ "goes on as a further attempt of the same run": `b` is not reached the second time."""
    world = started(tried(bare("a"), step("b"), retry=retry(2)), a=[done(), refused(), done()], b=[doubt(), done()])
    world.pass_time(10)
    assert world.call_of("b", 0).key == world.call_of("b", 1).key
    assert world.run("b").number == 1


def test_an_undone_run_becomes_a_new_one() -> None:
    """An uncertain run that was undone is not the same effect any more: a new run, a new key."""
    world = started(tried(step("b"), compensate=True, retry=retry(1)), b=[doubt(), done()])
    world.pass_time(1)
    assert world.called == ["b", "undo_b", "b"]
    assert world.call_of("b", 0).key != world.call_of("b", 1).key


@pytest.mark.parametrize(
    "composite",
    [
        {"do": [step("a"), step("b")]},
        {"for": {"in": "[1]"}, "do": [step("a"), step("b")]},
        {"fork": {"branches": [{"x": {"do": [step("a"), step("b")]}}]}},
        {"fork": {"branches": [{"x": {"do": [step("a"), step("b")]}}], "compete": True}},
        {"try": [step("a"), step("b")], "catch": {"errors": {"with": {"status": 499}}}},
    ],
    ids=["do", "for", "fork", "compete", "try"],
)
def test_composites_inside_are_entered_again(composite: dict[str, Any]) -> None:
    """ "Retry of a `try` re-enters it", through everything inside, however often."""
    world = started(tried({"c": composite}, retry=retry(2)), FAIL, b=[refused(), doubt(), done()])
    world.pass_time(10)
    assert [world.call_of("b", n).number for n in range(3)] == [1, 2, 3]
    assert len({call.key for call in world.calls if call.function == "b"}) == 1
    assert [run.number for run in world.root.runs.values() if run.name == "a"] == [1, 2, 3]
    assert world.undone == ["b", "a", "a", "a"]


def test_a_competition_that_is_entered_again_can_be_won_again() -> None:
    """A race whose output could not be made is run once more."""
    race = {
        "r": {
            "fork": {"compete": True, "branches": [{"x": step("x")["x"]}, {"y": step("y")["y"]}]},
            "output": {"as": "error"},
        }
    }
    world = started(tried(race, retry=retry(1)), y=None)
    world.pass_time(10)
    assert [event.scope for event in world.recorded(e.ForkWon)] == ["/do/0/t/try/0/r#1.0.1", "/do/0/t/try/0/r#1.0.3"]
    assert (world.root.status, world.run("r").number) == ("compensated", 1)


# Fork ---------------------------------------------------------------------------------------------------------------------------


def race(**branches: list[Any]) -> dict[str, Any]:
    return {"r": {"fork": {"compete": True, "branches": [{name: {"do": tasks}} for name, tasks in branches.items()]}}}


def test_an_uncaught_error_in_a_branch_settles_its_siblings_then_fails_the_fork() -> None:
    """ "An uncaught error in a branch settles its siblings, then fails the fork." """
    fork = {"f": {"fork": {"branches": [{"x": {"do": [step("x1"), bare("x2")]}}, {"y": {"do": [FAIL]}}]}}}
    world = started({"t": {"try": [fork], "catch": {"do": [bare("handler")]}}}, x1=None)
    assert "handler" not in world.called
    world.answer_to("x1", done())
    assert world.called[-1] == "handler"
    assert "x2" not in world.called


def test_the_losers_are_cut_at_once_undone_and_then_the_fork_completes() -> None:
    """ "the losers are cut at once (their attempts become uncertain), undone, and then the fork completes" """
    world = started(race(x=[bare("x")], y=[step("y1"), step("y2")]), bare("last"), x=None, y2=None, undo_y2=None)
    world.answer_to("x", done())
    assert world.run("y2").effect == "uncertain"
    assert world.undone == ["y2"]
    assert "last" not in world.called
    world.answer_to("undo_y2", done())
    assert world.undone == ["y2", "y1"]
    assert (world.called[-1], world.root.status) == ("last", "completed")


def test_an_undo_of_a_loser_that_fails_blocks_the_fork() -> None:
    """ "undone, and then the fork completes" """
    world = started(race(x=[bare("x")], y=[step("y")]), bare("last"), x=None, y=None, undo_y=refused())
    world.answer_to("x", done())
    assert "last" not in world.called
    world.resolve("complete")
    assert world.root.status == "completed"


def test_if_all_fail_the_fork_fails_with_the_last_error() -> None:
    """ "if all fail, the fork fails with the last error" """
    world = started(race(x=[bare("x")], y=[bare("y")]), x=None, y=None)
    world.answer_to("y", refused(410))
    assert world.root.status == "running"
    world.answer_to("x", refused(411))
    cause = world.root.cause
    assert cause is not None
    assert cause.fault is not None
    assert cause.fault.status == 411


def test_a_timeout_of_the_race_while_losers_are_undone() -> None:
    """The undos end, then the fork has failed after all."""
    slow = race(x=[bare("x")], y=[step("y")])
    slow["r"]["timeout"] = {"after": {"seconds": 5}}
    world = started(slow, x=None, y=None, undo_y=None)
    world.answer_to("x", done())
    world.pass_time(5)
    assert world.root.status == "running"
    world.answer_to("undo_y", done())
    assert (world.root.status, world.undone) == ("faulted", ["y"])


@pytest.mark.parametrize(("answer", "effect"), [(done(), "completed"), (doubt(), "uncertain"), (refused(), "failed")])
def test_then_end_in_a_branch_completes_the_orchestration(answer: Any, effect: str) -> None:
    """ "`then: end` in a branch ends the orchestration as `completed`; siblings in flight are awaited and kept." """
    ending = {"e": {"set": {"n": 1}, "then": "end"}}
    fork = {"f": {"fork": {"branches": [{"x": {"do": [step("x"), bare("next")]}}, {"y": {"do": [bare("y"), ending]}}]}}}
    world = started(fork, bare("last"), x=None, y=None)
    world.answer_to("y", done())
    assert world.root.status == "running"
    world.answer_to("x", answer)
    assert (world.root.status, world.root.output, world.run("x").effect) == ("completed", {"n": 1}, effect)
    assert world.undone == []
    assert not {"next", "last"} & set(world.called)
