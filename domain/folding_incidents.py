"""What exceptions from the rule do to the state: incidents, and results that wait or come late."""

from __future__ import annotations

from domain import events as e
from domain.folding import Handler, fly
from domain.folding_plan import begin_step_again, replace_step
from domain.state import Incident, Recorded, State


def _incident_raised(s: State, ev: e.IncidentRaised) -> None:
    if ev.kind == "after_pivot" and ev.run is None:
        s.timeout_at = None
    s.incidents.append(Incident(ev.number, ev.kind, ev.run, ev.fault, ev.rollback, ev.actions, ev.at))


def _incident_resolved(s: State, ev: e.IncidentResolved) -> None:
    """Another try of an undo is a step that has not started; a condition that cannot be evaluated is not asked again."""
    incident = s.incidents[ev.number - 1]
    incident.resolved = ev.action
    incident.resolved_by, incident.resolved_at, incident.reason = ev.actor, ev.at, ev.reason
    if incident.run is not None and ev.action in ("superseded", "ended"):
        s.runs[incident.run].held = False
    if incident.kind == "compensation_failed" and incident.run is not None and ev.action == "retry":
        rollback = s.rollbacks[incident.rollback]
        index = rollback.index(incident.run)
        if index is not None:
            begin_step_again(rollback, index)
            s.runs[incident.run].undo.status = "scheduled"
            replace_step(rollback, index, condition_fault=None)


def _result_recorded(s: State, ev: e.ResultRecorded) -> None:
    run = s.runs[ev.run]
    s.recorded.append(Recorded(ev.at, ev.run, ev.number, ev.result))
    fly(s, run, flying=False)


def _result_late(s: State, ev: e.ResultLate) -> None:
    run = s.runs[ev.run]
    run.doubts = [] if ev.effect == "completed" else [number for number in run.doubts if number != ev.number]
    if run.open and ev.effect == "completed":
        run.effect, run.output, run.data = ev.effect, ev.output, ev.output


HANDLERS: dict[type[e.Event], Handler] = {
    e.IncidentRaised: _incident_raised,
    e.IncidentResolved: _incident_resolved,
    e.ResultRecorded: _result_recorded,
    e.ResultLate: _result_late,
}
