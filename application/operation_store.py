"""The port of long-running operations: what is kept of each, so that every node can tell how it stands."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, Protocol

import msgspec

OperationStatus = Literal["running", "completed", "failed", "cancelled"]


class OperationRecord(msgspec.Struct, frozen=True):
    """One operation. `request`, `result` and `error` are JSON; `alive`: its node has shown a sign of life in time, by the
    database's clock. Only while it runs does that mean anything.
    """

    operation: str
    kind: str
    actor: str
    request: bytes
    node: str
    status: OperationStatus
    done: int
    total: int | None
    result: bytes | None
    error: bytes | None
    cancel_requested: bool
    started_at: datetime
    updated_at: datetime
    ended_at: datetime | None
    alive: bool


class OperationStore(Protocol):
    """Operations by id. Only the node that runs one changes it, and only as long as it is alive: one that was silent for
    longer than its lease is dead for everybody, itself included.
    """

    async def put(
        self, operation: str, kind: str, actor: str, request: bytes, node: str, at: datetime, lease_s: float
    ) -> None:
        """A new operation, running."""
        ...

    async def get(self, operation: str) -> OperationRecord | None: ...

    async def list(
        self, kind: str | None = None, limit: int = 100, after: tuple[datetime, str] | None = None
    ) -> list[OperationRecord]:
        """Newest first by (started_at descending, operation), without their results; `after` names the last one seen."""
        ...

    async def beat(
        self, operation: str, node: str, done: int, total: int | None, at: datetime, lease_s: float
    ) -> bool | None:
        """A sign of life. Whether a cancel was asked for; None when it is not running under this node any more."""
        ...

    async def end(
        self,
        operation: str,
        node: str,
        status: OperationStatus,
        progress: tuple[int, int | None],
        outcome: tuple[bytes | None, bytes | None],
        at: datetime,
    ) -> bool:
        """It has ended with this (done, total) and (result, error). False when it does not run under this node any more."""
        ...

    async def cancel(self, operation: str) -> None:
        """Ask its node to stop; nothing happens when it does not run."""
        ...

    async def expire(self, before: datetime) -> int:
        """Remove what was started before and has ended, or whose node is dead; gives how many."""
        ...
