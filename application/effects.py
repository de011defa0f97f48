"""Sends callouts after the commit and takes their results; the only place from which the outside is called.

An attempt that was in flight when its node died is sent again under the same key, with its full timeout (or reported as
uncertain, with ``idempotent: false``): its outcome was never recorded, and nobody else will record it. The same goes for
one whose result could not be handled, as soon as an operator resolves the incident of that.

What the adapters postpone, because its receiver is away, was not sent: it waits here, without a place among those that are
sent, for at most as long as the attempt may take. What nobody wants any more meanwhile is not sent at all.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any
from uuid import UUID

import msgspec
import structlog

from application.callbacks import Callbacks
from application.deferred import NotEvaluatedError, arguments_of
from application.engine import Engine
from application.files import Files
from application.live import Live
from application.measures import Distribution
from application.ownership import Ownership
from application.ports import (
    Answered,
    Callout,
    CalloutResult,
    Callouts,
    Declined,
    Doubtful,
    Expressions,
    Postponed,
    Secrets,
    Unusable,
)
from application.postponed import STOPS, Pauses, is_wanted
from application.storage import Head, LogStore
from application.tracing import trace_of
from domain import commands as c
from domain import events as e
from domain.errors import ContentMissingError, Fault, NotFoundError, OwnershipLostError, StorageError, fault

_log = structlog.get_logger(__name__)
_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 5.0
_OUTCOMES = {Answered: "completed", Unusable: "unusable", Declined: "refused", Doubtful: "uncertain"}
_DROPPED = Postponed(fault("cancelled", "dropped before it was sent"), 0.0)


class _Attempt(msgspec.Struct, frozen=True):
    """What has to be sent, or (`result`) only to be reported."""

    partition: int
    orchestration: UUID
    id: str
    name: tuple[str, str, int]
    """(public id, run, number): what makes it the only one."""
    event: e.AttemptStarted
    result: CalloutResult | None
    trace: str | None = None
    """Of the orchestration, where it is sent on."""


class Effects:
    """Follows commits; every `AttemptStarted` becomes one callout and one `ReportResult`."""

    def __init__(
        self,
        engine: Engine,
        callouts: Callouts,
        expressions: Expressions,
        secrets: Secrets,
        log: LogStore,
        ownership: Ownership,
        callbacks: Callbacks,
        files: Files,
        *,
        at_once: int = 1000,
    ) -> None:
        self._engine = engine
        self._callouts = callouts
        self._expressions = expressions
        self._secrets = secrets
        self._log = log
        self._ownership = ownership
        self._callbacks = callbacks
        self._files = files
        self._slots = asyncio.Semaphore(at_once)
        self._tasks: dict[asyncio.Task[None], tuple[int, deque[_Attempt]]] = {}
        self._in_hand: set[tuple[str, str, int]] = set()
        self._draining: dict[int, asyncio.Event] = {}
        self._resuming: set[asyncio.Task[None]] = set()
        self._stopped = False
        self._leaving = False
        self._pauses = Pauses()
        self.sent: dict[tuple[str, str], Distribution] = {}
        """Seconds from sending to the outcome, by (kind of callout, outcome)."""
        engine.follow(self, e.AttemptStarted, e.IncidentResolved, *STOPS)

    @property
    def in_progress(self) -> int:
        """Attempts that are sent, or wait for their turn."""
        return len(self._in_hand)

    @property
    def postponed(self) -> int:
        """Attempts that wait until their receiver is there again."""
        return len(self._pauses)

    def committed(self, live: Live, events: list[e.Event]) -> None:
        self._pauses.committed(live.id, events)
        for event in events:
            if type(event) is e.AttemptStarted:
                if event.child is None and self._is_ours(event):
                    self._begin(live, event)
            elif type(event) is e.IncidentResolved and _tries_again(live, event):
                self.resume(live, "its result could not be handled")

    def resume(self, live: Live, why: str = "the node died while the request was in flight") -> None:
        """Attempts whose outcome was never recorded, because the node died or could not handle the result. Those that are
        in hand here are left alone, so this may be called at any time.
        """
        for name in list(live.state.open):
            run = live.state.runs[name]
            if not run.flying or run.child is not None or run.request is None or not self._is_ours(run.request):
                continue
            lost = None if run.request.idempotent else Doubtful(fault("communication", why))
            self._begin(live, run.request, lost)

    def _is_ours(self, event: e.AttemptStarted) -> bool:
        """Whether it is carried out in this process, and not by a remote worker."""
        return event.callout != "function" or self._callouts.knows(event.function)

    # Ownership --------------------------------------------------------------------------------------------------------

    def gained(self, head: Head) -> None:
        """Send again what was in flight when the last owner ended."""
        task = asyncio.get_running_loop().create_task(self._resume_all(head.partition))
        self._resuming.add(task)
        task.add_done_callback(self._resuming.discard)

    def lost(self, partition: int) -> None:
        """Nobody wants these results from us; the next owner sends again, under the same keys."""
        self._draining.pop(partition, None)
        for task, (of, _) in self._tasks.items():
            if of == partition:
                task.cancel()

    async def drain(self, partition: int) -> None:
        """Returns when nothing of it is in flight. Meanwhile new attempts are left to the next owner, but for those that
        may not be sent by anyone but the one who decided to.
        """
        drained = self._draining.setdefault(partition, asyncio.Event())
        self._pauses.end()
        if any(of == partition for of, _ in self._tasks.values()):
            await drained.wait()

    async def _resume_all(self, partition: int) -> None:
        pause, after = _PAUSE_S, None
        while self._ownership.holds(partition):
            try:
                while page := await self._log.in_flight(partition, after):
                    for orchestration in page:
                        await self._resume_one(partition, orchestration)
                    after = page[-1]
                return
            except OwnershipLostError:
                return
            except StorageError as error:
                _log.warning("effects.not_resumed", detail=error.detail)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_S)

    async def _resume_one(self, partition: int, orchestration: UUID) -> None:
        try:
            self.resume(await self._engine.cache.load_at(partition, orchestration))
        except ContentMissingError as error:  # it waits until that is restored; the others need not
            _log.error("effects.not_resumed", detail=error.detail)

    async def stop(self, grace_s: float) -> None:
        """Let what is in flight end, at most `grace_s`; the rest is sent again after the restart. New attempts are left to
        the next owner, as in `drain`.
        """
        for task in self._resuming:
            task.cancel()
        self._leaving = True
        self._pauses.end()
        now = asyncio.get_running_loop().time
        until = now() + grace_s
        while self._tasks and (left_s := until - now()) > 0:
            await asyncio.wait(list(self._tasks), timeout=left_s)
        for task in self._tasks:
            task.cancel()
        self._stopped = True
        await asyncio.gather(*self._tasks, *self._resuming, return_exceptions=True)

    # Sending ----------------------------------------------------------------------------------------------------------

    def _begin(self, live: Live, event: e.AttemptStarted, result: CalloutResult | None = None) -> None:
        """Send it, or report what is known already. Once per attempt and process: what is unfinished may be taken up while
        it is in hand.
        """
        name = live.id, event.run, event.number
        if name in self._in_hand or (self._leaves(live.partition) and event.idempotent):
            return
        if self._stopped:  # a command that came late has begun it; nobody here would wait for the answer
            return
        self._in_hand.add(name)
        trace = None if event.callout in ("function", "sql") else trace_of(live.state)
        attempt = _Attempt(live.partition, live.orchestration, live.id, name, event, result, trace)
        current = asyncio.current_task()
        mine = self._tasks.get(current) if current is not None else None
        if mine is not None and not mine[1]:
            mine[1].append(attempt)  # one thing after the other: the task that reported goes on with what comes of it
            return
        queue = deque((attempt,))
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(self._work(queue))
        self._tasks[task] = (live.partition, queue)
        task.add_done_callback(self._ended)

    async def _work(self, queue: deque[_Attempt]) -> None:
        while queue:
            attempt = queue[0]
            try:
                result = await self._outcome(attempt) if attempt.result is None else attempt.result
                queue.popleft()
                if result is not None:
                    await self._report(attempt, result)
            finally:
                self._in_hand.discard(attempt.name)

    def _ended(self, task: asyncio.Task[None]) -> None:
        partition, queue = self._tasks.pop(task)
        for attempt in queue:  # it was cancelled before it came to these
            self._in_hand.discard(attempt.name)
        drained = self._draining.get(partition)
        if drained is not None and not any(of == partition for of, _ in self._tasks.values()):
            drained.set()

    async def _outcome(self, attempt: _Attempt) -> CalloutResult | None:
        """What came of it; None: it was not sent, and the next owner will. It is sent as soon as its receiver is there; its
        timeout counts from then on.
        """
        result = await self._send(attempt)
        if not isinstance(result, Postponed):
            return result
        now = asyncio.get_running_loop().time
        until = now() + attempt.event.timeout_s
        while isinstance(result, Postponed) and (left_s := until - now()) > 0:
            is_last = result.retry_after_s >= left_s
            if not self._leaves(attempt.partition):
                await self._pauses.rest(attempt.id, min(result.retry_after_s, left_s))
            if not await is_wanted(self._engine.cache, attempt.partition, attempt.orchestration, attempt.event):
                return _DROPPED
            if self._leaves(attempt.partition):
                return None if attempt.event.idempotent else result
            if is_last and now() >= until:
                return msgspec.structs.replace(result, retry_after_s=max(0.0, result.retry_after_s - left_s))
            result = await self._send(attempt)
        return result

    def _leaves(self, partition: int) -> bool:
        return self._leaving or partition in self._draining

    async def _send(self, attempt: _Attempt) -> CalloutResult:
        event = attempt.event
        arguments = event.arguments
        async with self._slots:
            if event.deferred:
                try:
                    arguments = await arguments_of(event, attempt.id, self._expressions, self._secrets, self._callbacks)
                except NotEvaluatedError as error:
                    return Declined(error.fault)
                except Exception as error:
                    _log.exception("callout.not_prepared", orchestration=attempt.id, task=event.run)
                    return Declined(fault("runtime", f"the request could not be prepared: {type(error).__name__}"))
            began_s = asyncio.get_running_loop().time()
            try:
                result = await self._callouts.send(_callout(attempt, arguments, self._files))
            except Exception as error:  # a defect of the adapter must not leave the attempt without an outcome
                _log.exception("callout.broken", orchestration=attempt.id, task=event.run)
                result = Doubtful(fault("runtime", f"the callout broke: {type(error).__name__}"))
            if isinstance(result, Postponed):
                return result
            known = event.callout, _OUTCOMES[type(result)]
            if known not in self.sent:
                self.sent[known] = Distribution()
            self.sent[known].add(asyncio.get_running_loop().time() - began_s)
            return result

    async def _report(self, attempt: _Attempt, result: CalloutResult) -> None:
        """Hand the result in until it is recorded: a database that is away for a while loses nothing."""
        pause = _PAUSE_S
        run, number = attempt.event.run, attempt.event.number
        if attempt.event.callback:
            result = self._callbacks.without_token(attempt.id, run, result)
        members = _members(self._secrets.redact, result)
        if isinstance(result, Postponed) and attempt.event.compensates is not None:
            members["retryable"] = True  # an undo goes on as soon as it can
        place = attempt.partition, attempt.orchestration
        while True:
            try:
                await self._engine.execute(
                    place, lambda _: self._engine.command(c.ReportResult, run=run, number=number, **members)
                )
                return
            except (OwnershipLostError, NotFoundError):
                return
            except StorageError as error:
                _log.warning("result.not_recorded", orchestration=attempt.id, task=run, detail=error.detail)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_S)
            except Exception as error:
                _log.exception("result.poison", orchestration=attempt.id, task=run)
                await self._engine.report_poison(*place, f"a result could not be handled: {error!r}")
                return


def _callout(attempt: _Attempt, arguments: Any, files: Files) -> Callout:
    event = attempt.event
    return Callout(
        kind=event.callout,  # type: ignore[arg-type]
        function=event.function,
        arguments=arguments,
        idempotency_key=event.key,
        attempt=event.number,
        timeout_s=event.timeout_s,
        orchestration=attempt.id,
        task=event.run.rpartition("#")[0],
        compensates=event.compensates,
        trace=attempt.trace,
        files=None if event.callout in ("function", "sql") else files.of(attempt.id),
    )


def _tries_again(live: Live, event: e.IncidentResolved) -> bool:
    """Whether an operator wants to see if a defect is gone."""
    return event.action == "retry" and live.state.incidents[event.number - 1].kind == "poison"


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
        case Postponed(why, retry_after_s):
            return {"outcome": "unsent", "fault": _redacted(redact, why), "retry_after_s": retry_after_s}


def _redacted(redact: Any, why: Fault) -> Fault:
    return Fault(**redact(why.as_json()))
