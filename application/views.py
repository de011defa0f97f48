"""The port of the status view: one row per orchestration, kept exactly once behind the log.

Rows carry the aggregate's own id (a UUID derived from the public id); it never leaves the service.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

import msgspec


class StatusRow(msgspec.Struct, frozen=True):
    """One line of the status view. `summary` is the JSON that lists answer with."""

    partition: int
    orchestration: UUID
    public_id: str
    namespace: str
    name: str
    definition_version: str
    status: str
    version: int
    business_key: str | None
    tags: dict[str, str]
    incidents: int
    started_at: datetime
    updated_at: datetime
    summary: bytes


class Move(msgspec.Struct, frozen=True):
    """The view of a partition goes on from one position of the log to a later one, and these are the rows that changed."""

    partition: int
    after: int
    until: int
    rows: Sequence[StatusRow]


class StatusQuery(msgspec.Struct, frozen=True):
    """What to list. `after` is (started_at, public_id) of the last row seen: newest first, ties by id ascending."""

    statuses: tuple[str, ...] = ()
    namespace: str | None = None
    name: str | None = None
    definition_version: str | None = None
    business_key: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    started_after: datetime | None = None
    started_before: datetime | None = None
    has_incident: bool | None = None
    after: tuple[datetime, str] | None = None
    limit: int = 100


class StatusView(Protocol):
    """A projection: rows and tracking change in one transaction, so that each event counts exactly once."""

    async def tracked(self, projection: str) -> dict[int, int]:
        """Partition -> position up to which this projection has seen the log (0 when absent)."""
        ...

    async def apply(self, projection: str, moves: Sequence[Move]) -> set[int]:
        """One transaction, at most one move for each partition. Gives the partitions that were at `after` and have moved; of
        the others nothing was done.
        """
        ...

    async def list(self, query: StatusQuery) -> list[StatusRow]: ...

    async def row(self, partition: int, orchestration: UUID) -> StatusRow | None:
        """The row of one orchestration."""
        ...

    async def still(
        self,
        partition: int,
        statuses: Sequence[str],
        before: datetime,
        after: tuple[datetime, str] | None = None,
        limit: int = 100,
    ) -> Sequence[StatusRow]:
        """Rows with one of these statuses that have not changed since `before`, by (started_at, public_id descending),
        those after `after`.
        """
        ...

    async def reset(self, projection: str, partition: int) -> None:
        """Forget everything of a partition, to be built again from the log."""
        ...
