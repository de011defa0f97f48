"""The port of large values and files: bytes beside the log, under the orchestration that they belong to and their digest.

A blob belongs to one orchestration, as its events do: what two of them have alike is kept twice, and nobody has to count who
still needs it. Blobs of large values come in the transaction of the event that refers to them. Whatever is written before
such a transaction, a file that a participant sent or the content of a store outside the database, is *loose* until it is
known that an event names it; what stays loose for long is dropped (application/blob_collector.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

import msgspec

from application.large_values import Blob


class BlobRow(msgspec.Struct, frozen=True):
    """A blob of an orchestration, for the transaction of its events."""

    orchestration: UUID
    blob: Blob


class BlobStore(Protocol):
    """Bytes by (partition, orchestration, digest). Putting what is there already is harmless."""

    async def prepare(self, partition: int, rows: Sequence[BlobRow], at: datetime) -> list[BlobRow]:
        """What to hand to the transaction of the events (`PartitionWrite.blobs`). A store outside the database writes the
        contents now, so that nothing refers to what is not there. Raises StorageError.
        """
        ...

    async def put(self, partition: int, orchestration: UUID, blob: Blob, at: datetime) -> None:
        """Write a loose one, in a transaction of its own; it is loose since `at`, also where it was there and loose."""
        ...

    async def get(self, partition: int, orchestration: UUID, digest: bytes) -> Blob | None:
        """With its content, as it is kept: whether that still has this digest, the caller checks. None when it is gone."""
        ...

    async def holders(self, partition: int, digest: bytes, limit: int = 100) -> list[UUID]:
        """Orchestrations of the partition that have it."""
        ...

    async def page(
        self, partition: int, after: tuple[UUID, bytes] | None = None, limit: int = 100
    ) -> list[tuple[UUID, bytes, int]]:
        """(orchestration, digest, size) in this order, those after `after`; contents are not read."""
        ...

    async def loose(self, partition: int, before: datetime, limit: int = 100) -> list[tuple[UUID, bytes]]:
        """(orchestration, digest) of those that are loose since before this instant."""
        ...

    async def keep(self, partition: int, orchestration: UUID, digests: Sequence[bytes]) -> None:
        """They are loose no longer."""
        ...

    async def drop_loose(self, partition: int, orchestration: UUID, digest: bytes, before: datetime) -> bool:
        """Remove one that is loose since before this instant; False when it is not, or is not there."""
        ...

    async def drop(self, partition: int, orchestration: UUID, digests: Sequence[bytes]) -> None:
        """Remove them, loose or not. Idempotent."""
        ...
