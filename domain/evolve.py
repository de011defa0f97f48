"""Event -> state. The only code that writes a `State`; the same live, in replay and in time travel.

Never reads the plan, the clock or anything else outside the event. Every handler fires the triggers of
`domain.lifecycle` first, so an event that the life cycle does not allow cannot be folded. The handlers stand in the
``folding_*`` modules, one per chapter of `domain.events`.
"""

from __future__ import annotations

from domain import events as e
from domain import (
    folding_incidents,
    folding_listening,
    folding_migration,
    folding_orchestration,
    folding_people,
    folding_rollback,
    folding_runs,
    folding_scopes,
    folding_streams,
)
from domain.folding import Handler
from domain.folding_fork import take_over
from domain.prefix import unpacked
from domain.state import State


def _forked(s: State, ev: e.OrchestrationForked) -> None:
    """The first event of a fork holds what it has from its original."""
    for event in unpacked(ev.prefix):
        evolve(s, event)
    take_over(s, ev)


HANDLERS: dict[type[e.Event], Handler] = {
    **folding_orchestration.HANDLERS,
    **folding_runs.HANDLERS,
    **folding_scopes.HANDLERS,
    **folding_listening.HANDLERS,
    **folding_streams.HANDLERS,
    **folding_people.HANDLERS,
    **folding_rollback.HANDLERS,
    **folding_incidents.HANDLERS,
    **folding_migration.HANDLERS,
    e.OrchestrationForked: _forked,
}


def evolve(state: State, event: e.Event) -> State:
    """Fold one event into the state (in place) and return it."""
    HANDLERS[type(event)](state, event)
    state.version += 1
    state.updated_at = event.at
    return state
