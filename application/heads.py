"""Waiting for anything at all to happen: one look at the heads of all partitions, shared by all who wait."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from application.watching import Watch
from application.whole_log import WholeLog
from domain.errors import StorageError

_log = structlog.get_logger(__name__)
_POLL_S: Final = 0.1


class HeadWatch:
    """One per node. It asks the database only while somebody waits."""

    def __init__(self, log: WholeLog, watch: Watch, partitions: int) -> None:
        self._log = log
        self._watch = watch
        self._partitions = partitions
        self._latest: list[int] = []
        self._waiting: set[asyncio.Future[None]] = set()
        self._poll: asyncio.Task[None] | None = None

    @property
    def closed(self) -> bool:
        """Whether the service stops: nobody waits any more."""
        return self._watch.closed

    async def now(self) -> list[int]:
        """The position of the last committed event of each partition."""
        return await self._log.heads(self._partitions)

    async def beyond(self, seen: Sequence[int], timeout_s: float) -> list[int] | None:
        """The heads once they are others than those seen; None when the time is over or the service stops."""
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_s
        while not self.closed and loop.time() < until:
            future: asyncio.Future[None] = loop.create_future()
            self._waiting.add(future)
            if self._poll is None or self._poll.done():
                self._poll = loop.create_task(self._look(), name="heads")
            try:
                async with asyncio.timeout_at(until):
                    await future
            except TimeoutError:
                return None
            finally:
                self._waiting.discard(future)
            if self._latest != list(seen):
                return list(self._latest)
        return None

    async def _look(self) -> None:
        while self._waiting:
            try:
                self._latest = await self.now()
            except StorageError as error:
                _log.warning("heads.not_read", detail=error.detail)
            else:
                for future in self._waiting:
                    if not future.done():
                        future.set_result(None)
            await asyncio.sleep(_POLL_S)
