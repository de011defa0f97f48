"""Blobs in memory."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from application.blob_store import BlobRow
from application.large_values import Blob
from tests.simulation.memory_data import Calls, MemoryData


class MemoryBlobs:
    """`BlobStore` in memory."""

    def __init__(self, data: MemoryData, calls: Calls) -> None:
        self._data = data
        self._calls = calls

    async def prepare(self, partition: int, rows: Sequence[BlobRow], at: datetime) -> list[BlobRow]:
        return list(rows)

    async def put(self, partition: int, orchestration: UUID, blob: Blob, at: datetime) -> None:
        async with self._calls.call("put blob"):
            key = (partition, orchestration, blob.digest)
            known = self._data.blobs.get(key)
            kept = blob if known is None or known[0].content is None else known[0]
            self._data.blobs[key] = (kept, None if known is not None and known[1] is None else at)

    async def get(self, partition: int, orchestration: UUID, digest: bytes) -> Blob | None:
        async with self._calls.call("blob"):
            found = self._data.blobs.get((partition, orchestration, digest))
            return None if found is None else found[0]

    async def holders(self, partition: int, digest: bytes, limit: int = 100) -> list[UUID]:
        async with self._calls.call("blob holders"):
            found = [key[1] for key in self._data.blobs if (key[0], key[2]) == (partition, digest)]
            return sorted(found)[:limit]

    async def page(
        self, partition: int, after: tuple[UUID, bytes] | None = None, limit: int = 100
    ) -> list[tuple[UUID, bytes, int]]:
        async with self._calls.call("blobs"):
            found = sorted((*key[1:], blob.size) for key, (blob, _) in self._data.blobs.items() if key[0] == partition)
            return [each for each in found if after is None or each[:2] > after][:limit]

    async def loose(self, partition: int, before: datetime, limit: int = 100) -> list[tuple[UUID, bytes]]:
        async with self._calls.call("loose blobs"):
            found = [
                (since, key[1], key[2])
                for key, (_, since) in self._data.blobs.items()
                if key[0] == partition and since is not None and since < before
            ]
            return [each[1:] for each in sorted(found)[:limit]]

    async def keep(self, partition: int, orchestration: UUID, digests: Sequence[bytes]) -> None:
        async with self._calls.call("keep blobs"):
            for digest in digests:
                key = (partition, orchestration, digest)
                if key in self._data.blobs:
                    self._data.blobs[key] = (self._data.blobs[key][0], None)

    async def drop_loose(self, partition: int, orchestration: UUID, digest: bytes, before: datetime) -> bool:
        async with self._calls.call("drop loose blob"):
            key = (partition, orchestration, digest)
            since = self._data.blobs[key][1] if key in self._data.blobs else None
            if since is None or since >= before:
                return False
            del self._data.blobs[key]
            return True

    async def drop(self, partition: int, orchestration: UUID, digests: Sequence[bytes]) -> None:
        async with self._calls.call("drop blobs"):
            for digest in digests:
                self._data.blobs.pop((partition, orchestration, digest), None)
