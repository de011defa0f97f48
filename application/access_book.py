"""Writes down who reads what: what lasts before its first byte is given away, single pages right after, many at a time.

A page of the feed or of a history is read often, so its record does not hold the reader up: it waits in memory for the next
batch, half a second at most. A node that is killed in between loses these few. While they cannot be written, reading goes on
only until a bounded number waits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Final

import msgspec
import structlog

from application.accesses import Access, AccessStore, What
from application.identity import Chance
from application.ports import Clock
from domain.base62 import LENGTH, base62
from domain.errors import OverloadedError, StorageError

_log = structlog.get_logger(__name__)
_PAUSE_S: Final = 0.5
_MOST_WAITING: Final = 5_000
_BATCH: Final = 200


class AccessBook:
    """One per node; it writes to one chain, drawn when the first is written, so nodes seldom wait for each other."""

    def __init__(self, store: AccessStore, clock: Clock, chance: Chance, partitions: int) -> None:
        self._store = store
        self._clock = clock
        self._chance = chance
        self._partitions = partitions
        self._partition: int | None = None
        self._waiting: deque[Access] = deque()
        self._writing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def stop(self) -> None:
        """What waits is written, if the database takes it."""
        if self._task is not None:
            async with self._writing:  # what is being written must not be written again
                self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        try:
            await self.flush()
        except StorageError as error:
            _log.warning("accesses.lost", count=len(self._waiting), detail=error.detail)

    def read(self, actor: str, what: What, events: int, **members: Any) -> None:
        """A page was read. Members as of `Access`. Raises OverloadedError when too many wait to be written."""
        self.admit()
        self._note(self._access(actor, what, step="read", events=events, **members))

    async def given(self, actor: str, what: What, events: int, **members: Any) -> None:
        """Something is about to be given away as a whole; returns when that is written. Raises StorageError."""
        await self._store.append(self._chain, [self._access(actor, what, events=events, **members)])

    async def began(self, actor: str, what: What, **members: Any) -> Access:
        """Something that lasts begins; returns when that is written. Raises StorageError."""
        access = self._access(actor, what, step="began", **members)
        await self._store.append(self._chain, [access])
        return access

    def ended(self, access: Access, events: int) -> None:
        """It is over, or was broken off, after so many events."""
        self._note(msgspec.structs.replace(access, at=self._clock.now(), step="ended", events=events))

    def admit(self) -> None:
        """Raises OverloadedError when too many wait to be written."""
        if len(self._waiting) >= _MOST_WAITING:
            raise OverloadedError("Who reads what cannot be written down at present; repeat the request later.")

    def _access(self, actor: str, what: What, **members: Any) -> Access:
        id_ = "a_" + base62(self._chance.random_bytes(LENGTH))
        return Access(id=id_, at=self._clock.now(), actor=actor, what=what, **members)

    @property
    def _chain(self) -> int:
        if self._partition is None:
            self._partition = int.from_bytes(self._chance.random_bytes(4)) % self._partitions
        return self._partition

    def _note(self, access: Access) -> None:
        self._waiting.append(access)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run(), name="accesses")

    async def flush(self) -> None:
        """Write what waits. Raises StorageError, and then it still waits."""
        async with self._writing:
            while self._waiting:
                batch = [self._waiting[index] for index in range(min(_BATCH, len(self._waiting)))]
                await self._store.append(self._chain, batch)
                for _ in batch:
                    self._waiting.popleft()

    async def _run(self) -> None:
        """While anything waits."""
        while self._waiting:
            await asyncio.sleep(_PAUSE_S)
            try:
                await self.flush()
            except StorageError as error:
                _log.warning("accesses.not_written", detail=error.detail)
