"""Blobs whose contents lie outside the database: in a folder, or in an object store.

The database keeps a row for each without its content. The order makes it safe: first the row, loose; then the content; then
the transaction that refers to it. A crash in between leaves something loose, which is found and dropped. Dropping takes the
row first, so that nobody finds what is about to go; a writer that comes with the same meanwhile waits, for its content would
go too. Contents that are written once never change, and writing again what is
there does no harm.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID
from weakref import WeakValueDictionary

import msgspec

from application.blob_store import BlobRow, BlobStore
from application.large_values import Blob


class Vault(Protocol):
    """A place for contents by name (letters, digits, ``-`` and ``/``). Raises StorageError where it cannot be used."""

    async def put(self, name: str, content: bytes, media_type: str) -> None:
        """Once this returns, the content survives a crash. Idempotent: one name has one content."""
        ...

    async def get(self, name: str) -> bytes | None:
        """What is there, if anything."""
        ...

    async def drop(self, name: str) -> None:
        """Idempotent."""
        ...

    async def check(self) -> None:
        """Raises StorageError where it certainly cannot be used; asked when the service starts."""
        ...


class OutsideBlobs:
    """`BlobStore` over the rows of a database and a vault. What lies in the rows themselves is read from there, so a database
    may change its mind.
    """

    def __init__(self, rows: BlobStore, vault: Vault) -> None:
        self._rows = rows
        self._vault = vault
        self._locks = WeakValueDictionary[str, asyncio.Lock]()

    async def prepare(self, partition: int, rows: Sequence[BlobRow], at: datetime) -> list[BlobRow]:
        bare = []
        for each in rows:
            await self.put(partition, each.orchestration, each.blob, at)
            bare.append(BlobRow(each.orchestration, _bare(each.blob)))
        return bare

    async def put(self, partition: int, orchestration: UUID, blob: Blob, at: datetime) -> None:
        name = _name(partition, orchestration, blob.digest)
        async with self._alone(name):
            await self._rows.put(partition, orchestration, _bare(blob), at)
            if blob.content is not None:
                await self._vault.put(name, blob.content, blob.media_type)

    async def get(self, partition: int, orchestration: UUID, digest: bytes) -> Blob | None:
        found = await self._rows.get(partition, orchestration, digest)
        if found is None or found.content is not None:
            return found
        content = await self._vault.get(_name(partition, orchestration, digest))
        return None if content is None else msgspec.structs.replace(found, content=content)

    async def holders(self, partition: int, digest: bytes, limit: int = 100) -> list[UUID]:
        return await self._rows.holders(partition, digest, limit)

    async def page(
        self, partition: int, after: tuple[UUID, bytes] | None = None, limit: int = 100
    ) -> list[tuple[UUID, bytes, int]]:
        return await self._rows.page(partition, after, limit)

    async def loose(self, partition: int, before: datetime, limit: int = 100) -> list[tuple[UUID, bytes]]:
        return await self._rows.loose(partition, before, limit)

    async def keep(self, partition: int, orchestration: UUID, digests: Sequence[bytes]) -> None:
        await self._rows.keep(partition, orchestration, digests)

    async def drop_loose(self, partition: int, orchestration: UUID, digest: bytes, before: datetime) -> bool:
        name = _name(partition, orchestration, digest)
        async with self._alone(name):
            dropped = await self._rows.drop_loose(partition, orchestration, digest, before)
            if dropped:
                await self._vault.drop(name)
            return dropped

    async def drop(self, partition: int, orchestration: UUID, digests: Sequence[bytes]) -> None:
        await self._rows.drop(partition, orchestration, digests)
        for digest in digests:
            await self._vault.drop(_name(partition, orchestration, digest))

    def _alone(self, name: str) -> asyncio.Lock:
        """Held by whoever writes or drops this content: both is up to the partition's owner, which is one process."""
        lock = self._locks.get(name)
        if lock is None:
            lock = self._locks[name] = asyncio.Lock()
        return lock


def _bare(blob: Blob) -> Blob:
    return msgspec.structs.replace(blob, content=None)


def _name(partition: int, orchestration: UUID, digest: bytes) -> str:
    return f"{partition}/{orchestration.hex}/{digest.hex()}"
