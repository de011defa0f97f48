"""The two life cycles, declared once as data: that of an orchestration and that of a run of a task.

Each event fires one trigger; a trigger that the current status does not allow raises `IllegalTransitionError`, so that
an illegal transition can neither be recorded nor replayed. ``docs/state_machine.md`` is generated from these tables.

There is one module-level machine per life cycle and no model is ever added to it: `transitions` moves any object with
an attribute ``status``. None of the transitions has callbacks or conditions, hence the direct path in `_triggers`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from transitions import Event, Machine

from domain.errors import RetraceError

INITIAL: Final = "pending"
"""Before the first event; never seen outside."""

Table = list[tuple[str, tuple[str, ...], str]]

ORCHESTRATION: Final[Table] = [
    ("start", (INITIAL,), "running"),
    ("suspend", ("running", "compensating"), "suspended"),
    ("resume", ("suspended",), "running"),
    ("resume_rollback", ("suspended",), "compensating"),
    ("roll_back", ("running", "completed"), "compensating"),
    ("complete", ("running",), "completed"),
    ("fault", ("compensating",), "faulted"),
    ("compensate", ("compensating",), "compensated"),
    ("cancel", ("compensating",), "cancelled"),
    ("terminate", ("running", "suspended", "compensating"), "terminated"),
]
"""(trigger, from, to). `completed` is left only when a parent undoes its child."""

RUN: Final[Table] = [
    ("schedule", (INITIAL, "failed", "uncertain", "cancelled"), "scheduled"),
    ("skip", (INITIAL,), "skipped"),
    ("start", ("scheduled", "retrying"), "running"),
    ("wait", ("scheduled",), "waiting"),
    ("acknowledge", ("running",), "waiting"),
    ("retry", ("running", "waiting"), "retrying"),
    ("complete", ("scheduled", "running", "waiting", "retrying", "failed", "uncertain"), "completed"),
    ("fail", ("scheduled", "running", "waiting", "retrying", "uncertain"), "failed"),
    ("doubt", ("scheduled", "running", "waiting", "retrying"), "uncertain"),
    ("cancel", ("scheduled", "running", "waiting", "retrying"), "cancelled"),
    ("undo", ("completed", "uncertain", "failed", "cancelled", "compensation_failed"), "compensating"),
    ("undone", ("compensating", "compensation_failed"), "compensated"),
    ("undo_failed", ("compensating",), "compensation_failed"),
]
"""(trigger, from, to). A run that did not complete is scheduled again when its ``try`` is entered again. `failed` and
`uncertain` are left for `completed` only by an operator, who resolves the incident that holds the run."""

ORCHESTRATION_FINAL: Final = frozenset({"completed", "faulted", "compensated", "cancelled", "terminated"})
RUN_OPEN: Final = frozenset({"scheduled", "running", "waiting", "retrying"})


class IllegalTransitionError(RetraceError):
    """The life cycle does not allow this transition; the log or the interpreter is wrong."""


def _machine(name: str, table: Table) -> Machine:
    states = list(dict.fromkeys(state for _, sources, target in table for state in (*sources, target)))
    return Machine(
        model=None,
        name=name,
        states=states,
        initial=INITIAL,
        auto_transitions=False,
        model_attribute="status",
        transitions=[{"trigger": t, "source": list(s), "dest": d} for t, s, d in table],
    )


ORCHESTRATION_MACHINE: Final = _machine("orchestration", ORCHESTRATION)
RUN_MACHINE: Final = _machine("run", RUN)


Trigger = Callable[[Any], None]


def _trigger(machine: Machine, event: Event) -> Trigger:
    """Fires a transition that has neither callbacks nor conditions without the machinery for them."""
    targets = {source: transitions[0].dest for source, transitions in event.transitions.items()}

    def fire(model: Any) -> None:
        target = targets.get(model.status)
        if target is None:
            raise IllegalTransitionError(f"{machine.name}{event.name} is not allowed in {model.status}")
        model.status = target

    return fire


def _triggers(machine: Machine) -> dict[str, Trigger]:
    return {name: _trigger(machine, event) for name, event in machine.events.items()}


fire_orchestration: Final = _triggers(ORCHESTRATION_MACHINE)
"""trigger -> function(orchestration state); raises IllegalTransitionError."""
fire_run: Final = _triggers(RUN_MACHINE)
"""trigger -> function(run); raises IllegalTransitionError."""
