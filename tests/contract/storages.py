"""The storages that the contract suite runs against, and what its tests write."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import UUID

import pytest

from adapters.postgres.storage import PostgresStorage
from adapters.sqlite.storage import SqliteStorage
from application.database import Storage
from application.storage import Head, PartitionWrite, StoredRecord, WorkChange
from tests.simulation.memory_storage import MemoryData, MemoryStorage
from tests.support.owning import own

KINDS = ("memory", "sqlite", "postgresql")
PARTITIONS = 4
NOON = datetime(2030, 5, 17, 12, 0, 0, 123456, tzinfo=UTC)

Place = Callable[[], Storage]


def minutes(number: int) -> datetime:
    """An instant so many minutes after noon."""
    return NOON + timedelta(minutes=number)


def identity(number: int) -> UUID:
    """The orchestration of this number; they sort by it."""
    return UUID(int=number)


@pytest.fixture(params=KINDS)
def place(request, tmp_path) -> Place:
    """Makes storages over one database, which survives them."""
    if request.param == "memory":
        data = MemoryData()
        return lambda: MemoryStorage(data)
    if request.param == "sqlite":
        return lambda: SqliteStorage(tmp_path / "ré trace?#%.db")
    url = request.getfixturevalue("fresh_postgres")
    return lambda: PostgresStorage(url)


@pytest.fixture
async def storage(place) -> AsyncIterator[Storage]:
    """An open storage over an empty database."""
    opened = place()
    await own(opened, "first", PARTITIONS)
    yield opened
    await opened.log.close()


def written(
    head: Head, *events: tuple[UUID, int], work: tuple[WorkChange, ...] = (), state: bytes = b"\x00state\xff"
) -> PartitionWrite:
    """A write after `head` of events (orchestration, version), with hashes that are made up but right in form."""
    records = []
    log_hash = head.log_hash
    for position, (orchestration, version) in enumerate(events, head.position + 1):
        event_hash = sha256(orchestration.bytes + version.to_bytes(8)).digest()
        log_hash = sha256(log_hash + event_hash).digest()
        records.append(StoredRecord(position, orchestration, version, "task.completed", state, event_hash, log_hash))
    after = Head(head.partition, head.epoch, head.position + len(events), log_hash)
    return PartitionWrite(head, after, records, list(work))


async def heads(storage: Storage) -> list[Head]:
    return await storage.log.heads(range(PARTITIONS))
