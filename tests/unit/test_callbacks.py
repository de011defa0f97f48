"""Callbacks: what a task that was only acknowledged waits for, what ends the wait, and what comes too late."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.cli.replay_words import asked, told
from adapters.expressions.inline import InlineJq
from adapters.expressions.schemas import JsonSchemas
from application.rehearsal_report import as_json
from application.rehearsing import Request, rehearse
from application.status import represent
from application.walking import Walk
from domain import commands as c
from domain import events as e
from domain.errors import NotFoundError, StaleTokenError
from tests.support.forks import fork
from tests.support.pure_world import done, doubt, plan_of, refused, unusable
from tests.support.scripted import Scripted, bare, step
from tests.support.what_if import Change, what_if
from tests.support.what_if import told as history_of

WITH: dict[str, Any] = {"with": {"to": "${ $callback.url }", "n": 1}, "callback": True}
FAULT = {"type": "https://test.invalid/no", "status": 409}
Outcome = Literal["completed", "refused", "uncertain"]


def called(*more: Any, top: dict[str, Any] | None = None, script: Any = None, **members: Any) -> Scripted:
    """A task ``a`` whose callback is awaited (unless the script says otherwise), and others."""
    world = Scripted([step("a", **(WITH | members)), *more], script or {}, **(top or {}))
    world.start_it()
    return world


def call_back(world: Scripted, output: Any = None, outcome: Outcome = "completed", **members: Any) -> list[e.Event]:
    posted = {"outcome": outcome, "output": output, **({} if outcome == "completed" else {"error": FAULT})} | members
    run = world.run("a").id
    return world.do("o_root", c.ReportCallback, run=run, digest=repr(sorted(posted.items())).encode(), **posted)


def test_the_answer_of_the_call_only_acknowledges() -> None:
    world = called(bare("b"))
    assert (world.run("a").status, world.called, world.topics()[-1]) == ("waiting", ["a"], "callback.awaited")
    (waits,) = represent(world.root)["waiting_for"]
    assert (waits["kind"], waits["task"], waits["due_at"]) == ("callback", "a", None)
    call_back(world, {"n": 7})
    assert (world.called, world.root.status) == (["a", "b"], "completed")
    assert world.run("a").output == {"n": 7}


def test_an_acknowledgement_that_cannot_be_read_acknowledges_too() -> None:
    assert called(script={"a": unusable("<html>")}).run("a").status == "waiting"


def test_a_call_that_is_refused_fails_the_task() -> None:
    assert called(script={"a": refused()}).root.status == "faulted"


def test_what_is_filled_at_the_sending_is_not_recorded() -> None:
    (sent,) = called().recorded(e.AttemptStarted)
    assert sent.arguments == {"to": None, "n": 1}
    assert [(path, program) for path, program, _, _ in sent.deferred] == [(("to",), "$callback.url")]


def test_a_callback_before_the_answer_of_the_call_is_not_lost() -> None:
    world = called(bare("b"), script={"a": None})
    call_back(world, 5)
    assert (world.called, world.root.status) == (["a", "b"], "completed")
    world.late("a", done("received"))
    assert (world.topics()[-1], world.run("a").output) == ("orchestration.completed", 5)


@pytest.mark.parametrize("answer", [done(), doubt(), refused()])
def test_the_answer_of_the_call_is_ignored_after_its_callback(answer: Any) -> None:
    world = called(bare("b"), script={"a": None, "b": None})
    call_back(world, 5)
    world.late("a", answer)
    assert (world.run("a").status, world.run("a").effect, world.root.status) == ("completed", "completed", "running")


def test_the_same_again_changes_nothing_and_anything_else_is_refused() -> None:
    world = called(bare("b"), script={"b": None})
    call_back(world, 1)
    assert call_back(world, 1) == []
    with pytest.raises(StaleTokenError):
        call_back(world, 2)


def test_the_same_again_after_the_end_of_the_orchestration_changes_nothing() -> None:
    world = called()
    call_back(world, 1)
    assert world.root.final
    assert call_back(world, 1) == []


def test_what_waits_for_no_callback_has_none() -> None:
    world = called(bare("b"), script={"b": None})
    with pytest.raises(NotFoundError):
        world.do("o_root", c.ReportCallback, run=world.run("a").id + "0", digest=b"", outcome="completed")
    call_back(world)
    with pytest.raises(NotFoundError):
        world.do("o_root", c.ReportCallback, run=world.run("b").id, digest=b"", outcome="completed")


def test_a_definite_failure_that_is_reported_undoes_nothing_of_it() -> None:
    world = called()
    call_back(world, outcome="refused")
    assert (world.root.status, world.run("a").effect, world.undone) == ("faulted", "failed", [])
    assert world.root.fault is not None
    assert world.root.fault.type == FAULT["type"]


def test_an_uncertain_failure_that_is_reported_is_undone() -> None:
    world = called()
    call_back(world, outcome="uncertain")
    assert (world.root.status, world.undone) == ("compensated", ["a"])


# Time -------------------------------------------------------------------------------------------------------------------


def test_the_timeout_bounds_the_wait_from_the_sending_on() -> None:
    world = called(timeout={"after": {"hours": 2}}, script={"a": None})
    (sent,) = world.recorded(e.AttemptStarted)
    assert sent.timeout_s == 30.0, "an acknowledgement has the usual time"
    world.pass_time(20)
    world.answer_to("a", done())
    world.pass_time(7179)
    assert world.run("a").status == "waiting"
    world.pass_time(1)
    assert (world.root.status, world.undone) == ("compensated", ["a"])
    assert world.root.fault is not None
    assert world.root.fault.type.endswith("/timeout")


def test_without_a_timeout_it_waits_for_ever() -> None:
    world = called()
    world.pass_time(10_000_000)
    assert world.run("a").status == "waiting"


def test_a_timeout_can_be_caught() -> None:
    task = bare("a", **WITH, timeout={"after": {"seconds": 60}})
    handled = {"errors": {"with": {"status": 408}}, "do": [{"z": {"set": {"v": "late"}}}]}
    world = Scripted([{"t": {"try": [task], "catch": handled}}])
    world.start_it()
    world.pass_time(60)
    assert (world.root.status, world.root.output) == ("completed", {"v": "late"})


def test_callback_and_deadline_in_the_same_instant_have_one_outcome() -> None:
    first = called(timeout={"after": {"seconds": 60}})
    due = first.root.next_due()
    assert due is not None
    first.now = due
    call_back(first, 1)
    first.pass_time(0)
    assert first.root.status == "completed"
    second = called(timeout={"after": {"seconds": 60}})
    second.pass_time(60)
    call_back(second, 1)  # recorded as late; whoever asks is told so
    assert (second.root.status, second.topics()[-1]) == ("compensated", "result.late")


RETRY = {"delay": {"seconds": 5}, "limit": {"attempt": {"count": 2}}}


def test_a_call_that_was_tried_again_is_called_back_at_the_same_address() -> None:
    world = called(retry=RETRY, script={"a": [doubt(), done()]})
    assert world.run("a").status == "retrying"
    world.pass_time(5)
    assert (world.run("a").status, world.run("a").attempts) == ("waiting", 2)
    call_back(world, 1)
    assert (world.root.status, world.run("a").output) == ("completed", 1)


def test_a_callback_while_the_next_attempt_is_delayed_makes_that_one_needless() -> None:
    world = called(retry=RETRY, script={"a": [doubt(), done()]})
    call_back(world, 1)
    world.pass_time(60)
    assert (world.root.status, world.called) == ("completed", ["a"])


def test_a_failure_of_an_attempt_that_was_given_up_is_refused() -> None:
    world = called(retry=RETRY, script={"a": [doubt(), done()]})
    with pytest.raises(StaleTokenError):
        call_back(world, outcome="refused")


def test_each_attempt_waits_as_long_as_the_first() -> None:
    world = called(retry=RETRY, timeout={"after": {"seconds": 60}})
    world.pass_time(60)
    assert world.run("a").status == "retrying"
    world.pass_time(5 + 59)
    assert (world.run("a").status, world.run("a").attempts) == ("waiting", 2)
    world.pass_time(1)
    assert world.run("a").status == "retrying"


@pytest.mark.parametrize(("retryable", "attempts"), [(True, 2), (False, 1)])
def test_who_fails_may_say_that_another_attempt_helps(retryable: bool, attempts: int) -> None:
    world = called(retry=RETRY)
    call_back(world, outcome="refused", retryable=retryable)
    assert call_back(world, outcome="refused", retryable=retryable) == []
    world.pass_time(5)
    assert len(world.recorded(e.AttemptStarted)) == attempts


def test_the_next_attempt_may_be_called_back_with_the_same_failure() -> None:
    world = called(retry=RETRY)
    call_back(world, outcome="refused", retryable=True)
    world.pass_time(5)
    call_back(world, outcome="refused", retryable=True)
    world.pass_time(5)
    assert len(world.recorded(e.AttemptStarted)) == 3


# Rollback ---------------------------------------------------------------------------------------------------------------


def test_a_cancel_makes_it_uncertain_at_once_and_undoes_it() -> None:
    world = called(script={"undo_a": None})
    world.cancel()
    assert (world.run("a").effect, world.undone) == ("uncertain", ["a"])


def test_what_comes_before_the_undo_has_begun_corrects_the_facts() -> None:
    failing = Scripted([{"f": {"fork": {"branches": [step("a", **WITH), step("x")]}}}], {"x": None, "undo_x": None})
    failing.start_it()
    failing.cancel()
    assert failing.run("a").effect == "uncertain"
    call_back(failing, outcome="refused")
    failing.answer_to("x", done())
    failing.answer_to("undo_x", done())
    assert (failing.undone, failing.run("a").effect) == (["x"], "failed")


def test_what_comes_after_the_undo_only_tells() -> None:
    world = called()
    world.cancel()
    call_back(world, 5)
    assert [event.topic for event in world.history["o_root"]].count("result.late") == 1
    with pytest.raises(StaleTokenError):
        call_back(world, 5)
    with pytest.raises(StaleTokenError):
        call_back(world, outcome="uncertain")


def test_an_answer_of_the_call_that_comes_late_says_nothing_of_the_effect() -> None:
    world = called(script={"a": None}, top={"settle_timeout_s": 1.0})
    world.cancel()
    world.pass_time(2)
    world.late("a", done())
    assert world.recorded(e.ResultLate) == []


def test_an_acknowledgement_while_everything_settles_is_not_waited_on() -> None:
    world = called(script={"a": None})
    world.cancel()
    world.answer_to("a", done())
    assert (world.root.status, world.undone) == ("cancelled", ["a"])


def test_the_loser_of_a_race_is_undone() -> None:
    branches = {"branches": [step("a", **WITH), bare("b")], "compete": True}
    world = Scripted([{"f": {"fork": branches}}], {"b": None})
    world.start_it()
    world.answer_to("b", done(1))
    assert (world.undone, world.root.status) == (["a"], "completed")


def test_a_terminated_orchestration_keeps_the_doubt() -> None:
    world = called()
    world.do("o_root", c.Terminate)
    assert world.run("a").effect == "uncertain"
    call_back(world, 5)
    assert world.topics()[-1] == "result.late"


# Pivots, suspension, undos ----------------------------------------------------------------------------------------------


def test_a_pivot_that_waits_is_decided_by_an_operator_when_cancelled() -> None:
    world = Scripted([bare("a", **WITH, pivot=True)])
    world.start_it()
    world.cancel()
    assert world.incident().kind == "uncertain_pivot"
    world.resolve("fail")
    assert world.root.status == "cancelled"


def test_a_late_callback_of_a_pivot_answers_for_the_operator() -> None:
    world = Scripted([bare("a", **WITH, pivot=True), bare("b")])
    world.start_it()
    world.cancel()
    events = call_back(world, 5)
    assert (events[0].topic, world.root.status) == ("callback.received", "completed")
    assert call_back(world, 5) == []


def test_while_suspended_it_is_recorded() -> None:
    world = called(bare("b"))
    world.do("o_root", c.Suspend)
    call_back(world, {"n": 1})
    assert (world.topics()[-1], world.called) == ("result.recorded", ["a"])
    assert call_back(world, {"n": 1}) == []
    world.do("o_root", c.Resume)
    assert (world.root.status, world.run("a").output) == ("completed", {"n": 1})


def test_acknowledgement_and_callback_while_suspended() -> None:
    for callback_first in (False, True):
        world = called(script={"a": None})
        world.do("o_root", c.Suspend)
        if callback_first:
            call_back(world, 1)
        world.answer_to("a", done())
        if not callback_first:
            call_back(world, 1)
        world.do("o_root", c.Resume)
        assert (world.root.status, world.run("a").output) == ("completed", 1)


def test_terminated_while_an_acknowledgement_was_recorded() -> None:
    world = called(script={"a": None})
    world.do("o_root", c.Suspend)
    world.answer_to("a", done())
    world.do("o_root", c.Terminate)
    assert world.run("a").effect == "uncertain"


def test_an_undo_may_be_called_back() -> None:
    undo = {"call": "undo_a", **WITH}
    world = Scripted([{"a": {"call": "a", "compensate": undo}}, bare("b")], {"b": refused()})
    world.start_it()
    assert world.root.status == "compensating"
    run = next(run for run in world.root.runs.values() if world.root.undoing(run.scope))
    world.do("o_root", c.ReportCallback, run=run.id, digest=b"1", outcome="completed")
    assert world.root.status == "compensated"


def test_a_fork_asks_anew_and_waits_for_a_callback_of_its_own() -> None:
    """The participant of the original knows nothing of the fork; what it posts is the original's."""
    world = called(bare("b"))
    fork(world, world.root.version)
    assert ([call.orchestration for call in world.calls], world.run("a", "o_fork").status) == (
        ["o_root", "o_fork"],
        "waiting",
    )
    call_back(world, 1)
    assert (world.root.status, world.states["o_fork"].status) == ("completed", "running")
    run = world.run("a", "o_fork").id
    world.do("o_fork", c.ReportCallback, run=run, digest=b"2", outcome="completed", output=2)
    assert world.states["o_fork"].status == "completed"


