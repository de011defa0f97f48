"""Reads for verification, and checkpoints, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from application.audit_log import ArchivedRow, LogHead, LogRow
from application.checkpoint_store import CheckpointRecord
from application.storage import StoredRecord
from tests.simulation.memory_data import Calls, MemoryData


class MemoryAuditLog:
    """`AuditLog` in memory."""

    def __init__(self, data: MemoryData, calls: Calls) -> None:
        self._data = data
        self._calls = calls

    async def head(self, partition: int) -> LogHead | None:
        async with self._calls.call("audit head"):
            if partition >= len(self._data.partitions):
                return None
            found = self._data.partitions[partition]
            last = found.log[-1].position if found.log else 0
            projected = self._data.tracking.get(("status", partition), 0)
            return LogHead(found.head.position, found.head.log_hash, last, projected)

    async def page(self, partition: int, after: int, until: int, limit: int) -> list[LogRow]:
        async with self._calls.call("audit page"):
            log = self._data.partitions[partition].log
            return [row_of(each) for each in log if after < each.position <= until][:limit]

    async def event_hash(self, partition: int, orchestration: bytes, version: int) -> bytes | None:
        async with self._calls.call("audit event hash"):
            for each in self._stream(partition, orchestration):
                if each.version == version:
                    return each.event_hash
            return None

    async def unlogged(self, partition: int, limit: int) -> list[tuple[bytes, str, int, int]]:
        async with self._calls.call("audit unlogged"):
            known = [(*key, row.public_id, row.version) for key, row in self._data.status.items()]
            known += [(*key, row.public_id, row.events) for key, row in self._data.archive.items()]
            found = []
            for place, orchestration, public_id, version in known:
                last = max((each.version for each in self._stream(partition, orchestration.bytes)), default=0)
                if place == partition and version > last:
                    found.append((orchestration.bytes, public_id, version, last))
            return sorted(found)[:limit]

    async def archived(self, partition: int, after: bytes | None, limit: int) -> list[ArchivedRow]:
        async with self._calls.call("audit archived"):
            found = sorted(
                (each.bytes, row)
                for (place, each), row in self._data.archive.items()
                if place == partition and (after is None or each.bytes > after)
            )
            return [ArchivedRow(name, row.public_id, row.events, row.content) for name, row in found[:limit]]

    async def archived_events(
        self, partition: int, orchestrations: Sequence[bytes]
    ) -> list[tuple[bytes, int, int, bytes | None]]:
        async with self._calls.call("audit archived events"):
            return [
                (name, each.version, each.position, each.state_hash)
                for name in sorted(orchestrations)
                if (partition, UUID(bytes=name)) in self._data.archive
                for each in self._stream(partition, name)
            ]

    async def unarchived(self, partition: int, limit: int, after: int = 0) -> list[tuple[bytes, int]]:
        async with self._calls.call("audit unarchived"):
            found: dict[bytes, int] = {}
            for each in self._data.partitions[partition].log:
                if each.state_hash is not None and (partition, each.orchestration) not in self._data.archive:
                    found.setdefault(each.orchestration.bytes, each.position)
            later = [each for each in found.items() if each[1] > after]
            return sorted(later, key=lambda each: each[1])[:limit]

    def _stream(self, partition: int, orchestration: bytes) -> list[StoredRecord]:
        found = UUID(bytes=orchestration) if len(orchestration) == 16 else None
        return [] if found is None else self._data.partitions[partition].streams.get(found, [])


class MemoryCheckpoints:
    """`CheckpointStore` in memory."""

    def __init__(self, data: MemoryData, calls: Calls) -> None:
        self._data = data
        self._calls = calls

    async def put(self, records: Sequence[CheckpointRecord]) -> None:
        async with self._calls.call("put checkpoints"):
            for each in records:
                self._data.checkpoints.setdefault((each.partition, each.position), each)

    async def page(
        self, partition: int | None = None, limit: int = 100, after: tuple[int, int] | None = None
    ) -> list[CheckpointRecord]:
        async with self._calls.call("checkpoints"):
            found = sorted(self._data.checkpoints.items())
            return [
                each for key, each in found if partition in {None, each.partition} and (after is None or key > after)
            ][:limit]

    async def latest(self, until: datetime | None = None) -> list[CheckpointRecord]:
        async with self._calls.call("latest checkpoints"):
            found: dict[int, CheckpointRecord] = {}
            for _, each in sorted(self._data.checkpoints.items()):
                if until is None or each.made_at <= until:
                    found[each.partition] = each
            return [found[partition] for partition in sorted(found)]


def row_of(record: StoredRecord) -> LogRow:
    """A row as databases give it."""
    return (
        record.position,
        record.orchestration.bytes,
        record.version,
        record.topic,
        record.state,
        record.event_hash,
        record.log_hash,
        record.state_hash,
    )
