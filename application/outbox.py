"""Publishes emitted events after their commit: to the listeners of this service, then to the sink.

At least once, in order per orchestration, under the event's own source and id so that receivers can drop repeats. A sink
that fails delays the events of that orchestration and nothing else: where very many are delayed, each attempt tries some and
the next one goes on behind them. A sink that is away altogether is not asked for each of them. Events of several
orchestrations are on their way at a time, of one orchestration only one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import groupby
from typing import Any, Final
from uuid import UUID

import msgspec
import structlog

from application.engine import Engine
from application.exchange import EventExchange
from application.forwarding import NOBODY
from application.live import Live
from application.ownership import Ownership
from application.ports import DeliveryError, EventSink, SinkAwayError
from application.storage import Head, LogStore
from domain import events as e
from domain.errors import EventIdReusedError, NodeUnavailableError, StorageError

_log = structlog.get_logger(__name__)
_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
_LONGEST_AWAY_S = 5.0
"""Between two attempts at a sink that is away: trying costs one connection."""
_PAGE = 500
_LAST = 2**31 - 1
_MOST_BLOCKED = 500
"""Orchestrations whose events the sink refused, in one attempt: a sink that is away is not asked for each and every one."""
_AT_ONCE: Final = 16
"""Orchestrations whose events are on their way at a time."""
_Row = tuple[UUID, int, bytes]


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
        self._refused: dict[int, int] = {}
        self._away = False
        self._behind: dict[int, tuple[UUID, int]] = {}
        """Behind which event the next attempt begins, where the last one was given up on the way."""
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        engine.follow(self, e.EventEmitted, e.TaskEscalated)

    @property
    def delayed(self) -> int:
        """Events of our partitions that could not be sent when last tried (at most a page of each)."""
        return sum(self._refused.values())

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
        self._refused.pop(partition, None)

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
            self._away = False
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
            longest_s = _LONGEST_AWAY_S if self._away else _LONGEST_PAUSE_S
            pause = min(pause * 2, longest_s) if later else _PAUSE_S
            if self._waiting - later:
                continue
            try:
                await asyncio.wait_for(self._wake.wait(), pause if later else None)
            except TimeoutError:
                continue

    async def _publish(self, partition: int) -> bool:
        """Publish what is there; False when something has to be tried again later."""
        blocked: set[UUID] = set()
        refused = 0
        begun = after = self._behind.pop(partition, None)
        while self._ownership.holds(partition):
            rows = await self._log.emitted(partition, _PAGE, after)
            if not rows:
                self._refused[partition] = refused
                return not blocked and begun is None
            for some in _some_at_a_time(_by_orchestration(rows)):
                open_ = [each for each in some if each[0][0] not in blocked]
                # All of them are awaited whatever happens, so that none is still on its way in the next attempt.
                ended = await asyncio.gather(*map(self._in_order, open_), return_exceptions=True)
                sent = [0 if isinstance(each, BaseException) else each for each in ended]
                done = [each[:2] for rows_, count in zip(open_, sent, strict=True) for each in rows_[:count]]
                if done:
                    await self._log.published(partition, done)
                for each in ended:
                    if isinstance(each, BaseException):
                        raise each
                late = [each for each, count in zip(open_, sent, strict=True) if count < len(each)]
                blocked |= {each[0][0] for each in late}
                refused += sum(map(len, some)) - len(done)
                after = some[-1][-1][:2]
                if self._away:
                    self._refused[partition] = max(refused, len(rows))
                    return False
                if len(blocked) >= _MOST_BLOCKED:
                    # The rest of this orchestration's events waits for this one.
                    self._behind[partition] = after[0], _LAST
                    self._refused[partition] = refused
                    return False
        return True

    async def _in_order(self, rows: Sequence[_Row]) -> int:
        """Send events of one orchestration up to the first that fails; how many were sent."""
        for count, (_, _, body) in enumerate(rows):
            if self._away or not await self._sent(msgspec.json.decode(body)):
                return count
        return len(rows)

    async def _sent(self, event: dict[str, Any]) -> bool:
        """Whether everybody has it who shall."""
        try:
            await self._exchange.publish(event, NOBODY)
        except EventIdReusedError:
            _log.warning("outbox.event_id_reused", source=event["source"], id=event["id"])
        try:
            await self._sink.publish(event)
        except DeliveryError as error:
            if not self._away:
                _log.warning("outbox.sink_failed", detail=str(error))
            self._away = self._away or isinstance(error, SinkAwayError)
            return False
        except Exception:  # a defect in what takes one event must not keep those of others
            _log.exception("outbox.event_broken", source=event["source"], id=event["id"])
            return False
        return True


def _by_orchestration(rows: Sequence[_Row]) -> list[list[_Row]]:
    return [list(each) for _, each in groupby(rows, key=lambda row: row[0])]


def _some_at_a_time(groups: list[list[_Row]]) -> list[list[list[_Row]]]:
    return [groups[begin : begin + _AT_ONCE] for begin in range(0, len(groups), _AT_ONCE)]
