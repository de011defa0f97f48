"""Which attempts are work for remote workers, and which of those nobody wants any more.

A call of a function that is not registered in the process waits for a worker. The decision is the same as for one that is:
`AttemptStarted`. What differs is who carries it out, and that it may still be dropped as long as nobody has claimed it
(rollback.md, "When").
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from domain import events as e
from domain.state import Run, State

Attempt = tuple[str, int]
"""(run, number)."""
Unwanted = Literal["unclaimed", "claimed"]

_MAY_UNWANT = (
    e.RollbackStarted,
    e.ScopeFailing,
    e.TaskFailing,
    e.ForkWon,
    e.EndingStarted,
    e.CancelRequested,
)
"""After these an attempt may be unwanted that was not before."""


def is_remote(state: State, run: Run, known: Callable[[str], bool]) -> bool:
    """Whether an attempt of this run is in flight whose function is not `known` in the process, without a result that
    waits for the resume.
    """
    request = run.request
    if not run.flying or request is None or run.child is not None or request.callout != "function":
        return False
    if known(request.function):
        return False
    return not any(each.run == run.id and each.number == run.attempts for each in state.recorded)


def remote_attempts(state: State, known: Callable[[str], bool]) -> set[Attempt]:
    """All of them."""
    runs = [state.runs[name] for name in state.flights]
    return {(run.id, run.attempts) for run in runs if is_remote(state, run, known)}


def may_unwant(state: State, events: list[e.Event]) -> bool:
    """Whether these events, which are folded in, can make any attempt unwanted. A branch that fails and holds nothing any
    more does not: one after the other of ten thousand may.
    """
    return any(isinstance(event, _MAY_UNWANT) and not _empty(state, event) for event in events)


def _empty(state: State, event: e.Event) -> bool:
    return isinstance(event, e.ScopeFailing) and not state.going and state.scopes[event.scope].tokens <= 0


def unwanted(state: State, run: Run) -> Unwanted | None:
    """How far an attempt in flight may have come so that it is given up now: not at all (None), only while it is
    `unclaimed`, or also when it is `claimed`: its worker's token becomes void.
    """
    if run.pivot and state.cancel_pending is not None:
        return "unclaimed"  # the cancel waits for the pivot: what has begun may end
    if state.live(run.scope):
        return None
    return "unclaimed" if state.ending is not None and not state.rolling_back else "claimed"
