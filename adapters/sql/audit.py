"""Reads for the verification of the log, and the checkpoints, over a SQL database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from adapters.sql.database import Database, Row, Transaction
from adapters.sql.rows import as_instant
from adapters.sql.statements import Fragment
from application.audit_log import ArchivedRow, LogHead, LogRow
from application.checkpoint_store import CheckpointRecord


class SqlAuditLog:
    """`AuditLog` over a SQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def head(self, partition: int) -> LogHead | None:
        rows = await self._database.read("audit_head", {"partition": partition})
        return LogHead(*rows[0]) if rows else None

    async def page(self, partition: int, after: int, until: int, limit: int) -> list[LogRow]:
        params = {"partition": partition, "after": after, "until": until, "limit": limit}
        rows: list[Any] = await self._database.read("audit_page", params)
        return rows

    async def event_hash(self, partition: int, orchestration: bytes, version: int) -> bytes | None:
        if len(orchestration) != 16:
            return None
        params = {"partition": partition, "orchestration": UUID(bytes=orchestration), "version": version}
        rows = await self._database.read("audit_event_hash", params)
        return rows[0][0] if rows else None

    async def unlogged(self, partition: int, limit: int) -> list[tuple[bytes, str, int, int]]:
        rows: list[Any] = await self._database.read("audit_unlogged", {"partition": partition, "limit": limit})
        return rows

    async def archived(self, partition: int, after: bytes | None, limit: int) -> list[ArchivedRow]:
        params: dict[str, object] = {"partition": partition, "limit": limit}
        where: list[Fragment] = []
        if after is not None:
            params["after"] = UUID(bytes=after)
            where.append("audit_archived_after")
        return [ArchivedRow(*row) for row in await self._database.read("audit_archived", params, *where)]

    async def archived_events(
        self, partition: int, orchestrations: Sequence[bytes]
    ) -> list[tuple[bytes, int, int, bytes | None]]:
        if not orchestrations:
            return []
        first, last = UUID(bytes=min(orchestrations)), UUID(bytes=max(orchestrations))
        wanted = set(orchestrations)
        rows = await self._database.read(
            "audit_archived_events", {"partition": partition, "first": first, "last": last}
        )
        return [(row[0], row[1], row[2], row[3]) for row in rows if row[0] in wanted]

    async def unarchived(self, partition: int, limit: int, after: int = 0) -> list[tuple[bytes, int]]:
        params = {"partition": partition, "limit": limit, "after": after}
        rows: list[Any] = await self._database.read("audit_unarchived", params)
        return rows


class SqlCheckpoints:
    """`CheckpointStore` over a SQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, records: Sequence[CheckpointRecord]) -> None:
        rows = [{field: getattr(each, field) for field in each.__struct_fields__} for each in records]

        def put(transaction: Transaction) -> None:
            for row in rows:
                transaction.run("put_checkpoint", row)

        await self._database.change(put)

    async def page(
        self, partition: int | None = None, limit: int = 100, after: tuple[int, int] | None = None
    ) -> list[CheckpointRecord]:
        params: dict[str, object] = {"limit": limit}
        where: list[Fragment] = []
        if after is not None:
            params |= {"after_partition": after[0], "after_position": after[1]}
            where.append("checkpoints_after")
        rows = await self._database.across(
            "checkpoints",
            params,
            *where,
            order=lambda row: row[:2],
            limit=limit,
            partitions=None if partition is None else [partition],
        )
        return [_checkpoint(row) for row in rows]

    async def latest(self, until: datetime | None = None) -> list[CheckpointRecord]:
        params: dict[str, object] = {}
        where: list[Fragment] = []
        if until is not None:
            params["until"] = until
            where.append("checkpoints_until")
        rows = await self._database.across(
            "latest_checkpoints", params, *where, order=lambda row: row[0], limit=self._database.partitions
        )
        return [_checkpoint(row) for row in rows]


def _checkpoint(row: Row) -> CheckpointRecord:
    partition, position, log_hash, made_at, key_id, signature = row
    return CheckpointRecord(partition, position, log_hash, as_instant(made_at), key_id, signature)
