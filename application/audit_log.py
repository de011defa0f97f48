"""The port through which a log is verified: plain rows in large pages, as they lie in the database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

LogRow = tuple[int, bytes, int, str, bytes, bytes, bytes, bytes | None]
"""(position, orchestration, version, topic, state, event_hash, log_hash, state_hash): a row of the log. The orchestration is
its own id's 16 bytes; `state_hash` is that of an archived event, whose state is empty.
"""


class LogHead(msgspec.Struct, frozen=True):
    """What one look at a partition saw: the head that its row tells, the last position in its log, and the position up to
    which the status view says it has seen it.
    """

    position: int
    log_hash: bytes
    last_position: int
    projected: int


class ArchivedRow(msgspec.Struct, frozen=True):
    """An orchestration in the archive."""

    orchestration: bytes
    public_id: str
    events: int
    content: bytes


class AuditLog(Protocol):
    """Reads for verification, of one partition at a time. Nothing here is decoded, and nothing changes."""

    async def head(self, partition: int) -> LogHead | None:
        """All of it as of one instant; None when the partition has no row."""
        ...

    async def page(self, partition: int, after: int, until: int, limit: int) -> list[LogRow]:
        """Rows with after < position <= until, in order of position."""
        ...

    async def event_hash(self, partition: int, orchestration: bytes, version: int) -> bytes | None:
        """The hash of this event as the log has it, wherever it stands."""
        ...

    async def unlogged(self, partition: int, limit: int) -> list[tuple[bytes, str, int, int]]:
        """(orchestration, public id, version, last version in the log, 0 when none), by orchestration, of those of which the
        status view or the archive has seen more than the log has; as of one instant.
        """
        ...

    async def archived(self, partition: int, after: bytes | None, limit: int) -> list[ArchivedRow]:
        """The archive in order of orchestration, those after `after`."""
        ...

    async def archived_events(
        self, partition: int, orchestrations: Sequence[bytes]
    ) -> list[tuple[bytes, int, int, bytes | None]]:
        """(orchestration, version, position, state_hash) of all events of these, in order of orchestration and version."""
        ...

    async def unarchived(self, partition: int, limit: int, after: int = 0) -> list[tuple[bytes, int]]:
        """(orchestration, position of its first event) where the bytes of the events are gone and the archive has no row, in
        order of this position, those after `after`; as of one instant.
        """
        ...
