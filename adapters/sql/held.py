"""Events from outside, held for whoever waits or will wait for them, over a SQL database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from adapters.sql.database import Database, Row, Transaction
from adapters.sql.registers import expire
from adapters.sql.rows import as_instant
from adapters.sql.statements import Fragment
from application.registers import HeldEvent, register_partition


class SqlHeldEvents:
    """`HeldEventStore` over a SQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def _key(self, source: str, event_id: str) -> dict[str, object]:
        partition = register_partition(source, event_id, partitions=self._database.partitions)
        return {"partition": partition, "source": source, "id": event_id}

    async def put(self, event: HeldEvent) -> HeldEvent | None:
        where = self._key(event.source, event.id)
        values = {field: getattr(event, field) for field in event.__struct_fields__}

        def insert_or_look(transaction: Transaction) -> HeldEvent | None:
            while True:
                if transaction.run("hold_event", {**values, **where}):
                    return None
                for row in transaction.run("held_event", where):
                    return _event(row)
                # Its retention ended in between.

        return await self._database.change(insert_or_look)

    async def get(self, source: str, id: str) -> HeldEvent | None:  # noqa: A002
        rows = await self._database.read("held_event", self._key(source, id))
        return _event(rows[0]) if rows else None

    async def mark(
        self,
        source: str,
        id: str,  # noqa: A002
        *,
        taken: bool | None = None,
        looked: bool | None = None,
    ) -> None:
        params = {**self._key(source, id), "taken": taken, "looked": looked}
        await self._database.change(lambda transaction: transaction.run("mark_held", params))

    async def waiting(
        self,
        event_type: str | None,
        limit: int = 100,
        after: tuple[datetime, str, str] | None = None,
        *,
        source: str | None = None,
    ) -> list[HeldEvent]:
        params: dict[str, object] = {"limit": limit}
        where: list[Fragment] = []
        if event_type is not None:
            params["event_type"] = event_type
            where.append("held_of_type")
        if source is not None:
            params["of_source"] = source
            where.append("held_of_source")
        if after is not None:
            params |= {"received_at": after[0], "source": after[1], "id": after[2]}
            where.append("held_after")
        rows = await self._database.across("waiting", params, *where, order=_oldest_first, limit=limit)
        return [_event(row) for row in rows]

    async def unlooked(self, partitions: Sequence[int], limit: int = 100) -> list[HeldEvent]:
        rows = await self._database.across(
            "unlooked", {"limit": limit}, order=_oldest_first, limit=limit, partitions=partitions
        )
        return [_event(row) for row in rows]

    async def expire(self, before: datetime) -> int:
        return await expire(self._database, "expire_held", before)


def _oldest_first(row: Row) -> Row:
    return row[5], row[0], row[1]


def _event(row: Row) -> HeldEvent:
    source, event_id, event_type, digest, event, received_at, taken, looked = row
    return HeldEvent(source, event_id, event_type, digest, event, as_instant(received_at), bool(taken), bool(looked))
