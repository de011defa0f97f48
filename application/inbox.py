"""The inbox of a partition: commands from nodes that do not own it, and their replies.

A row is a command with an id of its own; its reply is written in the transaction of the events that the command led to, so
a command is carried out once however often its row is read, and whoever owns the partition by then. The owner takes the
oldest rows without a reply and keeps no cursor, for rows do not become visible in the order in which they were inserted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

import msgspec


class InboxRow(msgspec.Struct, frozen=True):
    """A command. `kept`: its id comes from a client's key, so that a repeat has to find it for a long time."""

    partition: int
    command_id: str
    body: bytes
    kept: bool = False


class Inbox(Protocol):
    """Rows of all partitions."""

    async def put(self, row: InboxRow, at: datetime) -> bytes | None:
        """Insert or nothing; gives the reply if there is one already. Wakes the owner where the database can."""
        ...

    async def pending(self, partitions: Sequence[int], limit: int = 500) -> list[InboxRow]:
        """Rows without a reply in these partitions, oldest first."""
        ...

    async def replies(self, rows: Sequence[tuple[int, str]]) -> dict[str, bytes]:
        """Command id -> reply, for those of (partition, command id) that have one."""
        ...

    async def expire(self, before: datetime, *, kept: bool) -> int:
        """Remove rows that arrived before and have a reply: those that are `kept`, or the others; gives how many."""
        ...


class Signals(Protocol):
    """Hints between nodes: something may have changed. They may be lost or repeated, so nothing relies on them but speed."""

    async def open(self) -> None:
        """Begin to hear. Idempotent."""
        ...

    async def close(self) -> None:
        """Idempotent."""
        ...

    def listen(self, hear: Callable[[str], None]) -> None:
        """Call `hear` on the event loop with each hint: ``nodes``, ``inbox``, ``reply``."""
        ...

    async def tell(self, hint: str) -> None:
        """Never raises."""
        ...
