"""The contract of the reads for verification, and of checkpoints."""

from __future__ import annotations

from uuid import UUID

import pytest

from application.checkpoint_store import CheckpointRecord
from application.storage import ArchiveRecord, Head
from tests.contract.storages import PARTITIONS, heads, identity, minutes, written

pytestmark = pytest.mark.anyio
ONE, TWO = identity(1), identity(2)


async def fill(storage, partition: int = 1) -> Head:
    """Three events of one orchestration, one of another."""
    head = (await heads(storage))[partition]
    write = written(head, (ONE, 1), (TWO, 1), (ONE, 2), (ONE, 3))
    assert await storage.log.write([write]) == [True]
    return write.after


def archived(orchestration: UUID, events: int = 3, content: bytes = b"packed") -> ArchiveRecord:
    public_id = f"o_{orchestration.int:022}"
    instants = (minutes(0), minutes(1))
    return ArchiveRecord(orchestration, public_id, "a/b@1.0.0", "completed", *instants, events, minutes(2), content)


async def test_a_head_is_told_with_the_end_of_the_log(storage):
    empty = await storage.audit_log.head(1)
    assert (empty.position, empty.log_hash, empty.last_position, empty.projected) == (0, bytes(32), 0, 0)
    after = await fill(storage)
    found = await storage.audit_log.head(1)
    assert (found.position, found.log_hash, found.last_position) == (4, after.log_hash, 4)
    assert (await storage.audit_log.head(0)).last_position == 0
    assert await storage.audit_log.head(PARTITIONS) is None


async def test_pages_are_plain_rows_in_order(storage):
    await fill(storage)
    records = await storage.log.log(1)
    rows = await storage.audit_log.page(1, 0, 4, 10)
    assert [tuple(each) for each in rows] == [
        (
            each.position,
            each.orchestration.bytes,
            each.version,
            each.topic,
            each.state,
            each.event_hash,
            each.log_hash,
            None,
        )
        for each in records
    ]
    assert all(type(row[index]) is bytes for row in rows for index in (1, 4, 5, 6))
    assert [row[0] for row in await storage.audit_log.page(1, 1, 3, 10)] == [2, 3]
    assert [row[0] for row in await storage.audit_log.page(1, 0, 4, 3)] == [1, 2, 3]
    assert await storage.audit_log.page(0, 0, 4, 10) == []


async def test_the_hash_of_one_event(storage):
    await fill(storage)
    records = await storage.log.stream(1, ONE)
    assert await storage.audit_log.event_hash(1, ONE.bytes, 2) == records[1].event_hash
    assert await storage.audit_log.event_hash(1, ONE.bytes, 4) is None
    assert await storage.audit_log.event_hash(0, ONE.bytes, 2) is None
    assert await storage.audit_log.event_hash(1, b"short", 2) is None


async def test_the_archive_is_read_beside_the_log(storage):
    after = await fill(storage)
    stripped = [(each.position, bytes([each.version]) * 32) for each in await storage.log.stream(1, ONE)]
    assert await storage.archive.put(after, archived(ONE), stripped)
    assert await storage.archive.put(after, archived(TWO, 1), [(2, b"h" * 32)])
    rows = await storage.audit_log.archived(1, None, 10)
    assert [(each.orchestration, each.events, each.content) for each in rows] == [
        (ONE.bytes, 3, b"packed"),
        (TWO.bytes, 1, b"packed"),
    ]
    assert [each.orchestration for each in await storage.audit_log.archived(1, None, 1)] == [ONE.bytes]
    assert [each.orchestration for each in await storage.audit_log.archived(1, ONE.bytes, 9)] == [TWO.bytes]
    events = await storage.audit_log.archived_events(1, [TWO.bytes, ONE.bytes])
    assert [tuple(each) for each in events] == [
        (ONE.bytes, 1, 1, b"\x01" * 32),
        (ONE.bytes, 2, 3, b"\x02" * 32),
        (ONE.bytes, 3, 4, b"\x03" * 32),
        (TWO.bytes, 1, 2, b"h" * 32),
    ]
    assert [each[0] for each in await storage.audit_log.archived_events(1, [TWO.bytes])] == [TWO.bytes]
    assert await storage.audit_log.archived_events(1, []) == []
    assert await storage.audit_log.unarchived(1, 10) == []
    assert await storage.audit_log.unlogged(1, 10) == []
    rows = await storage.audit_log.page(1, 0, 4, 10)
    assert [(row[4], row[7]) for row in rows][:2] == [(b"", b"\x01" * 32), (b"", b"h" * 32)]


async def test_what_the_archive_knows_and_the_log_does_not(storage):
    after = await fill(storage, 2)
    assert await storage.archive.put(after, archived(TWO, 1), [(2, b"h" * 32)])
    assert await storage.audit_log.unlogged(2, 10) == []


# Checkpoints ------------------------------------------------------------------------------------------------------


def checkpoint(partition: int, position: int, at: int = 0, key: str = "k") -> CheckpointRecord:
    return CheckpointRecord(partition, position, bytes([position]) * 32, minutes(at), key, b"signature")


async def test_checkpoints_are_kept_by_partition_and_position(storage):
    first, second, other = checkpoint(1, 5), checkpoint(1, 9, 1), checkpoint(0, 7, 2)
    await storage.checkpoints.put([second, first])
    await storage.checkpoints.put([other])
    await storage.checkpoints.put([])
    assert await storage.checkpoints.page() == [other, first, second]
    assert await storage.checkpoints.page(1) == [first, second]
    assert await storage.checkpoints.page(3) == []
    assert await storage.checkpoints.page(limit=2) == [other, first]
    assert await storage.checkpoints.page(after=(0, 7)) == [first, second]
    assert await storage.checkpoints.page(1, after=(1, 5)) == [second]


async def test_what_is_there_stays(storage):
    await storage.checkpoints.put([checkpoint(1, 5)])
    await storage.checkpoints.put([checkpoint(1, 5, 3, "other"), checkpoint(1, 6, 3)])
    assert await storage.checkpoints.page() == [checkpoint(1, 5), checkpoint(1, 6, 3)]


async def test_the_latest_of_each_partition(storage):
    assert await storage.checkpoints.latest() == []
    for partition in range(PARTITIONS):
        await storage.checkpoints.put([checkpoint(partition, each + 1, each) for each in range(partition + 1)])
    assert [(each.partition, each.position) for each in await storage.checkpoints.latest()] == [
        (partition, partition + 1) for partition in range(PARTITIONS)
    ]
    early = await storage.checkpoints.latest(minutes(1))
    assert [(each.partition, each.position) for each in early] == [
        (0, 1),
        *((each, 2) for each in range(1, PARTITIONS)),
    ]
