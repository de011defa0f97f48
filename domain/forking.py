"""How a fork begins: with the events of its original up to a version, and then on its own.

What was done stays done and is not sent again. What was in flight, or between two attempts, is the original's business: the
token comes to the task once more, as a run of the fork under a key of its own. A fork is not suspended, has no parent, and
stands where its original went forward: not at its end, nor where something was being undone.
"""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from domain import commands as c
from domain import events as e
from domain.data import fill
from domain.decision import Decision, Faulted, Strand
from domain.errors import InvalidInputError, Problem
from domain.evolve import evolve
from domain.flow import enter
from domain.migrating import move_to
from domain.prefix import Prefix, unpacked
from domain.starting import before
from domain.state import Run, State
from domain.stopping import resume

_ATTEMPTED = frozenset({"call", "run"})
"""Kinds of task that make attempts."""


def fork(d: Decision, command: c.Fork) -> None:
    """Raises InvalidInputError where there is no way on from that version."""
    d.spawn(_forking(d, command))


def _forking(d: Decision, command: c.Fork) -> Strand:
    original = folded(command.prefix)
    if (why := not_from(original)) is not None:
        raise InvalidInputError([Problem("/from_version", why, "no-way-on")], "There is nothing to go on from.")
    again = tuple(name for name in original.open if unanswered(original.runs[name]))
    data: Any = UNSET
    if command.input is not UNSET:
        data = yield from _transformed(d, command)
    members = {name: getattr(command, name) for name in _TOLD} | {"trace": command.trace}
    d.emit(e.OrchestrationForked, definition=d.plan.reference, digest=d.plan.digest, data=data, again=again, **members)
    if d.to is not None:
        move_to(d, command.mapping, command.reason, anew=again)
    if d.state.suspended:
        resume(d, c.Resume(at=command.at, seed=command.seed))
    for name in again:
        run = d.state.runs[name]
        d.spawn(enter(d, run.scope, run.pointer, run.after), run.scope)


_TOLD = ("id", "origin", "prefix", "reason", "input", "business_key", "tags", "request", "remarks")


def folded(prefix: Prefix) -> State:
    """The state of the original at the fork."""
    state = State()
    for event in unpacked(prefix):
        evolve(state, event)
    return state


def not_from(original: State) -> str | None:
    """Why a fork cannot go on from this state, if it cannot."""
    if original.final:
        return f"it had ended as {original.status}: choose a version before"
    if original.rolling_back:
        return "it was rolling back: choose a version before rollback.started"
    if original.going:
        return "something was being undone: choose a version before or after that"
    if original.ending is not None:
        return "it was about to end: choose a version before ending.started"
    return None


def unanswered(run: Run) -> bool:
    """Whether it has begun an attempt and still has to hear, to be called back, or to try again."""
    return run.open and (run.flying or run.awaits_callback or (run.status == "retrying" and run.kind in _ATTEMPTED))


def _transformed(d: Decision, command: c.Fork) -> Strand:
    """The new input, as ``input.from`` makes it."""
    plan = d.to or d.plan
    if plan.input_from is None:
        return UNSET
    try:
        return (yield from fill(plan.input_from, command.input, before(d, plan, command), "input.from"))
    except Faulted as stop:
        raise InvalidInputError([Problem("/input", stop.fault.detail or "", "expression")]) from None
