"""Work for remote workers as it is stored: who may carry out which attempt, until when, and what was reported.

A row belongs to one attempt and comes in the transaction of its `AttemptStarted`. It is ``waiting`` until a worker claims it,
``claimed`` while the worker's token counts, ``reported`` once somebody has said how it ended (the worker; or the owner of the
partition: the worker is lost, nobody wants it any more), and ``ended`` in the transaction of the events that this led to.
Each step is one conditional update, so of any number of callers at once exactly one takes it; the token fences them.

A report is the members of a `ReportResult`, packed by whoever writes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Literal, Protocol
from uuid import UUID

import msgspec

Status = Literal["waiting", "claimed", "reported", "ended"]


class TaskKey(msgspec.Struct, frozen=True):
    """Which attempt."""

    partition: int
    orchestration: UUID
    run: str
    number: int


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker asks of one partition: work of one function, first of definitions after `after` in their order, then of
    all, so that they take turns. `limited`: the function has limits, which are to be kept over all nodes.
    """

    partition: int
    function: str
    after: str
    worker: str
    token: bytes
    at: datetime
    lease_s: float
    limit: int
    limited: bool = False

    def looks(self, room: int) -> Iterator[tuple[str, int]]:
        """(after which definition, how many in all may be handed out then): those whose turn it is get half of the room."""
        if self.after:
            yield self.after, max(1, room // 2)
        yield "", room


class ClaimedTask(msgspec.Struct, frozen=True):
    """What was handed out."""

    key: TaskKey
    definition: str
    lease_until: datetime
    deadline: datetime


class TaskRow(msgspec.Struct, frozen=True):
    """How an attempt stands."""

    key: TaskKey
    function: str
    status: Status
    token: bytes | None
    worker: str | None
    deadline: datetime | None
    report: bytes | None


class FunctionControl(msgspec.Struct, frozen=True):
    """What operators have said of a function, and when workers last asked for it."""

    function: str
    paused: bool = False
    draining: bool = False
    max_concurrent: int | None = None
    max_per_second: float | None = None
    asked_at: datetime | None = None
    last_claimed_at: datetime | None = None


class FunctionLoad(msgspec.Struct, frozen=True):
    """What there is of a function at the moment: how much waits, how much each worker has, and how much is `held` because
    its orchestration is suspended.
    """

    function: str
    waiting: int
    claimed: dict[str, int]
    held: int = 0


class TaskStore(Protocol):
    """Rows of all partitions, and the controls of functions. Rows come by `PutTask` (storage.py)."""

    async def waiting(self, functions: Sequence[str]) -> list[tuple[int, str]]:
        """(partition, function), for those of which there is work that waits."""
        ...

    async def claim(self, claim: Claim) -> list[ClaimedTask]:
        """Hand out at most `limit`, by definition and age, in one transaction (`Claim.looks`). No two callers get the same; a
        function that is paused or whose limits are reached gives nothing.
        """
        ...

    async def get(self, key: TaskKey) -> TaskRow | None: ...

    async def extend(self, key: TaskKey, token: bytes, until: datetime) -> tuple[datetime, datetime] | None:
        """Move the end of a claim, at most to its deadline; (lease until, deadline). None: the token does not count."""
        ...

    async def report(self, key: TaskKey, token: bytes, report: bytes) -> bool:
        """Say how a claimed attempt ended; False when the token does not count, or somebody has said so already."""
        ...

    async def give_back(self, key: TaskKey, token: bytes) -> None:
        """A claim that was never handed out: it waits again."""
        ...

    async def discard(self, key: TaskKey, at: datetime) -> None:
        """Nobody needs it any more. Idempotent."""
        ...

    async def overdue(self, partitions: Sequence[int], at: datetime, limit: int = 500) -> list[TaskRow]:
        """Claimed, and the lease is over."""
        ...

    async def void(self, key: TaskKey, token: bytes, at: datetime, report: bytes) -> bool:
        """The same as `report`, while the lease is over at this instant."""
        ...

    async def reported(self, partitions: Sequence[int], limit: int = 500) -> list[TaskRow]:
        """Reported, and not ended yet."""
        ...

    async def open_functions(self, partition: int) -> list[str]:
        """Functions of which anything waits or is claimed."""
        ...

    async def open_of(self, partition: int, function: str, limit: int = 500) -> list[TaskRow]:
        """What of it waits or is claimed."""
        ...

    async def expire(self, before: datetime) -> int:
        """Forget what ended before; gives how many."""
        ...

    # Functions --------------------------------------------------------------------------------------------------------

    async def controls(self) -> list[FunctionControl]:
        """All that is known, by name."""
        ...

    async def control(self, function: str, *, paused: bool | None = None, draining: bool | None = None) -> None:
        """Change what is given."""
        ...

    async def limit(self, function: str, max_concurrent: int | None, max_per_second: float | None) -> None:
        """Set both; None: no limit."""
        ...

    async def note(self, function: str, at: datetime, *, claimed: bool) -> None:
        """A worker has asked for it, and (`claimed`) got something."""
        ...

    async def loads(self) -> list[FunctionLoad]:
        """For each function of which there is work, by name."""
        ...
