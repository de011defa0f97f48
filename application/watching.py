"""Waiting for an orchestration to move: long polls and streams are woken by commits.

Commits of this node wake at once. What another node owns is watched through the heads of the partitions concerned, in one
poll for all who wait; a watcher is woken when the head of its partition has moved, and once a second to be sure.
"""

from __future__ import annotations

import asyncio
from typing import Final
from uuid import UUID

import structlog

from application.engine import Engine, Place
from application.live import Live
from application.ownership import Ownership
from application.storage import Head, LogStore
from domain import events as e
from domain.errors import StorageError

_log = structlog.get_logger(__name__)
_POLL_S: Final = 0.05
_SURELY_S: Final = 1.0

Watchers = dict[UUID, dict[asyncio.Future[None], bool]]
"""By orchestration: who waits, and whether for its end alone."""


class Watch:
    """Follows commits and wakes whoever watches that orchestration."""

    def __init__(self, engine: Engine, ownership: Ownership, log: LogStore) -> None:
        self._ownership = ownership
        self._log = log
        self._waiting: dict[int, Watchers] = {}
        self._closed = False
        self._poll: asyncio.Task[None] | None = None
        engine.follow(self)

    def committed(self, live: Live, events: list[e.Event]) -> None:
        watchers = self._waiting.get(live.partition)
        if watchers and (waiting := watchers.get(live.orchestration)):
            ended = live.state.final
            _wake(future for future, ended_only in waiting.items() if ended or not ended_only)

    def gained(self, head: Head) -> None:
        self._wake_all(head.partition)

    def lost(self, partition: int) -> None:
        """From now on others move it: whoever watches begins again."""
        self._wake_all(partition)

    def _wake_all(self, partition: int) -> None:
        for futures in self._waiting.pop(partition, {}).values():
            _wake(futures)

    def close(self) -> None:
        """Everyone who waits returns; nobody waits any more."""
        self._closed = True
        for partition in list(self._waiting):
            self._wake_all(partition)
        if self._poll is not None:
            self._poll.cancel()

    @property
    def closed(self) -> bool:
        return self._closed

    async def changed(self, place: Place, timeout_s: float, *, ended_only: bool = False) -> bool:
        """Whether something was committed for it (or may have been) before the time was over. `ended_only`: commits that do
        not end it may be passed over.
        """
        if self._closed or timeout_s <= 0:
            return False
        partition, orchestration = place
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._waiting.setdefault(partition, {}).setdefault(orchestration, {})[future] = ended_only
        if not self._ownership.answers(partition) and (self._poll is None or self._poll.done()):
            self._poll = loop.create_task(self._poll_heads(), name="watch")
        timer = loop.call_later(timeout_s, _expire, future)
        try:
            await future
        except TimeoutError:
            return False
        finally:
            timer.cancel()
            self._forget(partition, orchestration, future)
        return not self._closed

    def _forget(self, partition: int, orchestration: UUID, future: asyncio.Future[None]) -> None:
        watchers = self._waiting.get(partition, {})
        futures = watchers.get(orchestration)
        if futures is not None:
            futures.pop(future, None)
            if not futures:
                del watchers[orchestration]
            if not watchers:
                self._waiting.pop(partition, None)

    async def _poll_heads(self) -> None:
        """While anyone watches what is not ours. A watcher may have read before the last look was over, so the look before
        that counts.
        """
        loop = asyncio.get_running_loop()
        before: dict[int, int] = {}
        latest: dict[int, int] = {}
        surely_at = loop.time() + _SURELY_S
        while partitions := [each for each in self._waiting if not self._ownership.answers(each)]:
            await asyncio.sleep(_POLL_S)
            try:
                now = dict(await self._log.positions(partitions))
            except StorageError:
                continue
            everyone = loop.time() >= surely_at
            surely_at = loop.time() + _SURELY_S if everyone else surely_at
            for partition, position in now.items():
                if everyone or position != before.get(partition, latest.get(partition)):
                    self._wake_all(partition)
            before, latest = latest, now


def _expire(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_exception(TimeoutError())


def _wake(futures: object) -> None:
    for future in list(futures):  # type: ignore[call-overload]
        if not future.done():
            future.set_result(None)
