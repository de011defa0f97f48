"""What several kinds of events do to a state. Only `domain.evolve` and its ``folding_*`` modules use this: nobody else
writes a `State`.

`flights` of the state lists what `flying` of its runs says, and a run that closes is no longer open, nor watched, nor
awaited by anything that settles. Every change of these goes through here; whoever gives a run a timer has it watched.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from domain import events as e
from domain.state import Run, ScopeState, State

Handler = Callable[[State, Any], None]
"""Folds one event; raises IllegalTransitionError, before it has changed anything, when the life cycle forbids it."""


_RANK: dict[e.Effect, int] = {"none": 0, "failed": 1, "uncertain": 2, "completed": 3}


def move(scope: ScopeState, to: tuple[str, ...]) -> None:
    scope.tokens -= 1
    for target in to:
        if target.startswith("/"):
            scope.tokens += 1


def fly(s: State, run: Run, *, flying: bool) -> None:
    if run.flying is not flying:
        run.flying = flying
        if flying:
            s.flights[run.id] = None
        else:
            del s.flights[run.id]
        if run.child is None:
            s.calls += 1 if flying else -1


def watch(s: State, run: Run) -> None:
    """It has a timer, listens, or is a pivot from now on."""
    if run.open:
        s.watched[run.id] = None


def close(s: State, run: Run, ev: e.Event) -> None:
    """The run's token leaves it."""
    s.open.pop(run.id, None)
    s.watched.pop(run.id, None)
    if s.failing:
        s.failing.pop("r:" + run.id, None)
    fly(s, run, flying=False)
    run.due_at = run.timeout_at = run.settle_at = run.more_at = None
    run.ended_at, run.order = ev.at, s.version + 1


def finish(s: State, rollback: str) -> None:
    """The rollback has ended."""
    s.rollbacks[rollback].finished = True
    s.going.pop(rollback, None)


def weaken(run: Run, effect: e.Effect) -> None:
    """Doubt is not cleared by a later refusal, and what was done stays done."""
    if _RANK[effect] > _RANK[run.effect]:
        run.effect = effect
