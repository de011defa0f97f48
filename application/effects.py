"""Sends callouts after the commit and takes their results; the only place from which the outside is called.

An attempt that was in flight when its node died is sent again under the same key, with its full timeout (or reported as
uncertain, with ``idempotent: false``): its outcome was never recorded, and nobody else will record it. The same goes for
one whose result could not be handled, as soon as an operator resolves the incident of that.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

import structlog

from application.engine import Engine
from application.live import Live
from application.ports import (
    Answered,
    Callout,
    CalloutResult,
    Callouts,
    Declined,
    Doubtful,
    Expressions,
    Secrets,
    Unusable,
)
from domain import commands as c
from domain import events as e
from domain.data import planted
from domain.errors import Fault, NotFoundError, OwnershipLostError, StorageError, fault
from domain.expressions import Evaluation, EvaluationFailed

_log = structlog.get_logger(__name__)
_SECRET = re.compile(r'\$secrets\s*(?:\.\s*([A-Za-z_]\w*)|\.?\s*\[\s*"([^"]+)"\s*\])')
_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 5.0


class Effects:
    """Follows commits; every `AttemptStarted` becomes one callout and one `ReportResult`."""

    def __init__(
        self, engine: Engine, callouts: Callouts, expressions: Expressions, secrets: Secrets, *, at_once: int = 1000
    ) -> None:
        self._engine = engine
        self._callouts = callouts
        self._expressions = expressions
        self._secrets = secrets
        self._slots = asyncio.Semaphore(at_once)
        self._tasks: set[asyncio.Task[None]] = set()
        self._in_hand: set[tuple[str, str, int]] = set()
        engine.follow(self)

    def committed(self, live: Live, events: list[e.Event]) -> None:
        for event in events:
            if isinstance(event, e.AttemptStarted) and event.child is None:
                self._spawn(live.id, event)
            elif isinstance(event, e.IncidentResolved) and _tries_again(live, event):
                self.resume(live, "its result could not be handled")

    def resume(self, live: Live, why: str = "the node died while the request was in flight") -> None:
        """Attempts whose outcome was never recorded, because the node died or could not handle the result. Those that are
        in hand here are left alone, so this may be called at any time.
        """
        for name in list(live.state.open):
            run = live.state.runs[name]
            if not run.flying or run.child is not None or run.request is None:
                continue
            lost = None if run.request.idempotent else Doubtful(fault("communication", why))
            self._spawn(live.id, run.request, lost)

    async def stop(self, grace_s: float) -> None:
        """Let what is in flight end, at most `grace_s`; the rest is sent again after the restart."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, public_id: str, attempt: e.AttemptStarted, result: CalloutResult | None = None) -> None:
        """Send it, or report what is known already. Once per attempt and process: what is unfinished may be taken up while
        it is in hand.
        """
        name = (public_id, attempt.run, attempt.number)
        if name in self._in_hand:
            return
        work = self._send(public_id, attempt) if result is None else self._report(public_id, attempt, result)
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._in_hand.add(name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: self._in_hand.discard(name))

    async def _send(self, public_id: str, attempt: e.AttemptStarted) -> None:
        async with self._slots:
            try:
                arguments = await self._arguments(attempt)
            except _NotEvaluatedError as error:
                result: CalloutResult = Declined(error.fault)
            except Exception as error:
                _log.exception("callout.not_prepared", orchestration=public_id, task=attempt.run)
                result = Declined(fault("runtime", f"the request could not be prepared: {type(error).__name__}"))
            else:
                result = await self._exchange(public_id, attempt, arguments)
        await self._report(public_id, attempt, result)

    async def _exchange(self, public_id: str, attempt: e.AttemptStarted, arguments: Any) -> CalloutResult:
        callout = Callout(
            kind=attempt.callout,  # type: ignore[arg-type]
            function=attempt.function,
            arguments=arguments,
            idempotency_key=attempt.key,
            attempt=attempt.number,
            timeout_s=attempt.timeout_s,
            orchestration=public_id,
            task=attempt.run.rpartition("#")[0],
            compensates=attempt.compensates,
        )
        try:
            return await self._callouts.send(callout)
        except Exception as error:  # a defect of the adapter must not leave the attempt without an outcome
            _log.exception("callout.broken", orchestration=public_id, task=attempt.run)
            return Doubtful(fault("runtime", f"the callout broke: {type(error).__name__}"))

    async def _arguments(self, attempt: e.AttemptStarted) -> Any:
        """The recorded arguments; parts that mention secrets are evaluated here and recorded nowhere."""
        if not attempt.deferred:
            return attempt.arguments
        batch = []
        for _, program, names, values in attempt.deferred:
            known = {}
            for name in _mentioned(program):
                secret = self._secrets.get(name)
                if secret is None:
                    raise _NotEvaluatedError(fault("authorization", f"there is no secret named {name}"))
                known[name] = secret
            batch.append(Evaluation(program, (*names, "secrets"), (*values, known)))
        filled: dict[tuple[str | int, ...], Any] = {}
        for (path, *_), result in zip(attempt.deferred, await self._expressions.evaluate(batch), strict=True):
            if isinstance(result, EvaluationFailed):
                detail = str(self._secrets.redact(result.detail))
                raise _NotEvaluatedError(fault("expression", f"with/{'/'.join(map(str, path))}: {detail}"))
            filled[tuple(path)] = result.value
        return planted(attempt.arguments, filled)

    async def _report(self, public_id: str, attempt: e.AttemptStarted, result: CalloutResult) -> None:
        """Hand the result in until it is recorded: a database that is away for a while loses nothing."""
        pause = _PAUSE_S
        members = _members(self._secrets.redact, result)
        while True:
            try:
                await self._engine.execute(
                    public_id,
                    lambda _: self._engine.command(c.ReportResult, run=attempt.run, number=attempt.number, **members),
                )
                return
            except (OwnershipLostError, NotFoundError):
                return
            except StorageError as error:
                _log.warning("result.not_recorded", orchestration=public_id, task=attempt.run, detail=error.detail)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_S)
            except Exception as error:
                _log.exception("result.poison", orchestration=public_id, task=attempt.run)
                place = self._engine.identity.locate(public_id)
                await self._engine.report_poison(*place, f"a result could not be handled: {error!r}")
                return


def _tries_again(live: Live, event: e.IncidentResolved) -> bool:
    """Whether an operator wants to see if a defect is gone."""
    return event.action == "retry" and live.state.incidents[event.number - 1].kind == "poison"


class _NotEvaluatedError(Exception):
    def __init__(self, why: Fault) -> None:
        self.fault = why
        super().__init__(why.detail)


def _mentioned(program: str) -> list[str]:
    """Names of the secrets that a program reads, as ``$secrets.name`` or ``$secrets["name"]``."""
    return list(dict.fromkeys(a or b for a, b in _SECRET.findall(program)))


def _members(redact: Any, result: CalloutResult) -> dict[str, Any]:
    match result:
        case Answered(output):
            return {"outcome": "completed", "output": redact(output)}
        case Unusable(why, output):
            return {"outcome": "unusable", "output": redact(output), "fault": _redacted(redact, why)}
        case Declined(why, retry_after_s):
            return {"outcome": "refused", "fault": _redacted(redact, why), "retry_after_s": retry_after_s}
        case Doubtful(why, retry_after_s):
            return {"outcome": "uncertain", "fault": _redacted(redact, why), "retry_after_s": retry_after_s}


def _redacted(redact: Any, why: Fault) -> Fault:
    return Fault(**redact(why.as_json()))
