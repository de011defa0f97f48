"""Group commit: one writer, many waiters.

Coroutines hand in entries (events of one or more orchestrations of one partition, and the work that changes with them)
and wait. A batch is what arrived while the previous one was being committed, at most 500 events; the journal never waits
for company. It assigns positions and hashes. An entry is committed whole or not at all, and nothing is acknowledged before.

After a database error nobody knows whether the transaction was committed: the journal reads the heads of the partitions
and believes only them (storage.md). A partition whose epoch has changed is lost; its entries fail with OwnershipLostError.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol
from uuid import UUID

import msgspec
import structlog

from application.chain import event_hash, log_hash
from application.storage import Head, LogStore, PartitionWrite, StoredRecord, WorkChange
from domain.errors import OwnershipLostError, StorageError
from domain.events import Event

LARGEST_BATCH: Final = 500
_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 1.0

_log = structlog.get_logger(__name__)


class Codec(Protocol):
    """Event <-> stored bytes."""

    def encode(self, event: Event) -> bytes: ...
    def decode(self, topic: str, state: bytes) -> Event: ...


class Appended(msgspec.Struct, gc=False):
    """Events of one orchestration: `version` and `event_hash` are those of its last event before."""

    orchestration: UUID
    version: int
    event_hash: bytes
    events: Sequence[Event]


class Entry(msgspec.Struct):
    partition: int
    streams: list[Appended]
    work: list[WorkChange]
    done: asyncio.Future[list[bytes]]

    @property
    def size(self) -> int:
        return sum(len(stream.events) for stream in self.streams)


class Journal:
    """The only writer of a process. `heads` are those that `LogStore.open` gave."""

    def __init__(self, store: LogStore, codec: Codec, heads: Sequence[Head], *, give_up_s: float = 10.0) -> None:
        self._store = store
        self._codec = codec
        self._heads = {head.partition: head for head in heads}
        self._lost: set[int] = set()
        self._queue: deque[Entry] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._give_up_s = give_up_s
        self._task: asyncio.Task[None] | None = None
        self._listeners: list[Callable[[int, list[UUID]], None]] = []

    def on_commit(self, listener: Callable[[int, list[UUID]], None]) -> None:
        """Called with the partition and the orchestrations of every commit, when `position` has just moved."""
        self._listeners.append(listener)

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="journal")

    async def stop(self) -> None:
        """Commit what was handed in, then end."""
        if self._task and not self._task.done():
            await self._idle.wait()
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for entry in self._queue:
            _fail(entry, StorageError("the service stops"))

    def position(self, partition: int) -> int:
        """The last committed position."""
        return self._heads[partition].position

    async def append(self, partition: int, streams: list[Appended], work: list[WorkChange]) -> list[bytes]:
        """Commit; gives the last event hash of each stream. Raises OwnershipLostError or StorageError, and then the
        caller must forget what it decided.
        """
        if partition in self._lost:
            raise OwnershipLostError
        entry = Entry(partition, streams, work, asyncio.get_running_loop().create_future())
        self._queue.append(entry)
        self._idle.clear()
        self._wake.set()
        return await entry.done

    async def _run(self) -> None:
        while True:
            self._idle.set()
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                batch = self._take()
                try:
                    await self._commit(batch)
                except asyncio.CancelledError:
                    for entry in batch:
                        _fail(entry, StorageError("the service stops"))
                    raise
                except Exception as error:
                    _log.exception("journal.broken")
                    for entry in batch:
                        _fail(entry, StorageError(f"the batch could not be written: {error}"))

    def _take(self) -> list[Entry]:
        batch: list[Entry] = []
        size = 0
        while self._queue and (not batch or size + self._queue[0].size <= LARGEST_BATCH):
            entry = self._queue.popleft()
            batch.append(entry)
            size += entry.size
        return batch

    async def _commit(self, batch: list[Entry]) -> None:
        """Write a batch; partitions that conflict fail alone."""
        by_partition: dict[int, list[Entry]] = {}
        for entry in batch:
            by_partition.setdefault(entry.partition, []).append(entry)
        pause = _FIRST_PAUSE_S
        give_up_at = asyncio.get_running_loop().time() + self._give_up_s
        while by_partition:
            prepared = {p: self._prepare(p, by_partition[p]) for p in sorted(by_partition)}
            try:
                held = await self._store.write([write for write, _ in prepared.values()])
            except StorageError as error:
                committed = await self._look(prepared, by_partition, give_up_at, error)
            else:
                if all(held):
                    committed = set(prepared)
                else:
                    committed = set()
                    for (partition, _), fence in zip(list(prepared.items()), held, strict=True):
                        if not fence:
                            await self._conflict(partition, by_partition.pop(partition))
                    continue
            for partition in committed:
                write, hashes = prepared[partition]
                self._heads[partition] = write.after
                touched = list(dict.fromkeys(record.orchestration for record in write.records))
                for listener in self._listeners:
                    listener(partition, touched)
                for entry, last in zip(by_partition.pop(partition), hashes, strict=True):
                    if not entry.done.done():
                        entry.done.set_result(last)
            if by_partition:
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_S)

    async def _look(
        self,
        prepared: dict[int, tuple[PartitionWrite, list[list[bytes]]]],
        by_partition: dict[int, list[Entry]],
        give_up_at: float,
        error: StorageError,
    ) -> set[int]:
        """After an unknown commit: which partitions hold what was written?"""
        pause = _FIRST_PAUSE_S
        heads: dict[int, Head] = {}
        while True:
            try:
                heads = {head.partition: head for head in await self._store.heads(list(prepared))}
                break
            except StorageError:
                if asyncio.get_running_loop().time() > give_up_at:
                    break
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_S)
        committed = set()
        for partition, (write, _) in prepared.items():
            head = heads.get(partition)
            if head is None or (head == write.head and asyncio.get_running_loop().time() > give_up_at):
                _log.warning("journal.gave_up", detail=error.detail)
                for entry in by_partition.pop(partition):
                    _fail(entry, error)
            elif head == write.after:
                committed.add(partition)
            elif head != write.head:
                await self._conflict(partition, by_partition.pop(partition))
        return committed

    async def _conflict(self, partition: int, entries: list[Entry]) -> None:
        """The fence did not hold: lost to another node, or our idea of the head was old."""
        head = next(iter(await self._store.heads([partition])), None)
        if head is None or head.epoch != self._heads[partition].epoch:
            self._lost.add(partition)
            failure: Exception = OwnershipLostError()
        else:
            self._heads[partition] = head
            failure = StorageError("the log had moved on; the decision has to be made again")
        for entry in entries:
            _fail(entry, failure)

    def _prepare(self, partition: int, entries: list[Entry]) -> tuple[PartitionWrite, list[list[bytes]]]:
        """Positions, bytes and hashes; pure but for the codec."""
        head = self._heads[partition]
        position, chain = head.position, head.log_hash
        records: list[StoredRecord] = []
        work: list[WorkChange] = []
        lasts: list[list[bytes]] = []
        for entry in entries:
            last: list[bytes] = []
            for stream in entry.streams:
                previous, version = stream.event_hash, stream.version
                for event in stream.events:
                    position += 1
                    version += 1
                    state, topic = self._codec.encode(event), event.topic
                    previous = event_hash(previous, partition, position, stream.orchestration, version, topic, state)
                    chain = log_hash(chain, previous)
                    records.append(StoredRecord(position, stream.orchestration, version, topic, state, previous, chain))
                last.append(previous)
            work += entry.work
            lasts.append(last)
        after = Head(partition, head.epoch, position, chain)
        return PartitionWrite(head, after, records, work), lasts


def _fail(entry: Entry, error: Exception) -> None:
    if not entry.done.done():
        entry.done.set_exception(error)
