"""Snapshots and the archive in memory."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import msgspec

from application.storage import ArchiveRecord, Head, SnapshotRecord
from tests.simulation.memory_data import Calls, MemoryData


class MemorySnapshots:
    """`SnapshotStore` in memory."""

    def __init__(self, data: MemoryData, calls: Calls) -> None:
        self._data = data
        self._calls = calls

    async def get(self, partition: int, orchestration: UUID, format_: str) -> SnapshotRecord | None:
        async with self._calls.call("snapshot"):
            found = self._data.snapshots.get((partition, orchestration))
            return found if found is not None and found.format == format_ else None

    async def put(self, partition: int, record: SnapshotRecord) -> None:
        async with self._calls.call("put snapshot"):
            key = (partition, record.orchestration)
            known = self._data.snapshots.get(key)
            if known is None or known.version <= record.version or known.format != record.format:
                self._data.snapshots[key] = record


class MemoryArchive:
    """`ArchiveStore` in memory."""

    def __init__(self, data: MemoryData, calls: Calls) -> None:
        self._data = data
        self._calls = calls

    async def put(self, fence: Head, record: ArchiveRecord, stripped: Sequence[tuple[int, bytes]]) -> bool:
        async with self._calls.call("archive"):
            partition = self._data.partitions[fence.partition]
            stream = partition.streams.get(record.orchestration, [])
            if partition.head.epoch != fence.epoch:
                return False
            if len(stream) != record.events or stream[-1].state_hash is not None:
                return False
            hashes = dict(stripped)
            for records in (partition.log, stream):
                for index, each in enumerate(records):
                    if each.position in hashes:
                        bare = msgspec.structs.replace(each, state=b"", state_hash=hashes[each.position])
                        records[index] = bare
            key = (fence.partition, record.orchestration)
            self._data.archive[key] = record
            self._data.status.pop(key, None)
            self._data.snapshots.pop(key, None)
            return True

    async def get(self, partition: int, orchestration: UUID) -> ArchiveRecord | None:
        async with self._calls.call("archived"):
            return self._data.archive.get((partition, orchestration))