def test_a_rehearsal_calls_back() -> None:
    plan = plan_of([step("a", **WITH), bare("b")])
    report = as_json(asyncio.run(rehearse(Request(plan=plan), InlineJq(), JsonSchemas())))
    told = {each["title"]: each["status"] for each in (report["happy_path"], *report["scenarios"])}
    assert told["everything succeeds"] == "completed"
    assert told["a is refused"] == "faulted"
    assert told["a is uncertain"] == told["b is refused"] == "compensated"


def test_what_if_it_had_been_called_back_with_something_else() -> None:
    tasks = [bare("a", **WITH), bare("b", **{"with": {"n": "${ .n }"}})]
    world = Scripted(tasks)
    world.start_it()
    world.pass_time(60)
    call_back(world, {"n": 1})
    assert what_if(world)["outcome"] == "same"
    other = Change(task="a", outcome="completed", output={"n": 2})
    found = what_if(world, changes=(other,), assume={"b": None})
    assert (found["outcome"], found["calls"][-1]["arguments"]) == ("other", {"n": 2})
    refusal = what_if(world, changes=(Change(task="a", outcome="refused"),))
    assert refusal["status"] == "faulted"


MOVES = st.lists(
    st.sampled_from(["ack", "doubt", "refuse", "done", "failed", "unknown", "cancel", "suspend", "resume", "time"]),
    max_size=9,
)


