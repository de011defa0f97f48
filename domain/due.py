"""Timers that are due: the ends of waits, of delays between attempts, of timeouts, and of the patience with what settles.

The list of timers is a view of the state (`State.due`), so a timer needs no event of its own and cannot be forgotten.
What an earlier one leads to may make a later one void.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from domain import commands as c
from domain import events as e
from domain import gaps
from domain.attempts import again, overdue
from domain.branches import begin_deferred
from domain.children import again_child
from domain.containing import SideBySide
from domain.decision import Decision, Strand
from domain.errors import (
    fault,
)
from domain.failing import before_cutting, fail, fail_composite, fail_scope, raise_incident, start_rollback
from domain.flow import complete
from domain.people import escalate, unanswered
from domain.plan import Run as RunWork
from domain.plan import Try
from domain.state import ROOT
from domain.tasks import enter_try

Due = tuple[datetime, str, str]
"""(when, kind, key)."""
_CUTS: Final = ("workflow", "attempt", "timeout")


def fire(d: Decision, command: c.FireTimers) -> None:
    if d.state.final or d.state.suspended:
        return
    due = [entry for entry in sorted(d.state.due(), key=lambda timer: timer[0]) if entry[0] <= d.now]
    if len(due) > 1 and any(kind in _CUTS for _, kind, _ in due):
        d.spawn(_in_their_order(d, due))
        return
    for _, kind, key in due:
        d.spawn(timer(d, kind, key))


def _in_their_order(d: Decision, due: list[Due]) -> Strand:
    """What the first has to ask is asked before, so that no later one passes it meanwhile."""
    yield from before_cutting(d, (ROOT,))
    for _, kind, key in due:
        d.spawn(timer(d, kind, key))


def timer(d: Decision, kind: str, key: str) -> Strand:
    """A timer is due; what went before may have made it void."""
    state = d.state
    if kind in _CUTS:
        yield from before_cutting(d, (ROOT,) if kind == "workflow" else list(state.runs[key].scopes.values()))
    if not state.is_due((kind, key), d.now):
        return
    run = state.runs.get(key)
    if kind == "workflow":
        late = fault("timeout", "the orchestration took longer than its timeout").at("/timeout")
        if state.pivot_passed is not None:
            raise_incident(d, "after_pivot", None, late, ("skip",))
        else:
            start_rollback(d, e.Cause("timeout", fault=late), cut=True)
    elif kind == "settle":
        _give_up(d, key)
    elif run is None:
        return
    elif kind == "gap":
        yield from gaps.overdue(d, run)
    elif kind == "attempt":
        why = fault("timeout", f"this attempt of {run.name} took longer than its limit").at(run.pointer)
        fail_scope(d, run.scopes["try"], why, cut=True)
    elif kind == "more":
        work = d.node(run).work
        assert isinstance(work, SideBySide)
        begin_deferred(d, run, work)
    elif kind == "timeout" and run.kind in ("listen", "wait") and not run.entries:
        fail(d, run, fault("timeout", f"{run.name} took longer than its timeout"))
    elif kind == "escalate":
        escalate(d, run)
    elif kind == "timeout" and run.human is not None and run.status == "waiting":
        unanswered(d, run)
    elif kind == "timeout" and run.awaits_callback:
        yield from overdue(d, run)
    elif kind == "timeout":
        why = fault("timeout", f"{run.name} took longer than its timeout")
        fail_composite(d, run, why.at(run.pointer), cut=True)
        if run.child is not None and run.flying:
            d.send(run.child[0], c.Cancel, reason="its parent's task timed out")
        elif isinstance(d.node(run).work, RunWork):
            fail(d, run, why)
    elif run.status == "waiting":
        yield from complete(d, run, run.input)
    elif isinstance(d.node(run).work, Try):
        yield from enter_try(d, run, d.node(run))
    elif isinstance(d.node(run).work, RunWork):
        yield from again_child(d, run)
    else:
        again(d, run)


def _give_up(d: Decision, key: str) -> None:
    """Settling took too long: what is still in flight is uncertain."""
    why = fault("timeout", "no answer while the orchestration settled")
    for run in list(d.state.settling(key)):
        if run.failing is not None and d.live(run.scope):
            fail(d, run, run.failing, "uncertain", None, run.attempts)
        else:
            d.emit(e.TaskUncertain, run=run.id, attempt=run.attempts, fault=why.at(run.pointer))
