"""The log with the large values of its events at hand: what is read can be decoded whole.

A value that cannot be had fails the decoding of its own event, with its digest and the orchestration's id in the error; the
events beside it are read as ever. What several events of a page refer to is read once.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from uuid import UUID

import msgspec

from application.blob_store import BlobStore
from application.large_values import Contents, Reference, has_references, public_id_in, references
from application.storage import Head, LogStore, PartitionWrite, StoredRecord


class AttachedLog:
    """`LogStore` over a log and the blobs beside it."""

    def __init__(self, log: LogStore, blobs: BlobStore) -> None:
        self._log = self.bare = log
        """Without the contents."""
        self._blobs = blobs

    async def attached(
        self, partition: int, records: list[StoredRecord], *, only_bytes: bool = False
    ) -> list[StoredRecord]:
        """Records with the contents that they refer to. `only_bytes`: not those that clients see as references."""
        if not any(has_references(record.state) for record in records):
            return records
        known: dict[tuple[UUID, bytes], bytes | None] = {}
        found = []
        for record in records:
            if not has_references(record.state):
                found.append(record)
                continue
            wanted = [each for each in _references(record) if each.kind == "bytes" or not only_bytes]
            contents = await self._contents(partition, record, wanted, known)
            found.append(msgspec.structs.replace(record, blobs=contents))
        return found

    async def _contents(
        self,
        partition: int,
        record: StoredRecord,
        wanted: Sequence[Reference],
        known: dict[tuple[UUID, bytes], bytes | None],
    ) -> Contents:
        contents = Contents()
        for each in wanted:
            key = (record.orchestration, each.digest)
            if key not in known:
                blob = await self._blobs.get(partition, *key)
                known[key] = None if blob is None else blob.content
                if (found := known[key]) is not None and sha256(found).digest() != each.digest:
                    known[key] = None
            content = known[key]
            if content is not None:
                contents[each.digest] = content
        if len(contents) < len({each.digest for each in wanted}):
            for first in await self._log.stream(partition, record.orchestration, 0, 1):
                contents.of = public_id_in(first.state)
        return contents

    # Reading ----------------------------------------------------------------------------------------------------------

    async def stream(
        self, partition: int, orchestration: UUID, after: int = 0, limit: int = 1000
    ) -> list[StoredRecord]:
        return await self.attached(partition, await self._log.stream(partition, orchestration, after, limit))

    async def log(
        self,
        partition: int,
        after: int = 0,
        limit: int = 1000,
        *,
        until: int | None = None,
        topics: Sequence[str] = (),
    ) -> list[StoredRecord]:
        records = await self._log.log(partition, after, limit, until=until, topics=topics)
        return await self.attached(partition, records)

    # As it is ---------------------------------------------------------------------------------------------------------

    async def open(self, partitions: int, lease_s: float) -> int:
        return await self._log.open(partitions, lease_s)

    async def close(self) -> None:
        await self._log.close()

    async def salt(self) -> bytes:
        return await self._log.salt()

    async def write(self, writes: Sequence[PartitionWrite]) -> list[bool]:
        return await self._log.write(writes)

    async def heads(self, partitions: Sequence[int]) -> list[Head]:
        return await self._log.heads(partitions)

    async def positions(self, partitions: Sequence[int]) -> list[tuple[int, int]]:
        return await self._log.positions(partitions)

    async def in_flight(self, partition: int, after: UUID | None = None, limit: int = 500) -> list[UUID]:
        return await self._log.in_flight(partition, after, limit)

    async def due(
        self, partitions: Sequence[int], until: datetime, limit: int = 500
    ) -> list[tuple[int, UUID, datetime]]:
        return await self._log.due(partitions, until, limit)

    async def emitted(
        self, partition: int, limit: int = 100, after: tuple[UUID, int] | None = None
    ) -> list[tuple[UUID, int, bytes]]:
        return await self._log.emitted(partition, limit, after)

    async def published(self, partition: int, items: Sequence[tuple[UUID, int]]) -> None:
        await self._log.published(partition, items)

    async def subscribers(
        self, event_type: str, after: tuple[int, UUID] | None = None, limit: int = 500, *, only: int | None = None
    ) -> list[tuple[int, UUID]]:
        return await self._log.subscribers(event_type, after, limit, only=only)


def _references(record: StoredRecord) -> Sequence[Reference]:
    try:
        return references(record.state)
    except (ValueError, IndexError, msgspec.MsgspecError):
        return ()  # damaged; decoding it says so
