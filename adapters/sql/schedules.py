"""Schedules over a SQL database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from adapters.sql.database import Database, Row
from application.registers import register_partition
from application.schedule_store import ScheduleRow

_ALL: Final = 1_000_000


class SqlSchedules:
    """`ScheduleStore` over a SQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def _key(self, namespace: str, name: str) -> dict[str, object]:
        partition = register_partition(namespace, name, partitions=self._database.partitions)
        return {"partition": partition, "namespace": namespace, "name": name}

    async def put(self, namespace: str, name: str, course: bytes) -> bool:
        params = {**self._key(namespace, name), "course": course}
        return bool(await self._database.change(lambda transaction: transaction.run("put_schedule", params)))

    async def change(self, namespace: str, name: str, revision: int, course: bytes) -> bool:
        params = {**self._key(namespace, name), "revision": revision, "course": course}
        return bool(await self._database.change(lambda transaction: transaction.run("change_schedule", params)))

    async def get(self, namespace: str, name: str) -> ScheduleRow | None:
        rows = await self._database.read("schedule", self._key(namespace, name))
        return ScheduleRow(*rows[0]) if rows else None

    async def of(self, partitions: Sequence[int]) -> list[ScheduleRow]:
        rows = await self._database.across("schedules", {}, order=_by_name, limit=_ALL, partitions=partitions)
        return [ScheduleRow(*row) for row in rows]


def _by_name(row: Row) -> Row:
    return row[:2]
