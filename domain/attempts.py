"""Callouts: starting attempts, judging results, retrying. Children are judged in the same way (`domain.children`).

`AttemptStarted` is recorded in the commit that decides to send. A result that the run no longer waits for is *late*: it
corrects the facts as long as the run's undo has not begun, afterwards it only tells (rollback.md, "When").
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from domain import events as e
from domain.commands import ReportResult
from domain.data import Deferred, duration_s, fill_some, filled
from domain.decision import Decision, Faulted, Strand
from domain.errors import SPEC, Fault, fault
from domain.failing import abandon, fail, raise_incident
from domain.flow import complete, completed, starts
from domain.plan import Call, Node, Retry
from domain.retry import ASKED_TO_WAIT, TRANSIENT_STATUSES
from domain.rollback import IF_IS_FALSE, undoable, why_left
from domain.settling import retry_in
from domain.state import Run
from domain.tasks import env_of
from domain.undoing import condition, condition_of

_ITS_OWN = frozenset({"at", "actor", "cause", "basis"})
"""Members of an event that tell of its own decision."""


@starts(Call)
def _call(d: Decision, run: Run, node: Node) -> Strand | None:
    work = node.work
    assert isinstance(work, Call)
    if not (work.with_.plain and work.attempt_timeout is None and node.timeout is None):
        return _prepared(d, run, node, work)
    arguments = filled(work.with_, run.input, lambda mentions: env_of(d, run).collect(mentions), "with")
    _send(d, run, work, arguments, (), d.limits.callout_timeout_s)
    return None


def _prepared(d: Decision, run: Run, node: Node, work: Call) -> Strand:
    """Where facts may be needed first."""
    env = env_of(d, run)
    arguments, deferred = yield from fill_some(work.with_, run.input, env, "with")
    usual = length = d.limits.callout_timeout_s
    bounds: list[float] = []
    for bound in (node.timeout, work.attempt_timeout):
        if bound is not None:
            found = yield from duration_s(bound, run.input, env, "timeout")
            length = found if bound is node.timeout else min(length, found)
            bounds.append(found)
    if work.callback:  # they bound the wait too; the acknowledgement has the usual time
        until = d.in_s(min(bounds)) if bounds else None
        _send(d, run, work, arguments, deferred, min(usual, *bounds) if bounds else usual, until)
    else:
        _send(d, run, work, arguments, deferred, length)


def _send(
    d: Decision,
    run: Run,
    work: Call,
    arguments: Any,
    deferred: tuple[Deferred, ...],
    timeout_s: float,
    until: datetime | None = None,
) -> None:
    """From here on the attempt counts as sent."""
    if work.kind != "function" and isinstance(arguments, dict):
        arguments = {**arguments, "$input": run.input}
    undone = d.state.undoing(run.scope)
    event = e.AttemptStarted(
        at=d.now,
        actor=d.actor,
        cause=d.cause,
        run=run.id,
        number=run.attempts + 1,
        key=run.key or (undone and _key_before(d, run)) or d.fresh_id(),
        arguments=arguments,
        deferred=deferred,
        callout=work.kind,
        function=work.function,
        timeout_s=timeout_s,
        idempotent=work.idempotent,
        compensates=d.state.runs[undone].key if undone else None,
        callback=work.callback,
        until=until,
    )
    d.record(event)


def _key_before(d: Decision, run: Run) -> str | None:
    """An undo that is tried again repeats what it has already done under the same key."""
    earlier = d.state.earlier(run.scope, run.pointer)
    return earlier.key if earlier is not None else None


def again(d: Decision, run: Run) -> None:
    """The delay of a retry is over: the same request once more under the same key."""
    request = run.request
    assert request is not None
    repeated = {f: getattr(request, f) for f in request.__struct_fields__ if f not in _ITS_OWN}
    until = None if request.until is None else d.now + (request.until - request.at)
    d.emit(e.AttemptStarted, **(repeated | {"number": run.attempts + 1, "until": until}))


# Results --------------------------------------------------------------------------------------------------------------


def report(d: Decision, command: ReportResult) -> None:
    """Take the result of an attempt."""
    run = d.state.runs.get(command.run)
    if run is None:
        return
    awaited = run.open and run.flying and run.attempts == command.number
    if d.state.suspended and awaited:
        told = ("outcome", "output", "retry_after_s", "retryable")
        result = {f: v for f in told if (v := getattr(command, f)) is not None}
        if command.fault is not None:
            result["fault"] = msgspec.to_builtins(command.fault)
        d.emit(e.ResultRecorded, run=run.id, number=command.number, result=result)
    elif not awaited:
        d.spawn(late(d, run, command))
    elif command.outcome == "completed" and not (d.node(run).transforms or acknowledges(run)):
        completed(d, run, command.output, attempt=command.number)
    else:
        d.spawn(judge(d, run, command))


def judge(d: Decision, run: Run, command: ReportResult) -> Strand:
    """What the result means for the flow."""
    if acknowledges(run) and command.outcome in ("completed", "unusable"):
        return _acknowledged(d, run, command.number)
    if command.outcome == "completed":
        return complete(d, run, command.output, attempt=command.number)
    return not_completed(d, run, command)


def acknowledges(run: Run) -> bool:
    """Whether a good answer to its call says no more than that it will be called back."""
    return run.request is not None and run.request.callback


def _acknowledged(d: Decision, run: Run, number: int) -> Strand:
    """From now on the callback is awaited, unless nothing is awaited any more."""
    yield from ()
    if not d.live(run.scope):
        abandon(d, run, fault("cancelled", f"{run.name} was given up before it was called back"))
    elif run.pivot and d.state.cancel_pending is not None:
        stop_waiting(d, run)
    else:
        d.emit(e.CallbackAwaited, run=run.id, number=number)


def stop_waiting(d: Decision, pivot: Run) -> None:
    """A cancel waits for a pivot whose callback may never come: an operator decides, or the callback that comes late."""
    why = fault("cancelled", f"{pivot.name} had not been called back when the orchestration was cancelled")
    fail(d, pivot, why, "uncertain", None, pivot.attempts)


def overdue(d: Decision, run: Run) -> Strand:
    """The callback has not come in time."""
    why = fault("timeout", f"{run.name} was not called back in time")
    silence = ReportResult(at=d.now, seed=b"", run=run.id, number=run.attempts, outcome="uncertain", fault=why)
    return judge(d, run, silence)


def not_completed(d: Decision, run: Run, command: ReportResult) -> Strand:
    """What a failure means for the flow."""
    work = d.node(run).work
    why = command.fault or fault("runtime", "no reason was given")
    undo = d.state.undoing(run.scope) is not None
    match command.outcome:
        case "unsent" if not d.live(run.scope) and run.effect != "uncertain":
            d.emit(e.TaskCancelled, run=run.id)  # while its scope settled
        case "unusable":
            fail(d, run, why, "completed", command.output, command.number)
        case "refused" if undo and isinstance(work, Call) and work.deletes and why.status in (404, 410):
            yield from complete(d, run, None, attempt=command.number)  # nothing is left to undo
        case _:
            effect: e.Effect = "failed" if command.outcome in ("refused", "unsent") else "uncertain"
            yield from _retry_or_fail(d, run, work, why, effect, command)


def _retry_or_fail(d: Decision, run: Run, work: Any, why: Fault, effect: e.Effect, command: ReportResult) -> Strand:
    policy: Retry | None = getattr(work, "retry", None)
    undoubted = effect == "failed" and run.effect != "uncertain"
    given_up = run.pivot and undoubted and d.state.cancel_pending is not None  # the cancel waited for just this
    wanted = command.retryable
    if wanted is None:
        wanted = policy is not None and retries(policy, why, effect)
    if policy is not None and wanted and d.live(run.scope) and not given_up:
        env = env_of(d, run)
        env.extra["error"] = why.as_json()
        elapsed = (d.now - (run.first_at or d.now)).total_seconds()
        try:
            wait = yield from retry_in(d, policy, run.attempts - run.base, elapsed, run.input, env)
        except Faulted as stop:
            fail(d, run, stop.fault, effect, None, command.number)
            return
        if wait is not None and d.live(run.scope):
            retry_at = d.in_s(max(wait, command.retry_after_s or 0.0))
            located = why.at(run.pointer)
            d.emit(e.AttemptFailed, run=run.id, number=command.number, fault=located, effect=effect, retry_at=retry_at)
            return
    fail(d, run, why, effect, None, command.number)


def retries(policy: Retry, why: Fault, effect: e.Effect) -> bool:
    """Whether a policy is meant for this kind of failure."""
    if policy.on == "doubt":
        return effect == "uncertain" or why.status in ASKED_TO_WAIT
    if why.type == SPEC + "timeout":
        return True
    if why.type == SPEC + "communication":
        return why.response is None or why.status in TRANSIENT_STATUSES
    return effect == "uncertain" and why.type == SPEC + "runtime"


def late(d: Decision, run: Run, command: ReportResult, *, called_back: bool = False) -> Strand:
    """News of an attempt that had been given up. Repeats of what is known are dropped, and so are acknowledgements."""
    state = d.state
    effects: dict[str, e.Effect] = {
        "completed": "completed",
        "unusable": "completed",
        "refused": "failed",
        "unsent": "failed",
    }
    effect = effects.get(command.outcome)
    if effect is None or command.number not in run.doubts or (run.open and effect == "failed"):
        return
    if effect == "completed" and acknowledges(run) and not called_back:
        return
    d.emit(e.ResultLate, run=run.id, number=command.number, effect=effect, output=command.output, fault=command.fault)
    if state.final or run.open or (run.doubts and effect == "failed"):
        return  # an attempt still to come, or another one in doubt, decides
    pivot = d.state.undecided_pivot
    if run.held and pivot is not None and pivot.id == run.id:
        yield from _settle_pivot(d, run, command, effect)
    elif run.undo.number or run.undo.status in ("completed", "skipped"):
        raise_incident(d, "late_result", run, command.fault, ("skip",))
    else:
        yield from _correct(d, run, command, effect)


def _settle_pivot(d: Decision, run: Run, command: ReportResult, effect: e.Effect) -> Strand:
    """What an operator was asked is known now."""
    incident = d.state.blocked(run.id)
    if incident is None or d.state.suspended:
        return
    d.emit(e.IncidentResolved, number=incident.number, action="complete" if effect == "completed" else "fail")
    if command.outcome == "completed":
        yield from complete(d, run, command.output, attempt=command.number)
    else:
        why = command.fault or fault("runtime", "no reason was given")
        fail(d, run, why, effect, command.output, command.number)


def _correct(d: Decision, run: Run, command: ReportResult, effect: e.Effect) -> Strand:
    """Correct the facts, and the plan if there is one: its undo has not begun."""
    result: bool | None = None
    trouble: str | None = None
    if effect == "completed" and condition_of(d, run) is not None:
        known = msgspec.structs.replace(run, data=command.output, output=command.output, effect=effect)
        result, trouble = yield from condition(d, known, d.state.cause)
    wanted = undoable(msgspec.structs.replace(run, effect=effect)) and result is not False
    why = None
    if effect == "completed" and not wanted:
        why = IF_IS_FALSE if result is False else why_left(run) if run.effectful else None
    d.emit(
        e.PlanCorrected,
        run=run.id,
        effect=effect,
        output=command.output,
        dropped=not wanted,
        added=wanted,
        why=why,
        condition=result,
        condition_fault=trouble,
    )
