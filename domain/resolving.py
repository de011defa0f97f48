"""Incidents: what an operator decides, and what follows from it.

What may be decided was recorded with the incident. Resolving one is an event; an undo that is tried again needs no other,
a token that was held goes on from here.
"""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from domain import commands as c
from domain import events as e
from domain.decision import Decision, Strand
from domain.errors import (
    IncidentResolvedError,
    InvalidInputError,
    NotFoundError,
    OrchestrationEndedError,
    Problem,
    fault,
)
from domain.failing import end, fail, raise_incident
from domain.flow import begin_work, complete, finish, pass_over, schedule
from domain.state import ROOT, Incident, Run


def resolve(d: Decision, command: c.Resolve) -> None:
    state = d.state
    if not 1 <= command.number <= len(state.incidents):
        raise NotFoundError(f"There is no incident {command.number}.")
    incident = state.incidents[command.number - 1]
    if incident.resolved is not None:
        raise IncidentResolvedError(state.status, _how(incident))
    if command.action not in incident.actions:
        allowed = ", ".join(incident.actions)
        detail = f"Incident {command.number} cannot be resolved with {command.action}."
        raise InvalidInputError([Problem("", f"it allows: {allowed}", "not-allowed")], detail)
    if state.final and incident.kind != "late_result":  # to have taken note of that is possible at any time
        raise OrchestrationEndedError(state.status)
    if state.suspended and incident.kind in ("uncertain_pivot", "after_pivot"):
        problem = Problem("", "the orchestration is suspended: resume it first, then resolve", "suspended")
        raise InvalidInputError([problem], f"Incident {command.number} cannot be resolved now.")
    resolved = {"number": command.number, "action": command.action, "reason": command.reason, "output": command.output}
    d.emit(e.IncidentResolved, **resolved)
    run = state.runs[incident.run] if incident.run else None
    if incident.kind == "compensation_failed" and run is not None:
        _resolve_undo(d, incident, run, command)
    elif run is not None and run.held and d.live(run.scope):
        _resolve_run(d, run, command)
    elif run is None and incident.kind == "after_pivot" and "retry" in incident.actions:
        _resolve_output(d, command)


def _how(incident: Incident) -> str:
    """How an incident was resolved, for whoever comes second."""
    by, at = incident.resolved_by, incident.resolved_at
    told = f"Incident {incident.number} was resolved before: {incident.resolved}"
    told += f" by {by}" if by else ""
    told += f" at {at:%Y-%m-%dT%H:%M:%SZ}" if at else ""
    return told + (f", because: {incident.reason[:200]}" if incident.reason else ".")


def _resolve_undo(d: Decision, incident: Incident, run: Run, command: c.Resolve) -> None:
    """For a retry the event is enough: the step may start again as soon as nothing is suspended."""
    if command.action == "skip":
        d.emit(e.UndoSkipped, run=run.id, rollback=incident.rollback, reason=command.reason or "")
    elif command.action == "complete":
        d.emit(e.UndoCompleted, run=run.id, rollback=incident.rollback, by_hand=True, output=command.output)


def _resolve_run(d: Decision, run: Run, command: c.Resolve) -> None:
    """A token that was held: try again, go on with an output, go on without, or fail after all."""
    match command.action:
        case "retry":
            d.spawn(_repeat(d, run))
        case "complete":
            d.spawn(complete(d, run, command.output))
        case "skip":
            pass_over(d, run)
        case _:
            why = run.fault or fault("runtime", "an operator decided that it failed")
            fail(d, run, why, "failed")


def _resolve_output(d: Decision, command: c.Resolve) -> None:
    """All is done, but the output of the orchestration could not be made, and there is no way back."""
    state = d.state
    in_root = (run for run in state.runs.values() if run.scope == ROOT and run.order)
    last = state.ending or max(in_root, key=lambda run: run.order).id
    if command.action == "retry":
        d.spawn(finish(d, last))
        return
    output = command.output if command.action == "complete" else state.runs[last].data
    end(d, e.OrchestrationCompleted, output=output)


def _repeat(d: Decision, run: Run) -> Strand:
    """Another attempt of a run whose token was held, under the same key."""
    data: Any = UNSET if run.input is d.state.raw_input(run) else run.input
    node = d.node(run)
    schedule(d, node, run.scope, run.id, run.after, data=data)
    if (work := begin_work(d, run, node)) is not None:
        yield from work


def poison(d: Decision, command: c.ReportPoison) -> None:
    if not d.state.final and not any(i.kind == "poison" for i in d.state.open_incidents()):
        raise_incident(d, "poison", None, fault("runtime", command.detail), ("retry",))
