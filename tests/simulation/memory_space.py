"""Snapshots in memory."""

from __future__ import annotations

from uuid import UUID

from application.storage import SnapshotRecord
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
