"""What several kinds of events do to a state. Only `domain.evolve` and its ``folding_*`` modules use this: nobody else
writes a `State`.

`flying` of the state counts what `flying` of its runs says, and a run that closes is no longer open, nor awaited by
anything that settles. Every change of the two goes through here.
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
    s.flying += int(flying) - int(run.flying)
    run.flying = flying


def close(s: State, run: Run, ev: e.Event) -> None:
    """The run's token leaves it."""
    s.open.pop(run.id, None)
    if s.failing:
        s.failing.pop("r:" + run.id, None)
    fly(s, run, flying=False)
    run.due_at = run.timeout_at = run.settle_at = None
    run.ended_at, run.order = ev.at, s.version + 1


def weaken(run: Run, effect: e.Effect) -> None:
    """Doubt is not cleared by a later refusal, and what was done stays done."""
    if _RANK[effect] > _RANK[run.effect]:
        run.effect = effect
