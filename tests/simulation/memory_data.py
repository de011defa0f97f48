"""What a database in memory holds, and the door through which every call to it goes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

from application.accesses import AccessRecord
from application.checkpoint_store import CheckpointRecord
from application.inbox import InboxRow
from application.large_values import Blob
from application.leases import NodeIdentity
from application.operation_store import OperationRecord
from application.projection_store import Build, Progress, Row
from application.registers import HeldEvent, RequestRecord
from application.schedule_store import ScheduleRow
from application.storage import ArchiveRecord, DefinitionRecord, Head, PutAgenda, PutHuman, SnapshotRecord, StoredRecord
from application.task_store import FunctionControl
from application.views import StatusRow

Step = Callable[[str], Awaitable[None]]


@dataclass
class MemoryCommand:
    """A row of an inbox."""

    row: InboxRow
    at: datetime
    reply: bytes | None = None


@dataclass
class MemoryNode:
    """A row of the nodes."""

    identity: NodeIdentity
    eligible: bool
    lease_until_s: float


@dataclass
class MemoryPartition:
    """One partition: its fence, its log in order of position, and its work."""

    head: Head
    log: list[StoredRecord] = field(default_factory=list)
    streams: dict[UUID, list[StoredRecord]] = field(default_factory=dict)
    positions: set[int] = field(default_factory=set)
    versions: set[tuple[UUID, int]] = field(default_factory=set)
    agenda: dict[UUID, PutAgenda] = field(default_factory=dict)
    emitted: dict[tuple[UUID, int], bytes] = field(default_factory=dict)
    subscriptions: dict[tuple[UUID, str, int], str | None] = field(default_factory=dict)
    tasks: dict[tuple[UUID, str, int], Any] = field(default_factory=dict)
    people: dict[tuple[UUID, int], PutHuman] = field(default_factory=dict)
    owner: str | None = None
    lease_until_s: float = 0.0
    inbox: dict[str, MemoryCommand] = field(default_factory=dict)


@dataclass
class MemoryData:
    """A database: what survives a restart. The salt is the same in every run unless given."""

    salt: bytes = sha256(b"a salt that is the same in every run").digest()
    partitions: list[MemoryPartition] = field(default_factory=list)
    snapshots: dict[tuple[int, UUID], SnapshotRecord] = field(default_factory=dict)
    blobs: dict[tuple[int, UUID, bytes], tuple[Blob, datetime | None]] = field(default_factory=dict)
    """With the instant since which each is loose."""
    archive: dict[tuple[int, UUID], ArchiveRecord] = field(default_factory=dict)
    definitions: list[DefinitionRecord] = field(default_factory=list)
    tracking: dict[tuple[str, int], int] = field(default_factory=dict)
    status: dict[tuple[int, UUID], StatusRow] = field(default_factory=dict)
    builds: dict[str, Build] = field(default_factory=dict)
    tables: dict[str, dict[tuple[int, str], Row]] = field(default_factory=dict)
    progress: dict[tuple[str, int], Progress] = field(default_factory=dict)
    requests: dict[tuple[str, str], RequestRecord] = field(default_factory=dict)
    keys: dict[tuple[str, str], tuple[str, str | None]] = field(default_factory=dict)
    """(holder, contender)."""
    nodes: dict[str, MemoryNode] = field(default_factory=dict)
    hear: list[Callable[[str], None]] = field(default_factory=list)
    """Of every node that listens."""
    held: dict[tuple[str, str], HeldEvent] = field(default_factory=dict)
    accesses: dict[int, list[AccessRecord]] = field(default_factory=dict)
    checkpoints: dict[tuple[int, int], CheckpointRecord] = field(default_factory=dict)
    operations: dict[str, tuple[OperationRecord, float]] = field(default_factory=dict)
    """With the time of the loop until which each is alive."""
    functions: dict[str, FunctionControl] = field(default_factory=dict)
    allowances: dict[str, tuple[float, datetime]] = field(default_factory=dict)
    schedules: dict[tuple[str, str], ScheduleRow] = field(default_factory=dict)
    followers: dict[tuple[int, str], int] = field(default_factory=dict)


class Calls:
    """The door of the database: every call goes through `call`, in and out."""

    def __init__(self, step: Step) -> None:
        self._step = step

    @asynccontextmanager
    async def call(self, operation: str) -> AsyncIterator[None]:
        await self._step(operation)
        yield
        await self._step(f"{operation} done")
