"""The archive over a SQL database: a finished orchestration leaves every table but the log, where its events keep their
place in the chain without their bytes. All of that is one transaction under the partition's epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import msgspec

from adapters.sql.database import Database, Row, Transaction
from adapters.sql.rows import as_instant, as_uuid
from application.storage import ArchiveRecord, Head


class SqlArchive:
    """`ArchiveStore` over a SQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, fence: Head, record: ArchiveRecord, stripped: Sequence[tuple[int, bytes]]) -> bool:
        place = {"partition": fence.partition, "orchestration": record.orchestration}
        bare: list[Row] = [(fence.partition, *each) for each in stripped]
        row = {"partition": fence.partition, **msgspec.structs.asdict(record)}

        def archive(transaction: Transaction) -> bool:
            if not transaction.run("lock_partition", {"partition": fence.partition, "epoch": fence.epoch}):
                return False
            if transaction.run("last_version", place) != [(record.events, None)]:
                return False
            transaction.each("strip_event", bare)
            transaction.run("put_archived", row)
            for statement in ("drop_tags_of", "drop_status", "drop_snapshot"):
                transaction.run(statement, place)
            return True

        return await self._database.change(archive)

    async def get(self, partition: int, orchestration: UUID) -> ArchiveRecord | None:
        place = {"partition": partition, "orchestration": orchestration}
        for identity, public_id, definition, status, started_at, ended_at, *rest in await self._database.read(
            "archived", place
        ):
            events, archived_at, content = rest
            return ArchiveRecord(
                as_uuid(identity),
                public_id,
                definition,
                status,
                as_instant(started_at),
                as_instant(ended_at),
                events,
                as_instant(archived_at),
                content,
            )
        return None
