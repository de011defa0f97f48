"""Publishes emitted events after their commit: to the listeners of this service, then to the sink.

At least once, in order per orchestration, under the event's own source and id so that receivers can drop repeats. A sink
that fails delays the events of that orchestration and nothing else: where very many are delayed, each attempt tries some and
the next one goes on behind them.
"""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import msgspec
import structlog

from application.engine import Engine
from application.exchange import EventExchange
from application.forwarding import NOBODY
from application.live import Live
from application.ownership import Ownership
from application.ports import DeliveryError, EventSink
from application.storage import Head, LogStore
from domain import events as e
from domain.errors import EventIdReusedError, NodeUnavailableError, StorageError

_log = structlog.get_logger(__name__)
_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
_PAGE = 500
_LAST = 2**31 - 1
_MOST_BLOCKED = 500
"""Orchestrations whose events the sink refused, in one attempt: a sink that is away is not asked for each and every one."""


class Outbox:
    """One loop per process; woken by commits that emit."""

    def __init__(
        self, engine: Engine, log: LogStore, exchange: EventExchange, sink: EventSink, ownership: Ownership
    ) -> None:
        self._ownership = ownership
        self._log = log
        self._exchange = exchange
        self._sink = sink
        self._waiting: set[int] = set()
        self._behind: dict[int, tuple[UUID, int]] = {}
        """Behind which event the next attempt begins, where the last one was given up on the way."""
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        engine.follow(self, e.EventEmitted, e.TaskEscalated)

    def committed(self, live: Live, events: list[e.Event]) -> None:
        self._waiting.add(live.partition)
        self._wake.set()

    def gained(self, head: Head) -> None:
        """What the last owner left unpublished."""
        self._waiting.add(head.partition)
        self._wake.set()

    def lost(self, partition: int) -> None:
        """The next owner publishes what is left; what is just being published may be published twice."""
        self._waiting.discard(partition)
        self._behind.pop(partition, None)

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="outbox")

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        pause = _PAUSE_S
        while True:
            self._wake.clear()
            later: set[int] = set()
            for partition in sorted(self._waiting):
                self._waiting.discard(partition)
                try:
                    if not await self._publish(partition):
                        later.add(partition)
                except (StorageError, NodeUnavailableError) as error:
                    _log.warning("outbox.not_read", detail=error.detail)
                    later.add(partition)
                except Exception:
                    _log.exception("outbox.broken")
                    later.add(partition)
            self._waiting |= {partition for partition in later if self._ownership.holds(partition)}
            pause = min(pause * 2, _LONGEST_PAUSE_S) if later else _PAUSE_S
            if self._waiting - later:
                continue
            try:
                await asyncio.wait_for(self._wake.wait(), pause if later else None)
            except TimeoutError:
                continue

    async def _publish(self, partition: int) -> bool:
        """Publish what is there; False when something has to be tried again later."""
        blocked: set[UUID] = set()
        begun = after = self._behind.pop(partition, None)
        while self._ownership.holds(partition):
            rows = await self._log.emitted(partition, _PAGE, after)
            if not rows:
                return not blocked and begun is None
            done: list[tuple[UUID, int]] = []
            for orchestration, number, body in rows:
                after = orchestration, number
                if orchestration in blocked:
                    continue
                if await self._sent(msgspec.json.decode(body)):
                    done.append(after)
                else:
                    blocked.add(orchestration)
                    if len(blocked) == _MOST_BLOCKED:
                        break
            if done:
                await self._log.published(partition, done)
            if len(blocked) == _MOST_BLOCKED:
                # The rest of this orchestration's events waits for this one.
                self._behind[partition] = orchestration, _LAST
                return False
        return True

    async def _sent(self, event: dict[str, Any]) -> bool:
        """Whether everybody has it who shall."""
        try:
            await self._exchange.publish(event, NOBODY)
        except EventIdReusedError:
            _log.warning("outbox.event_id_reused", source=event["source"], id=event["id"])
        try:
            await self._sink.publish(event)
        except DeliveryError as error:
            _log.warning("outbox.sink_failed", detail=str(error))
            return False
        return True
