"""The ports of the registers: idempotency keys, business keys, and events from outside.

Their rows lie in the partition of a hash of their key, and each is decided by "insert or nothing" or compare-and-set on that
key, so any node may use them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import Protocol

import msgspec


class RequestRecord(msgspec.Struct, frozen=True):
    """The answer to a request with an Idempotency-Key; `status` None while it is in progress."""

    fingerprint: bytes
    status: int | None
    headers: dict[str, str]
    body: bytes
    started_at: datetime


class RequestStore(Protocol):
    """Idempotency keys, scoped to the caller; rows live in partition hash(caller, key)."""

    async def begin(self, caller: str, key: str, fingerprint: bytes, at: datetime) -> RequestRecord | None:
        """None: the key is new and now in progress. Otherwise what is there."""
        ...

    async def finish(self, caller: str, key: str, status: int, headers: dict[str, str], body: bytes) -> None: ...

    async def abandon(self, caller: str, key: str) -> None:
        """The request left nothing behind; the key is free again."""
        ...

    async def take_over(self, caller: str, key: str, started_at: datetime, at: datetime) -> bool:
        """Compare-and-set of an in-progress row of a request that died."""
        ...

    async def expire(self, before: datetime) -> int:
        """Remove rows started before; gives how many."""
        ...


class KeyStore(Protocol):
    """Business keys: who holds a key of a definition."""

    async def reserve(self, definition: str, key: str, public_id: str) -> str:
        """Insert or nothing; gives the holder after it."""
        ...

    async def holds(self, definition: str, key: str, public_id: str) -> bool:
        """Whether the key is reserved for this id and no contender is announced."""
        ...

    async def contend(self, definition: str, key: str, holder: str, contender: str | None) -> None:
        """Announce a contender (None: none any more), whoever was announced before, if the holder is still this one."""
        ...

    async def withdraw(self, definition: str, key: str, contender: str) -> None:
        """It does not contend any more, if it is the one that is announced."""
        ...

    async def take_over(self, definition: str, key: str, holder: str, public_id: str, *, contended: bool) -> bool:
        """Compare-and-set of the holder, to one without contender; `contended`: only while `public_id` is the contender."""
        ...


class HeldEvent(msgspec.Struct, frozen=True):
    """An event from outside for whoever waits. `taken` once an orchestration got it; `looked` once its publisher has
    looked at the subscriptions (an unfinished look is repeated).
    """

    source: str
    id: str
    event_type: str
    digest: bytes
    event: bytes
    received_at: datetime
    taken: bool = False
    looked: bool = False


class HeldEventStore(Protocol):
    """Events from outside, in partition hash(source, id); that key is the dedupe."""

    async def put(self, event: HeldEvent) -> HeldEvent | None:
        """None: stored. Otherwise the one already there."""
        ...

    async def get(self, source: str, id: str) -> HeldEvent | None: ...  # noqa: A002

    async def mark(  # `id` is the attribute's name in CloudEvents
        self,
        source: str,
        id: str,  # noqa: A002
        *,
        taken: bool | None = None,
        looked: bool | None = None,
    ) -> None: ...

    async def waiting(
        self,
        event_type: str | None,
        limit: int = 100,
        after: tuple[datetime, str, str] | None = None,
        *,
        source: str | None = None,
    ) -> list[HeldEvent]:
        """Untaken events of this type and source (None: all), oldest first by (received_at, source, id)."""
        ...

    async def unlooked(self, partitions: Sequence[int], limit: int = 100) -> list[HeldEvent]:
        """Events of these partitions whose arrival is not over, oldest first."""
        ...

    async def expire(self, before: datetime) -> int:
        """Remove those received before whose arrival is over; gives how many."""
        ...


def register_partition(*parts: str, partitions: int) -> int:
    """The partition of a row of a register (requests, keys, held events), from the parts of its key. Never changes:
    rows are found again by it. Each part goes in with its length, so that ("a", "bc") and ("ab", "c") are two keys.
    """
    digest = sha256()
    for part in parts:
        raw = part.encode("utf-8", "surrogatepass")
        digest.update(len(raw).to_bytes(8))
        digest.update(raw)
    return int.from_bytes(digest.digest()[:8]) % partitions
