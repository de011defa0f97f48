"""Group commit: one writer, many waiters.

Coroutines hand in entries (events of one or more orchestrations of one partition, and the work that changes with them)
and wait. A batch is what arrived while the previous one was being committed, at most 500 events; the journal never waits
for company. It assigns positions and hashes. An entry is committed whole or not at all, and nothing is acknowledged before.

After a database error nobody knows whether the transaction was committed: the journal reads the heads of the partitions
and believes only them (storage.md). A partition whose epoch has changed is lost; its entries fail with OwnershipLostError.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import deque
from collections.abc import Callable, Generator, Sequence
from typing import Final, Protocol
from uuid import UUID

import msgspec
import structlog

from application.blob_store import BlobRow, BlobStore
from application.chain import event_hash, log_hash
from application.large_values import Blob, Contents
from application.measures import EVENTS, Distribution
from application.ports import Clock
from application.storage import Head, LogStore, PartitionWrite, StoredRecord, WorkChange
from domain.errors import OwnershipLostError, StorageAwayError, StorageError
from domain.events import Event
from domain.state import State

LARGEST_BATCH: Final = 500
BLOB_THRESHOLD: Final = 256 * 1024
_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 1.0
_TRIES_ALONE: Final = 3

_log = structlog.get_logger(__name__)


class StateCodec(Protocol):
    """State <-> stored bytes."""

    @property
    def format(self) -> str:
        """The shape of the bytes and the code that folded them; bytes of another format cannot be used."""
        ...

    def pack(self, state: State) -> Generator[None, None, bytes]:
        """Yields between short pieces of work, during which the state must not change."""
        ...

    def unpack(self, raw: bytes) -> State:
        """The same state. Raises ValueError (or what a cipher raises) for bytes that are damaged."""
        ...


class Codec(Protocol):
    """Event <-> stored bytes, and the same for whole states."""

    @property
    def states(self) -> StateCodec: ...

    def encode(self, event: Event) -> bytes: ...

    def split(self, state: bytes) -> tuple[bytes, list[Blob]]:
        """The same of an event whose bytes are many: its large values are kept beside it."""
        ...

    def decode(self, topic: str, state: bytes, blobs: Contents | None = None) -> Event:
        """Raises ContentMissingError where a value beside it is not among `blobs`."""
        ...

    def shown(self, topic: str, state: bytes, blobs: Contents | None = None) -> Event:
        """The event with references in the places of large values (application/large_values.py)."""
        ...


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


class Journal:
    """The only writer of a process. It writes to the partitions that it has `gained`; an entry belongs to the epoch in which
    it was decided, and to no other.
    """

    def __init__(
        self,
        store: LogStore,
        codec: Codec,
        *,
        give_up_s: float = 10.0,
        blobs: BlobStore | None = None,
        clock: Clock | None = None,
        blob_threshold: int = BLOB_THRESHOLD,
    ) -> None:
        """`blobs`: where large values go, of events with more bytes than `blob_threshold`; None: they stay in the events."""
        self._store = store
        self._codec = codec
        self._blobs = blobs
        self._clock = clock
        self._largest = blob_threshold if blobs is not None else sys.maxsize
        self._heads: dict[int, Head] = {}
        self._epochs: dict[int, int] = {}
        self.epoch: Callable[[int], int | None] = self._epochs.get
        """The epoch under which a partition is ours; None when it is not."""
        self._queue: deque[Entry] = deque()
        self._wake = asyncio.Event()
        self._doubtful: set[int] = set()
        """Partitions in which something was given up that may have been committed."""
        self._idle = asyncio.Event()
        self._give_up_s = give_up_s
        self._stopped = False
        self._task: asyncio.Task[None] | None = None
        self._listeners: list[Callable[[int, list[UUID]], None]] = []
        self._loss_listeners: list[Callable[[int], None]] = []
        self.committed = Distribution(EVENTS)
        """Events of each transaction that is in the log."""
        self.commit_seconds = Distribution()
        """How long those took to which the database said yes at once."""
        self.commits_failed = 0
        """Transactions that it did not say yes to; what became of them was found out afterwards."""

    def on_commit(self, listener: Callable[[int, list[UUID]], None]) -> None:
        """Called with the partition and the orchestrations of every commit, some more than once, when `position` has just
        moved.
        """
        self._listeners.append(listener)

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="journal")

    async def stop(self) -> None:
        """Commit what was handed in, then end; whoever comes later is refused."""
        self._stopped = True
        if self._task and not self._task.done():
            await self._idle.wait()
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def on_lost(self, listener: Callable[[int], None]) -> None:
        """Called with a partition that turns out to be another node's."""
        self._loss_listeners.append(listener)

    def gained(self, head: Head) -> None:
        """This partition is ours, from this head on."""
        self._heads[head.partition] = head
        self._epochs[head.partition] = head.epoch

    def lost(self, partition: int) -> None:
        """It is another's: what waits to be written to it fails."""
        self._heads.pop(partition, None)
        self._epochs.pop(partition, None)

    @property
    def waiting(self) -> int:
        """Entries that are not being written yet."""
        return len(self._queue)

    def head(self, partition: int) -> Head:
        """The last committed head of a partition that is ours."""
        return self._heads[partition]

    def heads(self) -> list[Head]:
        """The last committed heads of the partitions that are ours."""
        return list(self._heads.values())

    def position(self, partition: int) -> int:
        """The last committed position of a partition that is ours."""
        return self._heads[partition].position

    async def append(self, partition: int, epoch: int, streams: list[Appended], work: list[WorkChange]) -> list[bytes]:
        """Commit; gives the last event hash of each stream. Raises OwnershipLostError when this certainly was not and will
        not be committed, StorageError when nobody knows; in both cases the caller must forget what it decided.
        """
        if self._stopped:
            raise StorageAwayError("the service stops")
        if self.epoch(partition) != epoch:
            raise OwnershipLostError
        encode, size, largest = self._codec.encode, 0, 0
        for stream in streams:
            stream.states = states = [encode(event) for event in stream.events]
            size += len(states)
            if states:
                largest = max(largest, *map(len, states))
        entry = Entry(partition, epoch, streams, work, asyncio.get_running_loop().create_future(), size)
        if largest > self._largest:
            entry.blobs = await self._taken_out(partition, streams)
            if self._stopped:
                raise StorageAwayError("the service stops")
            if self.epoch(partition) != epoch:
                raise OwnershipLostError
        if not self._queue:
            self._idle.clear()
            self._wake.set()
        self._queue.append(entry)
        return await entry.done

    async def _taken_out(self, partition: int, streams: list[Appended]) -> Sequence[BlobRow]:
        """Split the large ones among the events; gives what goes beside them."""
        assert self._blobs is not None
        assert self._clock is not None
        rows: list[BlobRow] = []
        for stream in streams:
            states = []
            for state in stream.states:
                kept, blobs = self._codec.split(state) if len(state) > self._largest else (state, [])
                rows += [BlobRow(stream.orchestration, blob) for blob in blobs]
                stream.large_bytes += sum(blob.size for blob in blobs)
                states.append(kept)
            stream.states = states
        return await self._blobs.prepare(partition, rows, self._clock.now()) if rows else ()

    async def _run(self) -> None:
        while True:
            if not self._queue:
                self._idle.set()
            await (self._settle() if self._doubtful else self._wake.wait())
            self._wake.clear()
            while self._queue:
                # Those whom the last commit has just woken are about to append what comes next: it takes no time to let them.
                await asyncio.sleep(0)
                batch = self._take()
                try:
                    await self._commit(batch)
                except asyncio.CancelledError:
                    for entry in batch:
                        _fail(entry, StorageAwayError("the service stops"))
                    raise
                except Exception as error:
                    _log.exception("journal.broken")
                    for entry in batch:
                        _fail(entry, StorageError(f"the batch could not be written: {error}"))

    async def _settle(self) -> None:
        """What was given up may have been committed, and nobody may ever write there again: look, as soon as the database
        answers. Returns when there is something to write or to look at.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LONGEST_PAUSE_S):
                await self._wake.wait()
        for partition in list(self._doubtful):
            known = self._heads.get(partition)
            try:
                heads = await self._store.heads([partition]) if known else []
            except StorageError:
                return
            self._doubtful.discard(partition)
            if known and heads != [known]:
                self._lose(known)

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
        pause = _FIRST_PAUSE_S
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
                    _fail(entry, StorageError("this could not be written, while others could"))
                else:
                    left.append(entry)
            if left:
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_S)
                arrived = self._take()
                batch += arrived
                left += arrived

    async def _write(self, entries: list[Entry], give_up_at: float) -> list[Entry]:
        """One transaction; gives the entries that were not written and may be tried again."""
        by_partition: dict[int, list[Entry]] = {}
        for entry in entries:
            if self.epoch(entry.partition) != entry.epoch:
                _fail(entry, _lost(entry))
            else:
                by_partition.setdefault(entry.partition, []).append(entry)
        if not by_partition:
            return []
        prepared = {p: self._prepare(p, by_partition[p]) for p in sorted(by_partition)}
        sent = False
        began_s = asyncio.get_running_loop().time()
        try:
            held = await self._store.write([write for write, _ in prepared.values()])
            if all(held):
                self.commit_seconds.add(asyncio.get_running_loop().time() - began_s)
                self.committed.add(sum(len(write.records) for write, _ in prepared.values()))
                for partition, (write, hashes) in prepared.items():
                    self._committed(write, by_partition[partition], hashes)
                return []
            trouble: StorageError = StorageAwayError("a fence did not hold")
        except StorageError as error:
            trouble, sent = error, True
        self.commits_failed += 1
        heads = await self._true_heads(list(prepared), give_up_at)
        left: list[Entry] = []
        for partition, (write, hashes) in prepared.items():
            head = heads.get(partition)
            if head == write.after and write.records:
                self.committed.add(len(write.records))
                self._committed(write, by_partition[partition], hashes)
            elif head == write.head and asyncio.get_running_loop().time() <= give_up_at:
                for entry in by_partition[partition]:
                    entry.in_doubt = entry.in_doubt or sent
                left += by_partition[partition]
            elif head is None or head == write.head:
                _log.warning("journal.gave_up", partition=partition, detail=trouble.detail)
                for entry in by_partition[partition]:
                    _fail(entry, trouble)
                self._doubtful.add(partition)
            else:
                await self._moved_on(head, write, by_partition[partition], hashes)
        return left

    def _committed(self, write: PartitionWrite, entries: list[Entry], hashes: list[list[bytes]]) -> None:
        if self.epoch(write.head.partition) == write.head.epoch:  # it may have been lost since
            self._heads[write.head.partition] = write.after
            self._tell(write.head.partition, [stream.orchestration for entry in entries for stream in entry.streams])
        for entry, last in zip(entries, hashes, strict=True):
            if not entry.done.done():
                entry.done.set_result(last)

    def _tell(self, partition: int, touched: list[UUID]) -> None:
        for listener in self._listeners:
            listener(partition, touched)

    async def _true_heads(self, partitions: list[int], give_up_at: float) -> dict[int, Head]:
        """What is committed; nothing when it cannot be had in time."""
        pause = _FIRST_PAUSE_S
        while True:
            try:
                return {head.partition: head for head in await self._store.heads(partitions)}
            except StorageError:
                if asyncio.get_running_loop().time() > give_up_at:
                    return {}
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_S)

    async def _moved_on(
        self, head: Head, write: PartitionWrite, entries: list[Entry], hashes: list[list[bytes]]
    ) -> None:
        """The fence cannot hold: lost to another node, or a commit that was given up has happened after all."""
        partition, known = head.partition, write.head
        try:
            records = await self._store.log(partition, known.position, max(10_000, len(write.records)))
        except StorageError:
            records = []
            if head.epoch == known.epoch or write.records:
                for entry in entries:
                    _fail(entry, StorageAwayError("it is not known whether this was committed"))
        if head.epoch != known.epoch:
            written = {record.position: record.log_hash for record in records}
            if write.records and written.get(write.after.position) == write.after.log_hash:
                self._committed(write, entries, hashes)  # the last thing before the takeover
            for entry in entries:
                _fail(entry, _lost(entry))
        for entry in entries:
            _fail(entry, StorageAwayError("the log had moved on; the decision has to be made again"))
        self._lose(known)

    def _lose(self, head: Head) -> None:
        """What the log of a partition holds is not what is known here, so all that is known is dropped. If it is still this
        node's, it is taken anew, under an epoch that stops whatever may be on its way, and what was committed without
        anybody noticing is taken up like the work of one who died.
        """
        if self.epoch(head.partition) == head.epoch:
            for listener in self._loss_listeners:
                listener(head.partition)

    def _prepare(self, partition: int, entries: list[Entry]) -> tuple[PartitionWrite, list[list[bytes]]]:
        """Positions and hashes; pure."""
        head = self._heads[partition]
        position, chain = head.position, head.log_hash
        records: list[StoredRecord] = []
        work: list[WorkChange] = []
        blobs: list[BlobRow] = []
        lasts: list[list[bytes]] = []
        for entry in entries:
            last: list[bytes] = []
            for stream in entry.streams:
                previous, version = stream.event_hash, stream.version
                for event, state in zip(stream.events, stream.states, strict=True):
                    position += 1
                    version += 1
                    topic = event.topic
                    previous = event_hash(previous, partition, position, stream.orchestration, version, topic, state)
                    chain = log_hash(chain, previous)
                    records.append(StoredRecord(position, stream.orchestration, version, topic, state, previous, chain))
                last.append(previous)
            work += entry.work
            blobs += entry.blobs
            lasts.append(last)
        after = Head(partition, head.epoch, position, chain)
        return PartitionWrite(head, after, records, work, blobs), lasts


def _lost(entry: Entry) -> Exception:
    """What is told when the partition is another's. Who hears OwnershipLostError asks the next owner for the same."""
    return StorageAwayError("it is not known whether this was committed") if entry.in_doubt else OwnershipLostError()


def _fail(entry: Entry, error: Exception) -> None:
    if not entry.done.done():
        entry.done.set_exception(error)
