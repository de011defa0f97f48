"""Callbacks: a task whose call was only acknowledged is done when somebody posts to its address.

The address stands for the run, not for one attempt: it stays valid when the call is tried again, and what is posted before
the call's own answer was recorded counts just the same. It is taken once. What is posted after the run was given up corrects
the facts like any late result; the poster is told that nobody waits any more.
"""

from __future__ import annotations

from typing import Any

import msgspec

from domain import events as e
from domain.attempts import acknowledges, late, not_completed
from domain.commands import ReportCallback, ReportResult
from domain.decision import Decision, Strand
from domain.errors import Fault, NotFoundError, StaleTokenError
from domain.flow import complete
from domain.state import Run

_RESULT = ("outcome", "output", "retryable")


def take(d: Decision, command: ReportCallback) -> None:
    """Take what was posted. No events: it was taken before. Raises NotFoundError, StaleTokenError."""
    run = d.state.runs.get(command.run)
    if run is None or not acknowledges(run):
        raise NotFoundError("There is no such callback.")
    if run.called == command.digest:
        return
    if run.called is not None:
        raise StaleTokenError("The task was called back before, with something else.")
    result = _result(d, run, command)
    if not run.open:
        _too_late(d, run, result, command.digest)
        return
    if run.status == "retrying" and command.outcome != "completed":
        raise StaleTokenError("This attempt was given up before; the next one will be sent.")
    d.emit(e.CallbackReceived, run=run.id, number=result.number, digest=command.digest)
    if d.state.suspended:
        d.emit(e.ResultRecorded, run=run.id, number=result.number, result=_recorded(result))
    else:
        d.spawn(taken(d, run, result))


def taken(d: Decision, run: Run, result: ReportResult) -> Strand:
    """What it means for the flow. `result`: what was posted, as a result of the latest attempt."""
    if not run.open:
        yield from late(d, run, result, called_back=True)
    elif result.outcome == "completed":
        yield from complete(d, run, result.output, attempt=result.number)
    else:
        yield from not_completed(d, run, result)


def _too_late(d: Decision, run: Run, result: ReportResult, digest: bytes) -> None:
    """Recorded as long as it tells something new: whether what is in doubt was done."""
    if not run.doubts or result.outcome == "uncertain":
        raise StaleTokenError("Nobody waits for this callback any more.")
    if run.held and run.pivot:
        d.emit(e.CallbackReceived, run=run.id, number=result.number, digest=digest)
    d.spawn(late(d, run, result, called_back=True))


def _result(d: Decision, run: Run, command: ReportCallback) -> ReportResult:
    """What was posted as the result of an attempt: the latest, or the latest that is in doubt."""
    number = run.doubts[-1] if run.doubts and not run.open else run.attempts
    return ReportResult(
        at=d.now,
        seed=command.seed,
        run=run.id,
        number=number,
        outcome=command.outcome,
        output=command.output,
        fault=None if command.error is None else msgspec.convert(command.error, Fault),
        retryable=command.retryable or None,
    )


def _recorded(result: ReportResult) -> dict[str, Any]:
    """The result as it is kept until a resume."""
    members: dict[str, Any] = {name: value for name in _RESULT if (value := getattr(result, name)) not in (None, False)}
    if result.fault is not None:
        members["fault"] = msgspec.to_builtins(result.fault)
    return members | {"callback": True}
