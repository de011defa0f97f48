"""The log and its work tables over a SQL database.

`write` is the hot path: the fences, one statement for the events, one per work table that changes, in one transaction.
`read_stream`, `read_log` and `read_head` run on the calling thread: `eventsourcing` reads the log through them
(adapters/stored_recorder.py), and the asynchronous reads are theirs on a reader's thread.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from adapters.sql.blobs import blob_rows
from adapters.sql.database import Database, Fence, Row, Transaction
from adapters.sql.rows import as_head, as_instant, as_record, as_uuid
from adapters.sql.statements import Fragment
from adapters.sql.work import work_rows
from application.storage import NO_HASH, Head, PartitionWrite, StoredRecord

_ALL = 2**31 - 1


class SqlLog:
    """`LogStore` over a SQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open(self, partitions: int, lease_s: float) -> int:
        await self._database.open(lease_s)
        salt = secrets.token_bytes(32)

        def create(transaction: Transaction) -> int:
            transaction.run("create_settings", {"salt": salt, "partitions": partitions})
            [(stored,)] = transaction.run("stored_partitions", {})
            transaction.each("create_partition", [(partition, NO_HASH) for partition in range(stored)])
            return int(stored)

        self._database.partitions = await self._database.change(create)
        return self._database.partitions

    async def close(self) -> None:
        await self._database.close()

    async def salt(self) -> bytes:
        [(salt,)] = await self._database.read("salt", {})
        return bytes(salt)

    async def write(self, writes: Sequence[PartitionWrite]) -> list[bool]:
        ordered = sorted(writes, key=lambda write: write.head.partition)
        fences = [
            Fence(
                write.head.partition, write.head.epoch, write.head.position, write.after.position, write.after.log_hash
            )
            for write in ordered
        ]
        records: list[Row] = [
            (
                write.head.partition,
                each.position,
                each.orchestration,
                each.version,
                each.topic,
                each.state,
                each.event_hash,
                each.log_hash,
            )
            for write in ordered
            for each in write.records
        ]
        changes: list[tuple[str, Sequence[Row]]] = [("put_event", records)] if records else []
        if any(write.blobs for write in ordered):
            changes.append(("put_blob", blob_rows(ordered)))
        changes.extend(work_rows(ordered))
        return [await self._database.commit(fences, changes)] * len(writes)

    async def heads(self, partitions: Sequence[int]) -> list[Head]:
        # One statement each: PostgreSQL's waits for the transaction in doubt to end, and no one waits for two rows.
        return [as_head(row) for each in partitions for row in await self._database.read("head", {"partition": each})]

    async def positions(self, partitions: Sequence[int]) -> list[tuple[int, int]]:
        rows = await self._database.read("positions", {})
        wanted = set(partitions)
        return [(partition, position) for partition, position in rows if partition in wanted]

    async def stream(
        self, partition: int, orchestration: UUID, after: int = 0, limit: int = 1000
    ) -> list[StoredRecord]:
        params = {"partition": partition, "orchestration": orchestration, "after": after, "until": _ALL, "limit": limit}
        return [as_record(row, orchestration) for row in await self._database.read("stream", params)]

    async def log(
        self,
        partition: int,
        after: int = 0,
        limit: int = 1000,
        *,
        until: int | None = None,
        topics: Sequence[str] = (),
    ) -> list[StoredRecord]:
        params, where = _window(partition, after, until, topics, limit)
        return [as_record(row) for row in await self._database.read("log", params, *where)]

    # For readers without an event loop (eventsourcing) -----------------------------------------------------------

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
        """Versions > after and <= until."""
        params = {
            "partition": partition,
            "orchestration": orchestration,
            "after": after,
            "until": _ALL if until is None else until,
            "limit": _ALL if limit is None else limit,
        }
        rows = self._database.read_now("stream_newest_first" if newest_first else "stream", params)
        return [as_record(row) for row in rows]

    def read_log(
        self, partition: int, *, after: int, until: int | None, topics: Sequence[str], limit: int
    ) -> list[StoredRecord]:
        """Positions > after and <= until; only these topics, unless there are none."""
        params, where = _window(partition, after, until, topics, limit)
        return [as_record(row) for row in self._database.read_now("log", params, *where)]

    def read_head(self, partition: int) -> int:
        """The position of the last committed event; 0 when there is none."""
        [(position,)] = self._database.read_now("last_position", {"partition": partition})
        return int(position)

    # Work --------------------------------------------------------------------------------------------------------

    async def in_flight(self, partition: int, after: UUID | None = None, limit: int = 500) -> list[UUID]:
        params: dict[str, object] = {"partition": partition, "limit": limit}
        where = []
        if after is not None:
            params["after"] = after
            where.append("in_flight_after")
        return [as_uuid(row[0]) for row in await self._database.read("in_flight", params, *where)]

    async def due(
        self, partitions: Sequence[int], until: datetime, limit: int = 500
    ) -> list[tuple[int, UUID, datetime]]:
        params = {"until": until, "limit": limit}
        rows = await self._database.across("due", params, order=_by_due_at, limit=limit, partitions=partitions)
        return [(partition, as_uuid(orchestration), as_instant(due_at)) for due_at, partition, orchestration in rows]

    async def emitted(
        self, partition: int, limit: int = 100, after: tuple[UUID, int] | None = None
    ) -> list[tuple[UUID, int, bytes]]:
        params: dict[str, object] = {"partition": partition, "limit": limit}
        where = []
        if after is not None:
            params |= {"after_orchestration": after[0], "after_number": after[1]}
            where.append("emitted_after")
        rows = await self._database.read("emitted", params, *where)
        return [(as_uuid(orchestration), number, event) for orchestration, number, event in rows]

    async def published(self, partition: int, items: Sequence[tuple[UUID, int]]) -> None:
        if items:
            rows = [(partition, *item) for item in items]
            await self._database.change(lambda transaction: transaction.each("drop_emitted", rows))

    async def subscribers(
        self, event_type: str, after: tuple[int, UUID] | None = None, limit: int = 500, *, only: int | None = None
    ) -> list[tuple[int, UUID]]:
        params: dict[str, object] = {"event_type": event_type, "limit": limit}
        where = []
        if after is not None:
            params |= {"after_partition": after[0], "after": after[1]}
            where.append("subscribers_after")
        rows = await self._database.across(
            "subscribers",
            params,
            *where,
            order=lambda row: row,
            limit=limit,
            partitions=None if only is None else [only],
        )
        return [(partition, as_uuid(orchestration)) for partition, orchestration in rows]


def _window(
    partition: int, after: int, until: int | None, topics: Sequence[str], limit: int
) -> tuple[dict[str, object], list[Fragment]]:
    params: dict[str, object] = {"partition": partition, "after": after, "limit": limit}
    where: list[Fragment] = []
    if until is not None:
        params["until"] = until
        where.append("log_until")
    if topics:
        params["topics"] = msgspec.json.encode(topics).decode()
        where.append("log_topics")
    return params, where


def _by_due_at(row: Row) -> Row:
    return row
