"""Snapshots over a SQL database: one row per orchestration, replaced as it grows."""

from __future__ import annotations

from uuid import UUID

from adapters.sql.database import Database
from adapters.sql.rows import as_uuid
from application.storage import SnapshotRecord


class SqlSnapshots:
    """`SnapshotStore` over a SQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, partition: int, orchestration: UUID, format_: str) -> SnapshotRecord | None:
        params = {"partition": partition, "orchestration": orchestration, "format": format_}
        for identity, version, found_format, event_hash, state in await self._database.read("snapshot", params):
            return SnapshotRecord(as_uuid(identity), version, found_format, event_hash, state)
        return None

    async def put(self, partition: int, record: SnapshotRecord) -> None:
        params = {
            "partition": partition,
            "orchestration": record.orchestration,
            "version": record.version,
            "format": record.format,
            "event_hash": record.event_hash,
            "state": record.state,
        }
        await self._database.change(lambda transaction: transaction.run("put_snapshot", params))
