"""Checkpoints as they are kept, and the ports of those who keep, sign and receive them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import msgspec


class CheckpointRecord(msgspec.Struct, frozen=True):
    """The log hash of a partition at a position, signed (application/checkpoints.py says how)."""

    partition: int
    position: int
    log_hash: bytes
    made_at: datetime
    key_id: str
    signature: bytes


class CheckpointStore(Protocol):
    """Checkpoints by partition and position. Nothing is ever replaced or removed."""

    async def put(self, records: Sequence[CheckpointRecord]) -> None:
        """One transaction. Where there is one already at a position, it stays."""
        ...

    async def page(
        self, partition: int | None = None, limit: int = 100, after: tuple[int, int] | None = None
    ) -> list[CheckpointRecord]:
        """In order of (partition, position), those after `after`; of one partition or of all."""
        ...

    async def latest(self, until: datetime | None = None) -> list[CheckpointRecord]:
        """The one at the highest position of each partition, of those made at `until` or before."""
        ...


class Signer(Protocol):
    """Holds a private key."""

    @property
    def key_id(self) -> str: ...

    def sign(self, message: bytes) -> bytes: ...


class PublicKeys(Protocol):
    """The public keys whose signatures count."""

    def listed(self) -> list[dict[str, Any]]:
        """``{key_id, algorithm, public_key, pem, current}`` of each."""
        ...

    def holds(self, key_id: str, message: bytes, signature: bytes) -> bool | None:
        """Whether the signature is the key's; None when there is no such key."""
        ...


class CheckpointOutlet(Protocol):
    """A place outside the database."""

    async def put(self, checkpoints: Sequence[Mapping[str, Any]]) -> None:
        """Keep them for good. Raises DeliveryError when it has to be tried again; then some may be there already."""
        ...


class NoKeys:
    """`PublicKeys` without any."""

    def listed(self) -> list[dict[str, Any]]:
        return []

    def holds(self, key_id: str, message: bytes, signature: bytes) -> bool | None:
        return None
