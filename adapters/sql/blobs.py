"""Blobs over a SQL database: one row each, its content in it, or, where there is a place outside, only that it is there."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from adapters.sql.database import Database, Row
from adapters.sql.rows import as_uuid
from application.blob_store import BlobRow
from application.large_values import Blob
from application.storage import PartitionWrite


class SqlBlobs:
    """`BlobStore` over a SQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def prepare(self, partition: int, rows: Sequence[BlobRow], at: datetime) -> list[BlobRow]:
        return list(rows)

    async def put(self, partition: int, orchestration: UUID, blob: Blob, at: datetime) -> None:
        params = {
            "partition": partition,
            "orchestration": orchestration,
            "digest": blob.digest,
            "media_type": blob.media_type,
            "size": blob.size,
            "at": at,
            "content": blob.content,
        }
        await self._database.change(lambda transaction: transaction.run("put_loose_blob", params))

    async def get(self, partition: int, orchestration: UUID, digest: bytes) -> Blob | None:
        params = {"partition": partition, "orchestration": orchestration, "digest": digest}
        for media_type, size, content in await self._database.read("blob", params):
            return Blob(digest, media_type, size, content)
        return None

    async def holders(self, partition: int, digest: bytes, limit: int = 100) -> list[UUID]:
        params = {"partition": partition, "digest": digest, "limit": limit}
        return [as_uuid(row[0]) for row in await self._database.read("blob_holders", params)]

    async def page(
        self, partition: int, after: tuple[UUID, bytes] | None = None, limit: int = 100
    ) -> list[tuple[UUID, bytes, int]]:
        params: dict[str, object] = {"partition": partition, "limit": limit}
        where = []
        if after is not None:
            params |= {"after_orchestration": after[0], "after_digest": after[1]}
            where.append("blobs_after")
        rows = await self._database.read("blobs", params, *where)
        return [(as_uuid(orchestration), digest, size) for orchestration, digest, size in rows]

    async def loose(self, partition: int, before: datetime, limit: int = 100) -> list[tuple[UUID, bytes]]:
        params = {"partition": partition, "before": before, "limit": limit}
        return [(as_uuid(row[0]), row[1]) for row in await self._database.read("loose_blobs", params)]

    async def keep(self, partition: int, orchestration: UUID, digests: Sequence[bytes]) -> None:
        await self._each("keep_blob", partition, orchestration, digests)

    async def drop(self, partition: int, orchestration: UUID, digests: Sequence[bytes]) -> None:
        await self._each("drop_blob", partition, orchestration, digests)

    async def drop_loose(self, partition: int, orchestration: UUID, digest: bytes, before: datetime) -> bool:
        params = {"partition": partition, "orchestration": orchestration, "digest": digest, "before": before}
        return bool(await self._database.change(lambda transaction: transaction.run("drop_loose_blob", params)))

    async def _each(self, name: str, partition: int, orchestration: UUID, digests: Sequence[bytes]) -> None:
        if digests:
            rows: list[Row] = [(partition, orchestration, digest) for digest in digests]
            await self._database.change(lambda transaction: transaction.each(name, rows))


def blob_rows(writes: Sequence[PartitionWrite]) -> list[Row]:
    """Rows of all blobs of these writes, each once: one statement must not meet the same row twice."""
    rows: dict[tuple[int, UUID, bytes], Row] = {}
    for write in writes:
        for each in write.blobs:
            blob, partition = each.blob, write.head.partition
            rows[partition, each.orchestration, blob.digest] = (
                partition,
                each.orchestration,
                blob.digest,
                blob.media_type,
                blob.size,
                blob.content,
            )
    return list(rows.values())
