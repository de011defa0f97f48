"""What the events of a rollback do to the state: its plan, how far each undo is, and how late news corrects the plan."""

from __future__ import annotations

from typing import Any

from domain import events as e
from domain.folding import Handler, finish
from domain.folding_plan import add_step, begin_step, drop_step, end_step, line_up, replace_step
from domain.lifecycle import fire_orchestration, fire_run
from domain.state import ROOT, Rollback, Run, State, UndoStatus


def _rollback_started(s: State, ev: e.RollbackStarted) -> None:
    s.undone_by_parent = s.status == "completed"
    fire_orchestration["roll_back"](s)
    s.rolling_back, s.cause, s.settle_at = True, ev.reason, ev.settle_at
    s.ended_at = None
    s.fault = ev.reason.fault
    s.cancel_pending = s.ending = None
    s.rollback_context = s.context
    s.recorded = []
    for run in s.runs.values():
        run.held = False
    s.scopes[ROOT].phase = "failing"
    s.failing["s:"] = None


def _compensation_decided(s: State, ev: e.CompensationDecided) -> None:
    n = len(ev.plan)
    context = s.rollback_context if ev.rollback == ROOT else s.context
    known = s.rollbacks.get(ev.rollback)
    place = len(s.rollbacks) if known is None else known.place
    rollback = Rollback(ev.rollback, ev.reason, ev.plan, ev.left_behind, [None] * n, [False] * n, context, place=place)
    line_up(rollback)
    s.rollbacks[ev.rollback], s.going[ev.rollback] = rollback, None
    if ev.rollback == ROOT:  # from now on nothing else will be undone; a partial rollback leaves that open
        for run in s.runs.values():
            if run.undo.status in ("armed", "scheduled"):
                run.undo.status = "none"
    for step in ev.plan:
        undo = s.runs[step.run].undo
        undo.status, undo.rollback = "scheduled", ev.rollback
    s.failing.pop("s:" if ev.rollback == ROOT else "", None)
    if ev.rollback == ROOT:
        s.settle_at = None


def _undo_started(s: State, ev: e.UndoStarted) -> None:
    run = s.runs[ev.run]
    fire_run["undo"](run)
    run.undo.status, run.undo.number, run.undo.fault = "running", ev.number, None
    _count(s, ev.rollback, 1)
    run.undo.child_busy = ev.child is not None
    if found := _step(s, ev):
        begin_step(*found)


def _undo_completed(s: State, ev: e.UndoCompleted) -> None:
    run = s.runs[ev.run]
    fire_run["undone"](run)
    _undo_ended(s, run, ev, "completed", "done")


def _undo_failed(s: State, ev: e.UndoFailed) -> None:
    run = s.runs[ev.run]
    fire_run["undo_failed"](run)
    _count(s, ev.rollback, -(run.undo.status == "running"))
    run.undo.child_busy = False
    run.undo.status, run.undo.fault = "failed", ev.fault


def _undo_skipped(s: State, ev: e.UndoSkipped) -> None:
    _undo_ended(s, s.runs[ev.run], ev, "skipped", "skipped")


def _undo_ended(s: State, run: Run, ev: e.UndoCompleted | e.UndoSkipped, status: UndoStatus, how: str) -> None:
    _count(s, ev.rollback, -(run.undo.status == "running"))
    run.undo.status, run.undo.fault, run.undo.child_busy = status, None, False
    if found := _step(s, ev):
        end_step(*found, how)


def _count(s: State, rollback: str, more: int) -> None:
    if (found := s.rollbacks.get(rollback)) is not None:
        found.running += more


def _step(s: State, ev: Any) -> tuple[Rollback, int] | None:
    rollback = s.rollbacks.get(ev.rollback)
    index = rollback.index(ev.run) if rollback else None
    return (rollback, index) if rollback is not None and index is not None else None


def _rollback_finished(s: State, ev: e.RollbackFinished) -> None:
    finish(s, ev.rollback)
    run = s.runs[ev.rollback]
    if run.due_at is not None and run.status == "running":
        fire_run["retry"](run)


# Late news -----------------------------------------------------------------------------------------------------------


def _plan_corrected(s: State, ev: e.PlanCorrected) -> None:
    run = s.runs[ev.run]
    run.effect = ev.effect
    if ev.effect == "completed":
        run.output = run.data = ev.output
    rollback = _concerned(s, ev.run)
    if rollback is None:
        return
    left = tuple(left for left in rollback.left_behind if left.run != ev.run)
    rollback.left_behind = (*left, e.LeftBehind(ev.run, ev.why)) if ev.why else left
    index = rollback.index(ev.run)
    if index is None and ev.added:
        add_step(s, rollback, e.UndoStep(ev.run, ev.effect, (), ev.condition, ev.condition_fault))
    elif index is not None and ev.dropped:
        drop_step(rollback, index)
        run.undo.status = "armed" if run.undoable and rollback.id != ROOT else "none"
    elif index is not None:
        told = {"outcome": ev.effect, "condition": ev.condition, "condition_fault": ev.condition_fault}
        replace_step(rollback, index, **told)


def _concerned(s: State, run: str) -> Rollback | None:
    """The rollback in progress that has this run in its plan or has left it behind; else that of the whole."""
    going = s.rollbacks_going()
    for rollback in going:
        if rollback.index(run) is not None or any(left.run == run for left in rollback.left_behind):
            return rollback
    return next((rollback for rollback in going if rollback.id == ROOT), None)


HANDLERS: dict[type[e.Event], Handler] = {
    e.RollbackStarted: _rollback_started,
    e.CompensationDecided: _compensation_decided,
    e.UndoStarted: _undo_started,
    e.UndoCompleted: _undo_completed,
    e.UndoFailed: _undo_failed,
    e.UndoSkipped: _undo_skipped,
    e.PlanCorrected: _plan_corrected,
    e.RollbackFinished: _rollback_finished,
}
