"""Commands that stop or go on: cancel, terminate, suspend, resume, and the undo that a parent asks of its child.

Cancel goes back (and waits for a pivot in flight); terminate undoes nothing; suspend only records what comes, and resume
handles it in the order of its time.
"""

from __future__ import annotations

from typing import Any

import msgspec

from domain import commands as c
from domain import events as e
from domain.attempts import judge, late, stop_waiting
from domain.callbacks import taken
from domain.children import child_ended
from domain.decision import Decision, Strand
from domain.due import timer
from domain.errors import (
    Fault,
    OrchestrationEndedError,
    PastPivotError,
    fault,
)
from domain.failing import end, start_rollback
from domain.listening import offer_held
from domain.people import answered
from domain.state import Run


def cancel(d: Decision, command: c.Cancel) -> None:
    state = d.state
    if state.final:
        raise OrchestrationEndedError(state.status)
    if state.pivot_passed is not None and not command.override_pivot and not (state.rolling_back or state.ending):
        raise PastPivotError
    if state.suspended:
        resume(d, c.Resume(at=command.at, seed=command.seed, reason=command.reason), lift=True)
    if state.rolling_back or state.ending:
        return
    pivot = state.undecided_pivot
    if pivot is None or (command.override_pivot and not pivot.open):
        start_rollback(d, e.Cause("cancel", text=command.reason, actor=command.actor))
    elif state.cancel_pending is None or (command.override_pivot and not state.cancel_pending[2]):
        d.emit(e.CancelRequested, reason=command.reason, override_pivot=command.override_pivot)
        if pivot.awaits_callback:
            stop_waiting(d, pivot)


def terminate(d: Decision, command: c.Terminate) -> None:
    state = d.state
    if state.status == "terminated":
        return
    if state.final:
        raise OrchestrationEndedError(state.status)
    for name in state.open:
        run = state.runs[name]
        if run.child is not None and run.flying:
            d.send(run.child[0], c.Terminate, reason="its parent was terminated")
    for rollback in state.rollbacks.values():
        for undo in rollback.steps:
            run = state.runs[undo.run]
            if run.undo.child_busy and run.child is not None:
                d.send(run.child[0], c.Terminate, reason="its parent was terminated")
    end(d, e.OrchestrationTerminated, reason=command.reason)


def suspend(d: Decision, command: c.Suspend) -> None:
    if d.state.final:
        raise OrchestrationEndedError(d.state.status)
    if not d.state.suspended:
        d.emit(e.OrchestrationSuspended, reason=command.reason)


def resume(d: Decision, command: c.Resume, *, lift: bool = False) -> None:
    """Handle what was recorded and what has become due meanwhile, in the order of its time."""
    state = d.state
    if state.final:
        raise OrchestrationEndedError(state.status)
    if not state.suspended:
        return
    recorded = list(state.recorded)
    due = [entry for entry in state.due() if entry[0] <= d.now and not lift]
    d.emit(e.OrchestrationResumed, reason=command.reason)
    missed = [(r.at, 0, _recorded(d, state.runs[r.run], r.number, r.result)) for r in recorded]
    missed += [(when, 1, timer(d, kind, key)) for when, kind, key in due]
    d.spawn(_one_by_one([strand for _, _, strand in sorted(missed, key=lambda entry: entry[:2])]))
    d.spawn(offer_held(d))


def _recorded(d: Decision, run: Run, number: int, result: dict[str, Any]) -> Strand:
    """A result that came while suspended."""
    why = msgspec.convert(result["fault"], Fault) if "fault" in result else None
    if "child" in result:
        members = {k: result[k] for k in ("child", "status", "output")}
        yield from child_ended(d, run, number, c.ReportChild(at=d.now, seed=b"", run=run.id, fault=why, **members))
        return
    members = {k: v for k, v in result.items() if k in ("outcome", "output", "retry_after_s", "retryable")}
    command = c.ReportResult(at=d.now, seed=b"", run=run.id, number=number, fault=why, **members)
    if "person" in result:
        yield from answered(d, run, result["outcome"], result.get("output"), why)
    elif "callback" in result:
        yield from taken(d, run, command)
    elif run.open and run.flying and run.attempts == number:
        yield from judge(d, run, command)
    else:
        yield from late(d, run, command)


def _one_by_one(strands: list[Strand]) -> Strand:
    for strand in strands:
        yield from strand


def undo_child(d: Decision, command: c.UndoChild) -> None:
    """From the parent: undo yourself; the one way out of `completed`."""
    state = d.state
    parent = state.parent[0] if state.parent else ""
    refusal = None
    if state.pivot_passed is not None:
        refusal = fault("runtime", "the child is past its pivot and cannot be undone")
    elif state.status == "terminated":
        refusal = fault("runtime", "the child was terminated; what it had done has to be undone by hand")
    if refusal is not None:
        d.send(parent, c.ReportChild, run=command.run, child=state.id, status=state.status, fault=refusal, undone=True)
    elif state.status == "completed":
        start_rollback(d, e.Cause("error", fault=command.fault, text="undone by its parent"))
    elif state.final:
        d.send(parent, c.ReportChild, run=command.run, child=state.id, status=state.status, undone=True)
    else:  # it will tell when it has ended
        cancel(d, c.Cancel(at=command.at, seed=command.seed, reason="undone by its parent"))
