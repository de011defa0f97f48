"""Open tasks for people as they are stored: what a list shows and is filtered by.

A row comes, changes and goes in the transaction of the events that say so (`PutHuman`, `DropHuman`), so a list is as fresh as
the log. The orchestration has the rest; whether something may be done is decided there and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import msgspec

EVERYONE = "*"
"""In `people` of a row: whoever asks."""


class HumanRow(msgspec.Struct, frozen=True):
    """One line of a list. `content` is the JSON of what does not change by looking at it later."""

    public_id: str
    number: int
    status: str
    assignee: str | None
    rank: int
    due_at: datetime | None
    created_at: datetime
    content: bytes


Place = tuple[int, datetime, str, int]
"""(rank, created_at, public id of the orchestration, number): the order of lists."""


class HumanQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What to list. `people`: that any of these may take ("u:name", "g:name", EVERYONE). `overdue`: (the instant, whether
    those that were due by then are wanted, or the others).
    """

    people: Sequence[str] | None = None
    assignee: str | None = None
    status: str | None = None
    namespace: str | None = None
    name: str | None = None
    public_id: str | None = None
    overdue: tuple[datetime, bool] | None = None
    after: Place | None = None
    limit: int = 100


class HumanStore(Protocol):
    """Rows of all partitions."""

    async def list(self, query: HumanQuery) -> list[HumanRow]:
        """The most urgent first, then the oldest."""
        ...
