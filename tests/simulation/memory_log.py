"""The log and its work tables in memory."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from typing import Literal
from uuid import UUID

import msgspec

from application.storage import (
    NO_HASH,
    DropAgenda,
    DropHuman,
    DropSubscriptions,
    EndTask,
    GiveUpTask,
    Head,
    HoldTask,
    PartitionWrite,
    PutAgenda,
    PutEmitted,
    PutHuman,
    PutReply,
    PutSubscription,
    PutTask,
    StoredRecord,
    WorkChange,
)
from domain.errors import StorageError
from tests.simulation.memory_data import Calls, MemoryData, MemoryPartition
from tests.simulation.memory_tasks import change_tasks


def _position(record: StoredRecord) -> int:
    return record.position


def _version(record: StoredRecord) -> int:
    return record.version


class MemoryLog:
    """`LogStore` in memory."""

    def __init__(self, data: MemoryData, calls: Calls) -> None:
        self._data = data
        self._calls = calls
        self._faults: list[Literal["before", "after"]] = []

    def fail_next_write(self, mode: Literal["before", "after"]) -> None:
        """Calls add up: the first is for the next write, the second for the one after it."""
        self._faults.append(mode)

    async def open(self, partitions: int, lease_s: float) -> int:
        async with self._calls.call("open"):
            if not self._data.partitions:
                self._data.partitions = [MemoryPartition(Head(each, 0, 0, NO_HASH)) for each in range(partitions)]
            return len(self._data.partitions)

    async def close(self) -> None: ...

    async def salt(self) -> bytes:
        async with self._calls.call("salt"):
            return self._data.salt

    async def write(self, writes: Sequence[PartitionWrite]) -> list[bool]:
        async with self._calls.call("write"):
            fault = self._faults.pop(0) if self._faults else None
            if fault == "before":
                raise StorageError("The write was made to fail before it took effect.")
            done = self._commit(sorted(writes, key=lambda write: write.head.partition))
            if fault == "after":
                raise StorageError("The write was made to fail after it took effect.")
            return [done] * len(writes)

    def _commit(self, writes: Sequence[PartitionWrite]) -> bool:
        # Everything is checked before anything changes: that is the transaction.
        heads: dict[int, Head] = {}
        for write in writes:
            partition = write.head.partition
            head = heads.get(partition, self._data.partitions[partition].head)
            if (head.epoch, head.position) != (write.head.epoch, write.head.position):
                return False
            heads[partition] = msgspec.structs.replace(
                head, position=write.after.position, log_hash=write.after.log_hash
            )
        for partition in heads:
            self._check(self._data.partitions[partition], [each for each in writes if each.head.partition == partition])
        for write in writes:
            self._apply(self._data.partitions[write.head.partition], write)
            for each in write.blobs:
                key = (write.head.partition, each.orchestration, each.blob.digest)
                known = self._data.blobs.get(key)
                self._data.blobs[key] = (each.blob if known is None or known[0].content is None else known[0], None)
        for partition, head in heads.items():
            self._data.partitions[partition].head = head
        return True

    @staticmethod
    def _check(partition: MemoryPartition, writes: Sequence[PartitionWrite]) -> None:
        positions: set[int] = set()
        versions: set[tuple[UUID, int]] = set()
        emitted: set[tuple[UUID, int]] = set()
        for write in writes:
            for record in write.records:
                version = (record.orchestration, record.version)
                if record.position in positions or record.position in partition.positions:
                    raise StorageError("Two events at one position.")
                if version in versions or version in partition.versions:
                    raise StorageError("Two events of one version.")
                if record.position < 1 or record.version < 1 or not record.topic:
                    raise StorageError("An event without position, version or topic.")
                if len(record.event_hash) != len(NO_HASH) or len(record.log_hash) != len(NO_HASH):
                    raise StorageError("A hash of another length.")
                positions.add(record.position)
                versions.add(version)
            for change in write.work:
                if isinstance(change, PutEmitted):
                    number = (change.orchestration, change.number)
                    if number in emitted or number in partition.emitted:
                        raise StorageError("Two emitted events of one number.")
                    emitted.add(number)

    @staticmethod
    def _apply(partition: MemoryPartition, write: PartitionWrite) -> None:
        for record in write.records:
            insort(partition.log, record, key=_position)
            insort(partition.streams.setdefault(record.orchestration, []), record, key=_version)
            partition.positions.add(record.position)
            partition.versions.add((record.orchestration, record.version))
        for change in write.work:
            _change_work(partition, change)

    async def heads(self, partitions: Sequence[int]) -> list[Head]:
        async with self._calls.call("heads"):
            return [self._data.partitions[each].head for each in partitions]

    async def positions(self, partitions: Sequence[int]) -> list[tuple[int, int]]:
        async with self._calls.call("positions"):
            return [(each, self._data.partitions[each].head.position) for each in partitions]

    async def stream(
        self, partition: int, orchestration: UUID, after: int = 0, limit: int = 1000
    ) -> list[StoredRecord]:
        async with self._calls.call("stream"):
            return self.read_stream(partition, orchestration, after=after, limit=limit)

    async def log(
        self,
        partition: int,
        after: int = 0,
        limit: int = 1000,
        *,
        until: int | None = None,
        topics: Sequence[str] = (),
    ) -> list[StoredRecord]:
        async with self._calls.call("log"):
            return self.read_log(partition, after=after, until=until, topics=topics, limit=limit)

    def read_stream(
        self,
        partition: int,
        orchestration: UUID,
        *,
        after: int = 0,
        until: int | None = None,
        newest_first: bool = False,
        limit: int | None = None,
    ) -> list[StoredRecord]:
        stream = self._data.partitions[partition].streams.get(orchestration, [])
        last = len(stream) if until is None else bisect_right(stream, until, key=_version)
        records = stream[bisect_right(stream, after, key=_version) : last]
        return (records[::-1] if newest_first else records)[:limit]

    def read_log(
        self, partition: int, *, after: int, until: int | None, topics: Sequence[str], limit: int
    ) -> list[StoredRecord]:
        log = self._data.partitions[partition].log
        last = len(log) if until is None else bisect_right(log, until, key=_position)
        positions = range(bisect_right(log, after, key=_position), last)
        return list(islice((log[each] for each in positions if not topics or log[each].topic in topics), limit))

    def read_head(self, partition: int) -> int:
        return self._data.partitions[partition].head.position

    async def in_flight(self, partition: int, after: UUID | None = None, limit: int = 500) -> list[UUID]:
        async with self._calls.call("in_flight"):
            agenda = self._data.partitions[partition].agenda.values()
            found = (each.orchestration for each in agenda if each.in_flight)
            return sorted(each for each in found if after is None or each > after)[:limit]

    async def due(
        self, partitions: Sequence[int], until: datetime, limit: int = 500
    ) -> list[tuple[int, UUID, datetime]]:
        async with self._calls.call("due"):
            due = sorted(each for each in self._all_due() if each[0] <= until and each[1] in partitions)
            return [(partition, orchestration, due_at) for due_at, partition, orchestration in due[:limit]]

    def _all_due(self) -> list[tuple[datetime, int, UUID]]:
        return [
            (each.due_at, partition.head.partition, each.orchestration)
            for partition in self._data.partitions
            for each in partition.agenda.values()
            if each.due_at is not None
        ]

    async def emitted(
        self, partition: int, limit: int = 100, after: tuple[UUID, int] | None = None
    ) -> list[tuple[UUID, int, bytes]]:
        async with self._calls.call("emitted"):
            emitted = self._data.partitions[partition].emitted
            found = sorted(key for key in emitted if after is None or key > after)
            return [(*key, emitted[key]) for key in found[:limit]]

    async def published(self, partition: int, items: Sequence[tuple[UUID, int]]) -> None:
        async with self._calls.call("published"):
            for item in items:
                self._data.partitions[partition].emitted.pop(item, None)

    async def subscribers(
        self, event_type: str, after: tuple[int, UUID] | None = None, limit: int = 500, *, only: int | None = None
    ) -> list[tuple[int, UUID]]:
        async with self._calls.call("subscribers"):
            found = {
                (partition.head.partition, orchestration)
                for partition in self._data.partitions
                for (orchestration, _, _), wanted in partition.subscriptions.items()
                if wanted in {None, event_type} and only in {None, partition.head.partition}
            }
            return sorted(each for each in found if after is None or each > after)[:limit]


def _change_work(partition: MemoryPartition, change: WorkChange) -> None:
    match change:
        case PutAgenda():
            partition.agenda[change.orchestration] = change
        case DropAgenda():
            partition.agenda.pop(change.orchestration, None)
        case PutEmitted():
            partition.emitted[change.orchestration, change.number] = change.event
        case PutSubscription():
            partition.subscriptions[change.orchestration, change.run, change.slot] = change.event_type
        case PutTask() | HoldTask() | GiveUpTask() | EndTask():
            change_tasks(partition.tasks, change)
        case PutHuman():
            partition.people[change.orchestration, change.number] = change
        case DropHuman():
            partition.people.pop((change.orchestration, change.number), None)
        case PutReply():
            if (command := partition.inbox.get(change.command_id)) is not None:
                command.reply = change.reply
        case DropSubscriptions():
            for key in [key for key in partition.subscriptions if key[:2] == (change.orchestration, change.run)]:
                del partition.subscriptions[key]
