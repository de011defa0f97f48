"""The storage ports: the log, the work that changes with it, snapshots, the archive, definitions. The others are in
`views.py`, `registers.py`, `leases.py` and `inbox.py`; `database.py` has all of them together.

One schema for SQLite and PostgreSQL (storage.md). The partition is part of every key. `LogStore.write` is the hot path:
one transaction that fences each partition by its row, inserts the events with their positions and hashes, and changes
the work tables. Everything else either reads or is idempotent by its own key.

Rows carry the aggregate's own id (a UUID derived from the public id); it never leaves the service.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import msgspec

from application.blob_store import BlobRow
from application.large_values import Contents

NO_HASH = bytes(32)
"""`log_hash` of a partition before its first event."""


class ResourceTakenError(ValueError):
    """Another definition owns this resource path."""


class StoredRecord(msgspec.Struct, frozen=True, gc=False):
    """One event as it lies in the log: `state` is the stored bytes, hashes are 32 bytes each. Once it is archived, its
    bytes are gone from here and `state_hash` is their SHA-256, so that the chain can still be checked. `blobs`: contents
    that the bytes refer to (application/large_values.py), where they were read too.
    """

    position: int
    orchestration: UUID
    version: int
    topic: str
    state: bytes
    event_hash: bytes
    log_hash: bytes
    state_hash: bytes | None = None
    blobs: Contents | None = None


class Head(msgspec.Struct, frozen=True):
    """The fence of a partition: who may write (epoch) and after which position."""

    partition: int
    epoch: int
    position: int
    log_hash: bytes


# Work: changes in the transaction of the events that cause them ----------------------------------------------------


class PutAgenda(msgspec.Struct, frozen=True, tag=True):
    """What the owner must look after for an orchestration: attempts in flight, and when it is next due. Replaces."""

    orchestration: UUID
    in_flight: bool
    due_at: datetime | None


class DropAgenda(msgspec.Struct, frozen=True, tag=True):
    orchestration: UUID


class PutEmitted(msgspec.Struct, frozen=True, tag=True):
    """A CloudEvent (JSON bytes) to publish, in the order of (orchestration, number)."""

    orchestration: UUID
    number: int
    event: bytes


class PutSubscription(msgspec.Struct, frozen=True, tag=True):
    """A run waits for events. `event_type` None: of any type. Replaces the row of (orchestration, run, slot)."""

    orchestration: UUID
    run: str
    slot: int
    event_type: str | None


class DropSubscriptions(msgspec.Struct, frozen=True, tag=True):
    """The run waits no longer."""

    orchestration: UUID
    run: str


class PutReply(msgspec.Struct, frozen=True, tag=True):
    """The reply to a command that another node put into the inbox of this partition."""

    command_id: str
    reply: bytes


class PutTask(msgspec.Struct, frozen=True, tag=True):
    """An attempt waits for a remote worker (task_store.py); `held`: not to be handed out yet; `begun`: a process
    that had the function may have carried it out. One that is there is left as it is, unless it has ended: then it was work
    of a process meanwhile.
    """

    orchestration: UUID
    run: str
    number: int
    function: str
    definition: str
    timeout_us: int
    queued_at: datetime
    held: bool = False
    begun: bool = False


class HoldTask(msgspec.Struct, frozen=True, tag=True):
    """An attempt that waits or is claimed is not handed out from now on, or is again: its orchestration is suspended, or
    resumed.
    """

    orchestration: UUID
    run: str
    number: int
    held: bool


class GiveUpTask(msgspec.Struct, frozen=True, tag=True):
    """Nobody wants it any more. One that waits and was not `begun` is reported with `unsent`; another one with `lost`, and
    the token is void; with `lost` None it may end. What is reported stays so.
    """

    orchestration: UUID
    run: str
    number: int
    unsent: bytes
    lost: bytes | None


class EndTask(msgspec.Struct, frozen=True, tag=True):
    """The attempt has ended, however."""

    orchestration: UUID
    run: str
    number: int
    at: datetime


class PutHuman(msgspec.Struct, frozen=True, tag=True):
    """A task for people is open, and this is how it stands (human_store.py). Replaces what was said of it before."""

    orchestration: UUID
    number: int
    public_id: str
    namespace: str
    name: str
    status: str
    assignee: str | None
    people: tuple[str, ...]
    rank: int
    due_at: datetime | None
    created_at: datetime
    content: bytes


class DropHuman(msgspec.Struct, frozen=True, tag=True):
    """It was answered or withdrawn."""

    orchestration: UUID
    number: int


WorkChange = (
    PutAgenda
    | DropAgenda
    | PutEmitted
    | PutSubscription
    | DropSubscriptions
    | PutReply
    | PutTask
    | HoldTask
    | GiveUpTask
    | EndTask
    | PutHuman
    | DropHuman
)


class PartitionWrite(msgspec.Struct, frozen=True):
    """Everything one transaction does to one partition. `head` is what must be there; `after` what will be."""

    head: Head
    after: Head
    records: list[StoredRecord]
    work: list[WorkChange]
    blobs: Sequence[BlobRow] = ()
    """What the records refer to. One that is there, is loose no longer; one without content has to be there."""


class LogStore(Protocol):
    """The partitions and their log. `eventsourcing` reads the same tables through its recorder interface."""

    async def open(self, partitions: int, lease_s: float) -> int:
        """Migrate, and create the partitions once; gives how many there are (their number never changes: the stored one
        wins). Nothing is owned by that (application/leases.py). Idempotent.
        """
        ...

    async def close(self) -> None: ...

    async def salt(self) -> bytes:
        """32 random bytes made when the database was created; the key of partition() and of derived ids."""
        ...

    async def write(self, writes: Sequence[PartitionWrite]) -> list[bool]:
        """One transaction over all writes, partitions in ascending order. For each: True, or False where the fence did
        not hold (then nothing of the whole transaction is committed and every entry whose fence held is False too).
        Any other trouble raises StorageError, and it is unknown whether the transaction was committed.
        """
        ...

    async def heads(self, partitions: Sequence[int]) -> list[Head]:
        """The committed heads: what tells after an unknown commit whether it happened."""
        ...

    async def positions(self, partitions: Sequence[int]) -> list[tuple[int, int]]:
        """(partition, position of its last committed event)."""
        ...

    async def stream(
        self, partition: int, orchestration: UUID, after: int = 0, limit: int = 1000
    ) -> list[StoredRecord]:
        """Events of one orchestration in order of version, those with version > after."""
        ...

    async def log(
        self,
        partition: int,
        after: int = 0,
        limit: int = 1000,
        *,
        until: int | None = None,
        topics: Sequence[str] = (),
    ) -> list[StoredRecord]:
        """Events of a partition in order of position, those with position > after and <= until; only these topics, unless
        there are none.
        """
        ...

    # Work --------------------------------------------------------------------------------------------------------

    async def in_flight(self, partition: int, after: UUID | None = None, limit: int = 500) -> list[UUID]:
        """Orchestrations with attempts in flight, in order of their id, those after `after`."""
        ...

    async def due(
        self, partitions: Sequence[int], until: datetime, limit: int = 500
    ) -> list[tuple[int, UUID, datetime]]:
        """(partition, orchestration, due_at) with due_at <= until in these partitions, earliest first."""
        ...

    async def emitted(
        self, partition: int, limit: int = 100, after: tuple[UUID, int] | None = None
    ) -> list[tuple[UUID, int, bytes]]:
        """Events to publish, by orchestration and number, those after `after`."""
        ...

    async def published(self, partition: int, items: Sequence[tuple[UUID, int]]) -> None:
        """They were published; repeating is harmless."""
        ...

    async def subscribers(
        self, event_type: str, after: tuple[int, UUID] | None = None, limit: int = 500, *, only: int | None = None
    ) -> list[tuple[int, UUID]]:
        """(partition, orchestration), distinct and in that order, that wait for events of this type or of any type; `only`:
        of this partition.
        """
        ...


class SnapshotRecord(msgspec.Struct, frozen=True):
    """The state of an orchestration after its event `version`, whose hash is `event_hash`. A cache: it may be missing, old
    or of a `format` that nobody reads any more, and counts only while the log has this very event.
    """

    orchestration: UUID
    version: int
    format: str
    event_hash: bytes
    state: bytes


class SnapshotStore(Protocol):
    """The latest snapshot of each orchestration, so that a long history need not be folded from its start."""

    async def get(self, partition: int, orchestration: UUID, format_: str) -> SnapshotRecord | None:
        """What is there, if it has this format."""
        ...

    async def put(self, partition: int, record: SnapshotRecord) -> None:
        """Replaces one that is not newer, or of another format. Not fenced: whoever read this version from
        the log may say what it folds to.
        """
        ...


class ArchiveRecord(msgspec.Struct, frozen=True):
    """An orchestration that ended long ago: `content` is all that `application.archive` packed, `events` how many it had."""

    orchestration: UUID
    public_id: str
    definition: str
    status: str
    started_at: datetime
    ended_at: datetime
    events: int
    archived_at: datetime
    content: bytes


class ArchiveStore(Protocol):
    """What has left the log, the view and the snapshots; its events keep their place, topic and hashes there."""

    async def put(self, fence: Head, record: ArchiveRecord, stripped: Sequence[tuple[int, bytes]]) -> bool:
        """One transaction, fenced by the epoch of the partition, whose row is locked in it: the bytes of the events at
        these (position, SHA-256 of the bytes) give way to their hashes, status, tags and snapshot go, and the record
        comes. False when the partition is another's, or when the history is not as long as the record says or is
        archived already; then nothing is done.
        """
        ...

    async def get(self, partition: int, orchestration: UUID) -> ArchiveRecord | None: ...


class DefinitionRecord(msgspec.Struct, frozen=True):
    """A deployed document: `document` as sent, `value` the parsed JSON (bytes) from which the plan is compiled."""

    namespace: str
    name: str
    version: str
    digest: str
    media_type: str
    document: bytes
    value: bytes
    resource: str | None
    warnings: bytes
    created_at: datetime


class DefinitionStore(Protocol):
    """Immutable documents. Revisions of one version (development only) differ in digest; the newest is current."""

    async def put(self, record: DefinitionRecord, *, revise: bool = False) -> DefinitionRecord | None:
        """Stores and gives None; or gives the record already stored under this version (same digest: nothing changed;
        another digest: not stored unless `revise`). Raises ResourceTakenError when another definition (namespace, name)
        owns the resource path, which it does while a current revision of any of its versions names it.
        """
        ...

    async def get(self, namespace: str, name: str, version: str) -> DefinitionRecord | None:
        """The current revision of this very version."""
        ...

    async def by_digest(self, digest: str) -> DefinitionRecord | None: ...

    async def versions(self, namespace: str | None = None, name: str | None = None) -> list[DefinitionRecord]:
        """Current revisions, by namespace, name and time of creation; `document` and `value` included."""
        ...


def canonical(value: Any) -> bytes:
    """JSON bytes with sorted members: equal values give equal bytes. For digests and fingerprints."""
    return msgspec.json.encode(value, order="deterministic")
