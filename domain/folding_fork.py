"""What the start of a fork does to its state, once the events of its prefix are folded: the copy becomes its own.

Time stood still between the fork point and the start: what was to come in five minutes comes in five minutes. What was in
flight, or between two attempts, belongs to the original: its run is closed without a word about the world, and the token
comes to the task once more (`domain.forking`). Versions of the original lie before those of the fork, so that orders keep.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
from msgspec import UNSET

from domain import events as e
from domain.folding import close
from domain.lifecycle import fire_run
from domain.state import ROOT, Run, ScopeState, State


def take_over(s: State, ev: e.OrchestrationForked) -> None:
    """The state of the original at the fork becomes the first of the fork."""
    original, pause = s.id, ev.at - (s.updated_at or ev.at)
    waiting = {recorded.run for recorded in s.recorded}
    for name in ev.again:
        _let_go(s, s.runs[name], ev)
    for run in s.runs.values():
        if run.origin is None and (not run.open or run.id in waiting):
            run.origin = original
    _become(s, ev)
    _shift(s, s.version + 1, pause)
    s.version = 0


def _let_go(s: State, run: Run, ev: e.OrchestrationForked) -> None:
    """The token stays where it is, for the next run of the task."""
    fire_run["cancel"](run)
    close(s, run, ev)
    run.effect, run.doubts, run.undoable, run.undo.status = "none", [], None, "none"


def _become(s: State, ev: e.OrchestrationForked) -> None:
    s.forked_from = (ev.origin.id, ev.origin.version)
    s.id = s.root = ev.id
    s.parent, s.depth, s.undone_by_parent = None, 0, False
    s.business_key, s.tags, s.request = ev.business_key, dict(ev.tags), ev.request
    s.trace = ev.trace
    s.started_at, s.cancel_pending = ev.at, None
    if ev.input is not UNSET:
        s.input = ev.input
        s.scopes[ROOT].input = ev.input if ev.data is UNSET else ev.data


def _shift(s: State, versions: int, pause: timedelta) -> None:
    """Times move on by the pause, orders move before those to come; 0 means that there is none."""

    def later(at: datetime | None) -> datetime | None:
        return None if at is None else at + pause

    s.timeout_at, s.settle_at = later(s.timeout_at), later(s.settle_at)
    for stream in s.streams.values():
        stream.gaps = {text: at + pause for text, at in stream.gaps.items()}
    for scope in s.scopes.values():
        _shift_scope(scope, versions)
        scope.timeout_at, scope.settle_at = later(scope.timeout_at), later(scope.settle_at)
    for name in s.people:
        if (human := s.runs[name].human) is not None:
            human.due_at = later(human.due_at)
            moved = (msgspec.structs.replace(step, at=step.at + pause) for step in human.escalations)
            human.escalations = tuple(moved)
    for run in s.runs.values():
        run.began -= versions if run.began else 0
        run.order -= versions if run.order else 0
        run.due_at, run.timeout_at, run.settle_at = later(run.due_at), later(run.timeout_at), later(run.settle_at)
        run.first_at, run.more_at = later(run.first_at), later(run.more_at)


def _shift_scope(scope: ScopeState, versions: int) -> None:
    scope.order -= versions if scope.order else 0
