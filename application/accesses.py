"""Who read what: every look into histories, the feed of all events and its exports is itself recorded.

Records lie in chains, one per partition: each carries a number and a hash over its content and the hash before it, so one
that was changed, removed or put in between is found (`breaks`). Old ones are removed from the front; what is left still holds
together. The chains do not cover each other, and nothing signs their ends: who may write to the database can cut the newest
records off.

An access that lasts (a stream, an export) has two records of one id: `began`, written before anything is given away, and
`ended` with how many events it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, Literal, Protocol

import msgspec

GENESIS: Final = bytes(32)
What = Literal["feed", "history", "export", "bundle"]
Step = Literal["read", "began", "ended"]
_encode = msgspec.json.Encoder(order="deterministic").encode


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """`filters`: what was asked for, by the names of the API. `events`: how many were given; None while nobody knows."""

    id: str
    at: datetime
    actor: str
    what: What
    step: Step = "read"
    orchestration: str | None = None
    filters: dict[str, Any] = {}
    request_id: str | None = None
    events: int | None = None


class AccessRecord(msgspec.Struct, frozen=True):
    """An access in its place."""

    partition: int
    number: int
    access: Access
    previous: bytes
    hash: bytes


class AccessQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Newest first; `after`: (at, partition, number) of the last of the page before."""

    actor: str | None = None
    what: str | None = None
    orchestration: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    after: tuple[datetime, int, int] | None = None
    limit: int = 100


class AccessStore(Protocol):
    """The chains of accesses."""

    async def append(self, partition: int, accesses: Sequence[Access]) -> list[AccessRecord]:
        """Put them at the end of a chain, in this order, in one transaction; whoever else appends to it waits or is before.
        Not idempotent.
        """
        ...

    async def newest(self, query: AccessQuery) -> list[AccessRecord]: ...

    async def chain(self, partition: int, after: int = 0, limit: int = 1000) -> list[AccessRecord]:
        """Those with number > after, in order of number."""
        ...

    async def expire(self, before: datetime) -> int:
        """Remove from the front of each chain those before; gives how many. The last record of a chain always stays."""
        ...


def chained(partition: int, last: tuple[int, bytes], accesses: Iterable[Access]) -> Iterator[AccessRecord]:
    """Their places after `last`: (number, hash) of the end of the chain, (0, GENESIS) where there is none."""
    number, previous = last
    for access in accesses:
        number += 1
        hash_ = access_hash(previous, partition, number, access)
        yield AccessRecord(partition, number, access, previous, hash_)
        previous = hash_


def access_hash(previous: bytes, partition: int, number: int, access: Access) -> bytes:
    """Over the hash before and ``[partition, number, members]`` as JSON with sorted members."""
    return sha256(previous + _encode([partition, number, access])).digest()


def record_of(item: dict[str, Any]) -> AccessRecord:
    """An access as the API gives it, for `breaks`. Raises ValueError for what is none."""
    access = msgspec.convert(item, Access)
    previous, hash_ = bytes.fromhex(item["previous"]), bytes.fromhex(item["hash"])
    return AccessRecord(item["chain"], item["number"], access, previous, hash_)


def breaks(partition: int, records: Iterable[AccessRecord]) -> Iterator[str]:
    """What is wrong with a chain, a sentence for each place. `records`: all there are of it, in order of number."""
    before: AccessRecord | None = None
    for record in records:
        place = f"access {record.number} of chain {partition}"
        if access_hash(record.previous, partition, record.number, record.access) != record.hash:
            yield f"{place} has been changed"
        if before is None:
            if record.number == 1 and record.previous != GENESIS:
                yield f"{place} does not begin the chain"
        elif record.number != before.number + 1:
            yield f"{place} follows access {before.number}: what was between them is missing"
        elif record.previous != before.hash:
            yield f"{place} does not follow the one before it"
        before = record
