"""Schedules in memory."""

from __future__ import annotations

from collections.abc import Sequence

from application.registers import register_partition
from application.schedule_store import ScheduleRow
from tests.simulation.memory_data import Calls, MemoryData


class MemorySchedules:
    """`ScheduleStore` in memory."""

    def __init__(self, data: MemoryData, calls: Calls) -> None:
        self._data = data
        self._calls = calls

    async def put(self, namespace: str, name: str, course: bytes) -> bool:
        async with self._calls.call("put schedule"):
            if (namespace, name) in self._data.schedules:
                return False
            self._data.schedules[namespace, name] = ScheduleRow(namespace, name, 1, course)
            return True

    async def change(self, namespace: str, name: str, revision: int, course: bytes) -> bool:
        async with self._calls.call("change schedule"):
            row = self._data.schedules.get((namespace, name))
            if row is None or row.revision != revision:
                return False
            self._data.schedules[namespace, name] = ScheduleRow(namespace, name, revision + 1, course)
            return True

    async def get(self, namespace: str, name: str) -> ScheduleRow | None:
        async with self._calls.call("schedule"):
            return self._data.schedules.get((namespace, name))

    async def of(self, partitions: Sequence[int]) -> list[ScheduleRow]:
        async with self._calls.call("schedules"):
            count = len(self._data.partitions)
            rows = [self._data.schedules[key] for key in sorted(self._data.schedules)]
            return [row for row in rows if register_partition(row.namespace, row.name, partitions=count) in partitions]
