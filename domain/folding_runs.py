"""What the events of a run do to the state: a token reaches a task, attempts are made, the run ends well or badly.

What happened to the world (`Run.effect`) and where the flow stands (`Run.status`) change apart from each other.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import UNSET

from domain import events as e
from domain.folding import Handler, close, fly, move, watch, weaken
from domain.lifecycle import IllegalTransitionError, fire_run
from domain.state import Run, State

_ASKED_BEFORE: Final = 20


def _new_run(s: State, ev: e.TaskScheduled | e.TaskSkipped) -> Run:
    pointer, _, number = ev.run.rpartition("#")
    run = Run(ev.run, pointer, int(number), ev.name, ev.kind, ev.scope, after=ev.after, started_at=ev.at)
    s.runs[ev.run] = run
    if run.number > s.counts.get(pointer, 0):
        s.counts[pointer] = run.number
    return run


def _scheduled(s: State, ev: e.TaskScheduled) -> None:
    name = ev.run
    known = s.runs.get(name)
    run = known or _new_run(s, ev)
    fire_run["schedule"](run)
    if known:
        _forget_the_last_time(known)
        known.scope, known.after = ev.scope, ev.after
    scope = s.scopes[ev.scope]
    run.input = s.raw_input(run) if ev.input is UNSET else ev.input
    run.timeout_at, run.effectful, run.undoable, run.pivot = ev.timeout_at, ev.effectful, ev.undoable, ev.pivot
    run.undo.status = "armed" if ev.undoable else "none"
    scope.runs[run.pointer] = name
    s.open[name] = None
    run.began = s.version + 1
    if ev.timeout_at is not None or ev.pivot:
        watch(s, run)


def _forget_the_last_time(run: Run) -> None:
    if run.human is not None:
        run.asked_before = [*run.asked_before[1 - _ASKED_BEFORE :], run.human]
    run.fault = run.failing = run.winner = run.due_at = run.ended_at = run.first_at = run.listening = run.human = None
    run.caught, run.base, run.held = 0, run.attempts, False
    if run.kind in ("for", "fork"):  # not every part of it need be entered this time
        run.earlier, run.scopes = {**run.earlier, **run.scopes}, {}
        run.done = run.lost = run.closed = 0


def _skipped(s: State, ev: e.TaskSkipped) -> None:
    run = _new_run(s, ev)
    fire_run["skip"](run)
    run.input = run.output = run.data = s.raw_input(run)
    run.ended_at, run.order = ev.at, s.version + 1
    scope = s.scopes[ev.scope]
    scope.runs[run.pointer] = run.id
    move(scope, ev.to)


def _attempt_started(s: State, ev: e.AttemptStarted) -> None:
    run = s.runs[ev.run]
    fire_run["start"](run)
    run.attempts, run.key, run.request = ev.number, ev.key, ev
    run.first_at = run.first_at or ev.at
    run.due_at = run.called = None
    run.child = ev.child
    fly(s, run, flying=True)
    if ev.compensates is not None and (undone := s.undoing(run.scope)):
        s.runs[undone].undo.attempts += 1


def _callback_awaited(s: State, ev: e.CallbackAwaited) -> None:
    run = s.runs[ev.run]
    fire_run["acknowledge"](run)
    run.timeout_at = run.request.until if run.request is not None else None
    fly(s, run, flying=False)
    watch(s, run)


def _callback_received(s: State, ev: e.CallbackReceived) -> None:
    s.runs[ev.run].called = ev.digest


def _attempt_failed(s: State, ev: e.AttemptFailed) -> None:
    run = s.runs[ev.run]
    if run.awaits_callback:
        run.timeout_at = None  # the next attempt has another
    fire_run["retry"](run)
    weaken(run, ev.effect)
    if ev.effect == "uncertain":
        run.doubts = [*run.doubts, ev.number]
    run.fault, run.due_at = ev.fault, ev.retry_at
    watch(s, run)
    fly(s, run, flying=False)


def _task_completed(s: State, ev: e.TaskCompleted) -> None:
    run = s.runs[ev.run]
    if not (run.open or run.held):
        raise IllegalTransitionError(f"{ev.run} has ended as {run.status} and is not held")
    fire_run["complete"](run)
    run.output = ev.output
    run.data = ev.output if ev.data is UNSET else ev.data
    run.fault = None
    run.held = False
    if not ev.passed_over:
        run.effect, run.doubts = "completed", []
    if ev.context is not UNSET:
        s.context = ev.context
    close(s, run, ev)
    move(s.scopes[run.scope], ev.to)
    if run.pivot and run.effect == "completed":
        s.pivot_passed = run.id


def _ended_badly(trigger: str) -> Handler:
    def handler(s: State, ev: Any) -> None:
        run = s.runs[ev.run]
        had_token, was_held = run.open or run.held, run.held
        unanswered = run.flying or run.awaits_callback
        fire_run[trigger](run)
        run.held = trigger != "cancel" and ev.held
        if trigger == "fail":
            weaken(run, ev.effect)
            if was_held:
                run.effect, run.doubts = ev.effect, []  # an operator knows
            if ev.effect == "completed":
                run.output, run.data, run.doubts = ev.output, ev.output, []
            if run.pivot and run.effect == "completed":
                s.pivot_passed = run.id
        elif trigger == "doubt":
            if unanswered:
                run.doubts = [*run.doubts, run.attempts]
            weaken(run, "uncertain")
        if trigger != "cancel":
            run.fault = ev.fault
        close(s, run, ev)
        if had_token and not run.held:
            s.scopes[run.scope].tokens -= 1

    return handler


def _failing(s: State, ev: e.TaskFailing) -> None:
    run = s.runs[ev.run]
    run.failing, run.settle_at = ev.fault, ev.settle_at
    s.failing["r:" + run.id] = None


def _token_joined(s: State, ev: e.TokenJoined) -> None:
    run = s.runs[ev.run]
    run.joined += 1
    s.scopes[run.scope].tokens -= 1


def _loop_started(s: State, ev: e.LoopStarted) -> None:
    run = s.runs[ev.run]
    run.items, run.parallel = ev.items, ev.parallel


def _wait_started(s: State, ev: e.WaitStarted) -> None:
    run = s.runs[ev.run]
    fire_run["wait"](run)
    run.due_at = ev.due_at
    watch(s, run)


HANDLERS: dict[type[e.Event], Handler] = {
    e.TaskScheduled: _scheduled,
    e.TaskSkipped: _skipped,
    e.AttemptStarted: _attempt_started,
    e.CallbackAwaited: _callback_awaited,
    e.CallbackReceived: _callback_received,
    e.AttemptFailed: _attempt_failed,
    e.TaskCompleted: _task_completed,
    e.TaskFailed: _ended_badly("fail"),
    e.TaskUncertain: _ended_badly("doubt"),
    e.TaskCancelled: _ended_badly("cancel"),
    e.TaskFailing: _failing,
    e.TokenJoined: _token_joined,
    e.LoopStarted: _loop_started,
    e.WaitStarted: _wait_started,
}
