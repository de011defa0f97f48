"""The status view over a SQL database.

A list reads one index range `(partition, started_at desc, public_id)` per partition and merges them, so a page costs
the same however long the list is; filters are applied on the way.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from adapters.sql.database import Database, Row, Transaction
from adapters.sql.rows import as_instant, as_uuid, microseconds
from adapters.sql.statements import Fragment
from application.views import Move, StatusQuery, StatusRow


class SqlStatusView:
    """`StatusView` over a SQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def tracked(self, projection: str) -> dict[int, int]:
        return dict(await self._database.read("tracked", {"projection": projection}))

    async def apply(self, projection: str, moves: Sequence[Move]) -> set[int]:
        steps = [{"partition": move.partition, "after": move.after, "until": move.until} for move in moves]
        moving = {"projection": projection, "moves": msgspec.json.encode(steps).decode()}

        def project(transaction: Transaction) -> set[int]:
            for move in moves:
                if move.after == 0:
                    transaction.run("start_tracking", {"projection": projection, "partition": move.partition})
            moved = {int(partition) for (partition,) in transaction.run("move_tracking", moving)}
            _put(transaction, [row for move in moves if move.partition in moved for row in move.rows])
            return moved

        return await self._database.change(project)

    async def list(self, query: StatusQuery) -> list[StatusRow]:
        params: dict[str, object] = {"limit": query.limit}
        where: list[Fragment] = []
        for name in ("namespace", "name", "definition_version", "business_key", "started_after", "started_before"):
            if (value := getattr(query, name)) is not None:
                params[name] = value
                where.append(f"status_{name}")
        if query.statuses:
            params["statuses"] = msgspec.json.encode(query.statuses).decode()
            where.append("status_in")
        if query.has_incident is not None:
            where.append("status_with_incident" if query.has_incident else "status_without_incident")
        for number, (key, value) in enumerate(query.tags):
            params |= {f"tag_key_{number}": key, f"tag_value_{number}": value}
            where.append(("status_tag", number))
        if query.after is not None:
            params |= {"last_started_at": query.after[0], "last_public_id": query.after[1]}
            where.append("status_page")
        rows = await self._database.across("list_status", params, *where, order=_newest_first, limit=query.limit)
        return [_row(row) for row in rows]

    async def row(self, partition: int, orchestration: UUID) -> StatusRow | None:
        rows = await self._database.read("status_of", {"partition": partition, "orchestration": orchestration})
        return _row(rows[0]) if rows else None

    async def still(
        self,
        partition: int,
        statuses: Sequence[str],
        before: datetime,
        after: tuple[datetime, str] | None = None,
        limit: int = 100,
    ) -> Sequence[StatusRow]:
        params: dict[str, object] = {"partition": partition, "before": before, "limit": limit}
        params["statuses"] = msgspec.json.encode(statuses).decode()
        where: list[Fragment] = []
        if after is not None:
            params |= {"after_started_at": after[0], "after_public_id": after[1]}
            where.append("still_after")
        return [_row(row) for row in await self._database.read("still", params, *where)]

    async def reset(self, projection: str, partition: int) -> None:
        step = {"projection": projection, "partition": partition}

        def forget(transaction: Transaction) -> None:
            for statement in ("reset_tracking", "reset_tags", "reset_status"):
                transaction.run(statement, step)

        await self._database.change(forget)


def _put(transaction: Transaction, rows: Sequence[StatusRow]) -> None:
    # The last row of an orchestration wins; PostgreSQL refuses to touch a row twice in one statement.
    latest = {(row.partition, row.orchestration): row for row in rows}
    if latest:
        transaction.each("put_status", [_line(row) for row in latest.values()])
        transaction.each("drop_tags", list(latest))
    if tags := [(*key, *tag) for key, row in latest.items() for tag in row.tags.items()]:
        transaction.each("put_tag", tags)


def _newest_first(row: Row) -> tuple[int, str]:
    return -microseconds(as_instant(row[11])), row[2]


def _line(row: StatusRow) -> Row:
    return (
        row.partition,
        row.orchestration,
        row.public_id,
        row.namespace,
        row.name,
        row.definition_version,
        row.status,
        row.version,
        row.business_key,
        msgspec.json.encode(row.tags).decode(),
        row.incidents,
        row.started_at,
        row.updated_at,
        row.summary,
    )


def _row(row: Row) -> StatusRow:
    (partition, orchestration, public_id, namespace, name, definition_version, status, version, business_key) = row[:9]
    tags, incidents, started_at, updated_at, summary = row[9:]
    return StatusRow(
        partition,
        as_uuid(orchestration),
        public_id,
        namespace,
        name,
        definition_version,
        status,
        version,
        business_key,
        msgspec.json.decode(tags),
        incidents,
        as_instant(started_at),
        as_instant(updated_at),
        summary,
    )
