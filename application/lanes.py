"""Batches and their turns: a lane commits one batch after the other, the next one is what arrived meanwhile.

A journal has as many lanes as its database commits side by side: while one waits for the disk, what another has committed
goes on. A partition belongs to one lane, so what is committed in it stays in order. A batch has at most 500 events, and a
lane never waits for company.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final
from uuid import UUID

import msgspec
import structlog

from application.blob_store import BlobRow
from application.storage import WorkChange
from domain.errors import StorageAwayError, StorageError
from domain.events import Event

LARGEST_BATCH: Final = 500
FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 1.0
_TRIES_ALONE: Final = 3

_log = structlog.get_logger(__name__)


class Appended(msgspec.Struct, gc=False):
    """Events of one orchestration: `version` and `event_hash` are those of its last event before."""

    orchestration: UUID
    version: int
    event_hash: bytes
    events: Sequence[Event]
    states: Sequence[bytes] = ()
    """Their bytes; the journal makes them."""
    large_bytes: int = 0
    """Of large values that were taken out of them; the journal says so."""


class Entry(msgspec.Struct):
    partition: int
    epoch: int
    streams: list[Appended]
    work: list[WorkChange]
    done: asyncio.Future[list[bytes]]
    size: int
    """How many events it holds."""
    blobs: Sequence[BlobRow] = ()
    tries: int = 0
    in_doubt: bool = False
    """A transaction with it was not found committed, but may be on its way: nobody can say that it will not happen."""


class Lane:
    """Its journal writes: `write` gives the entries of a batch that were not written and may be tried again. When there is
    nothing to write, it `settle`s what is `doubtful`.
    """

    def __init__(
        self,
        write: Callable[[list[Entry], float], Awaitable[list[Entry]]],
        settle: Callable[[], Awaitable[None]],
        doubtful: Collection[int],
        give_up_s: float,
    ) -> None:
        self._write = write
        self._settle = settle
        self._doubtful = doubtful
        self._give_up_s = give_up_s
        self._queue: deque[Entry] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Entries that are not being written yet."""
        return len(self._queue)

    def put(self, entry: Entry) -> None:
        if not self._queue:
            self._idle.clear()
            self._wake.set()
        self._queue.append(entry)

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="journal")

    async def stop(self) -> None:
        """Commit what was handed in, then end."""
        if self._task and not self._task.done():
            await self._idle.wait()
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            if not self._queue:
                self._idle.set()
            if self._doubtful:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LONGEST_PAUSE_S):
                        await self._wake.wait()
                await self._settle()
            else:
                await self._wake.wait()
            self._wake.clear()
            while self._queue:
                # Those whom the last commit has just woken are about to append what comes next: it takes no time to let them.
                await asyncio.sleep(0)
                batch = self._take()
                try:
                    await self._commit(batch)
                except asyncio.CancelledError:
                    for entry in batch:
                        fail(entry, StorageAwayError("the service stops"))
                    raise
                except Exception as error:
                    _log.exception("journal.broken")
                    for entry in batch:
                        fail(entry, StorageError(f"the batch could not be written: {error}"))

    def _take(self) -> list[Entry]:
        batch: list[Entry] = []
        size = 0
        while self._queue and (not batch or size + self._queue[0].size <= LARGEST_BATCH):
            entry = self._queue.popleft()
            batch.append(entry)
            size += entry.size
        return batch

    async def _commit(self, batch: list[Entry]) -> None:
        """Write a batch in one transaction. After trouble every entry is written alone, so that one that cannot be
        written fails alone.
        """
        give_up_at = asyncio.get_running_loop().time() + self._give_up_s
        left = await self._write(batch, give_up_at)
        pause = FIRST_PAUSE_S
        others_could = False
        while left:
            rest: list[Entry] = []
            for entry in left:
                entry.tries += 1
                rest += await self._write([entry], give_up_at)
            # Where others could be written, the database is not to blame for the rest.
            others_could = others_could or len(rest) < len(left)
            left = []
            for entry in rest:
                if others_could and entry.tries >= _TRIES_ALONE:
                    fail(entry, StorageError("this could not be written, while others could"))
                else:
                    left.append(entry)
            if left:
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_S)
                arrived = self._take()
                batch += arrived
                left += arrived


def fail(entry: Entry, error: Exception) -> None:
    if not entry.done.done():
        entry.done.set_exception(error)
