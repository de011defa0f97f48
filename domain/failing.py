"""Where an error goes, and how settling begins.

An error leaves a task for the scope around it, up to a ``try``, an undo, a competing branch, or the whole orchestration.
Whoever takes it goes on only when everything inside has settled (`domain.settling`). After the pivot an error that nobody
would catch stays where it is: its token is held and an incident asks an operator.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from domain import events as e
from domain.commands import Cancel
from domain.containing import contained
from domain.decision import AtWorkers, Decision, Strand
from domain.errors import Fault, fault
from domain.state import COMPENSATE, ROOT, Run


def fail(
    d: Decision,
    run: Run,
    why: Fault,
    effect: e.Effect = "none",
    output: Any = None,
    attempt: int | None = None,
) -> None:
    """The flow faults in a run; the error goes to whoever is around it."""
    if not run.open and not run.held:
        return
    why = why.at(run.pointer)
    state = d.state
    happened = "completed" in (effect, run.effect)
    doubtful = not happened and "uncertain" in (effect, run.effect)
    live = d.live(run.scope)
    if run.pivot and doubtful and live and not run.held:
        d.emit(e.TaskUncertain, run=run.id, attempt=attempt, fault=why, held=True)
        raise_incident(d, "uncertain_pivot", run, why, ("retry", "complete", "fail"))
        return
    cancel = state.cancel_pending if run.pivot else None
    cancelled = cancel is not None and (cancel[2] or not happened)
    passed = state.pivot_passed is not None or (run.pivot and happened)
    held = passed and live and not cancelled and _nobody_catches(d, run.scope)
    if doubtful and run.open:
        d.emit(e.TaskUncertain, run=run.id, attempt=attempt, fault=why, held=held)
    else:
        d.emit(e.TaskFailed, run=run.id, attempt=attempt, fault=why, effect=effect, output=output, held=held)
    if cancel is not None and cancelled:
        start_rollback(d, e.Cause("cancel", text=cancel[0], actor=cancel[1]))
        return
    if cancel is not None:
        d.emit(e.CancelDropped)
    if held:
        raise_incident(d, "after_pivot", run, why, _ways_on(d, run))
    else:
        propagate(d, run.scope, why, run)


def _nobody_catches(d: Decision, scope: str) -> bool:
    """Whether an error here would leave the orchestration: no ``try``, no undo, no branch that may fail is around."""
    for found in d.state.scope_chain(scope):
        if found.owner is None:
            return True
        if contained(d, found, d.state.runs[found.owner]):
            return False
    return True


def _ways_on(d: Decision, run: Run) -> tuple[str, ...]:
    """What an operator may do after the pivot. What contains the pivot is never tried again: it would happen twice."""
    pivot = d.state.pivot_passed
    again = pivot is None or not (run.id == pivot or d.state.contains(run.id, d.state.runs[pivot].scope))
    return ("retry", "skip", "complete") if again else ("skip", "complete")


def propagate(d: Decision, scope: str, why: Fault, origin: Run) -> None:
    """An error leaves a task: the scope, or the composite that opened it, fails once everything inside has settled."""
    if not d.live(scope):
        return
    found = d.state.scopes[scope]
    if found.owner is None:
        uncaught(d, why, origin)
        return
    owner = d.state.runs[found.owner]
    if contained(d, found, owner):
        fail_scope(d, scope, why, cut=False)
    else:
        fail_composite(d, owner, why, cut=False)


def fail_scope(d: Decision, scope: str, why: Fault, *, cut: bool) -> None:
    """A scope fails as soon as all inside has settled; then the run that opened it decides."""
    d.emit(e.ScopeFailing, scope=scope, fault=why, cut=cut, settle_at=d.settle_at)
    begin_settling(d, (scope,), cut=cut)


def fail_composite(d: Decision, run: Run, why: Fault, *, cut: bool) -> None:
    """A composite fails as soon as all that it opened has settled."""
    d.emit(e.TaskFailing, run=run.id, fault=why, cut=cut, settle_at=d.settle_at)
    begin_settling(d, list(run.scopes.values()), cut=cut)


def uncaught(d: Decision, why: Fault, origin: Run | None) -> None:
    """No catch handled it, and there is a way back."""
    start_rollback(d, e.Cause("error", task=origin.pointer if origin else why.instance, fault=why))


def start_rollback(d: Decision, cause: e.Cause, *, cut: bool = False) -> None:
    """From here on nothing goes forward: settle, decide, undo."""
    void_incidents(d, "rollback")
    d.emit(e.RollbackStarted, reason=cause, settle_at=d.settle_at, cut=cut)
    begin_settling(d, (ROOT,), cut=cut)


def raise_incident(
    d: Decision,
    kind: str,
    run: Run | None,
    why: Fault | None,
    actions: tuple[str, ...],
    rollback: str = ROOT,
) -> None:
    """Something that only an operator can resolve."""
    number = len(d.state.incidents) + 1
    name = run.id if run else None
    d.emit(e.IncidentRaised, number=number, kind=kind, run=name, fault=why, rollback=rollback, actions=actions)


def end(d: Decision, cls: type[e.Event], **members: Any) -> None:
    """The orchestration reaches a final state. Incidents that nobody can resolve any more are void; a late result may
    still be acknowledged.
    """
    void_incidents(d, "ended")
    d.emit(cls, **members)


def void_incidents(d: Decision, why: str) -> None:
    """All but late results, which wait for nothing."""
    for incident in d.state.open_incidents():
        if incident.kind != "late_result":
            d.emit(e.IncidentResolved, number=incident.number, action=why)


# Settling begins ----------------------------------------------------------------------------------------------------------


def begin_settling(d: Decision, scopes: Sequence[str], *, cut: bool) -> None:
    """Waits end, what was not sent is dropped, attempts in flight are awaited (or, when `cut`, uncertain at once), in one
    scope after the other; none of them lies in another. What is work for remote workers is given up in its row, which
    tells at once whether anybody had claimed it (`domain.remote`).

    A child that is not awaited is on its way and stays so. An undo or a partial rollback in progress inside is not
    touched: it ends by itself.
    """
    why = (
        fault("cancelled", "cut off while in flight")
        if not cut
        else fault("timeout", "given up when the time was over")
    )
    inside = d.state.open_inside(scopes, undos=False)
    for run in [run for scope in scopes for run in inside[scope]]:
        if composite(d, run):
            continue
        if run.flying and run.detached:
            continue  # its child has begun, and its completion is a matter of this decision
        if run.child is not None and run.flying:
            d.send(run.child[0], Cancel, reason="its parent gives it up")
        elif (run.flying and not cut) or (d.elsewhere and d.elsewhere.get(_called(run) or "")):
            continue
        else:
            abandon(d, run, why)


def before_cutting(d: Decision, scopes: Sequence[str]) -> Strand:
    """To be asked before a cut, and anything that its decision depends on looked at afterwards: who carries out the calls
    in flight in these scopes. Then `Decision.elsewhere` tells.
    """
    while asked := _not_asked(d, scopes):
        answers = yield [d.question(run, "at_workers", AtWorkers(function)) for function, run in asked.items()]
        d.elsewhere |= zip(asked, answers, strict=True)


def _not_asked(d: Decision, scopes: Sequence[str]) -> dict[str, str]:
    """Function -> a run that calls it."""
    found: dict[str, str] = {}
    if scopes and d.state.calls:
        for run in d.state.in_flight(*scopes):
            function = _called(run)
            if function is not None and function not in d.elsewhere:
                found.setdefault(function, run.id)
    return found


def _called(run: Run) -> str | None:
    """The function that is being called, if one is."""
    request = run.request if run.flying else None
    return request.function if request is not None and request.callout == "function" and run.child is None else None


def composite(d: Decision, run: Run) -> bool:
    """Whether the run has a scope of its own open, or undoes what is in it; it ends after what is inside."""
    scopes, partial = d.state.scopes, d.state.rollbacks.get(run.id)
    if partial is not None and not partial.finished:
        return True
    return any(scopes[s].phase in ("active", "failing") for slot, s in run.scopes.items() if slot != COMPENSATE)


def abandon(d: Decision, run: Run, why: Fault) -> None:
    """Drop a run at once; an attempt in flight, a callback that has not come, a person who has it or an earlier doubt
    makes it uncertain.
    """
    if run.flying or run.awaits_callback or run.begun_by_person or run.effect == "uncertain":
        d.emit(e.TaskUncertain, run=run.id, attempt=run.attempts or None, fault=why.at(run.pointer))
    else:
        d.emit(e.TaskCancelled, run=run.id)