@given(MOVES)
@settings(max_examples=150, deadline=None)
def test_in_whatever_order_it_happens(moves: list[str]) -> None:
    """Every decision is made again by the world; an outcome that was accepted is never another one afterwards."""
    world = called(bare("b"), retry=RETRY, timeout={"after": {"seconds": 9}}, script={"a": None})
    accepted = False
    for move in moves:
        flying = [attempt for attempt in world.flying if attempt.function == "a"]
        answers = {"ack": done(), "doubt": doubt(), "refuse": refused()}
        posts: dict[str, Outcome] = {"done": "completed", "failed": "refused", "unknown": "uncertain"}
        try:
            if move in answers and flying:
                world.reply(flying[0], answers[move])
            elif move in posts:
                events = call_back(world, 1, posts[move])
                accepted = accepted or (move == "done" and bool(events) and events[0].topic == "callback.received")
            elif move == "time":
                world.pass_time(6)
            elif move in ("cancel", "suspend", "resume") and not world.root.final:
                commands: dict[str, type[c.Command]] = {"cancel": c.Cancel, "suspend": c.Suspend, "resume": c.Resume}
                world.do("o_root", commands[move])
        except StaleTokenError:
            continue
    if world.root.status == "suspended":
        world.do("o_root", c.Resume)
    if accepted:
        assert world.run("a").effect == "completed"


def test_a_walk_tells_of_the_callback_and_shows_the_address_as_it_was_written() -> None:
    world = called()
    call_back(world, {"n": 7})
    walk = Walk(world.plan_of["o_root"], history_of(world))
    assert asked(walk.moments[-1].command) == "a was called back: it is done"
    lines = [told(event)[1] for moment in walk.moments for event in moment.events]
    assert any('"to": "${ $callback.url }"' in line for line in lines), lines
    failed = called()
    call_back(failed, outcome="refused")
    words = asked(Walk(failed.plan_of["o_root"], history_of(failed)).moments[-1].command)
    assert words.startswith("a was called back: it failed: 409")
