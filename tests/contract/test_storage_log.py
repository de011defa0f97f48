"""The contract of LogStore: fences, the log, and what is left after a failure."""

from __future__ import annotations

import msgspec
import pytest

from application.storage import NO_HASH, Head, PutAgenda
from domain.errors import StorageError
from tests.contract.storages import PARTITIONS, heads, identity, minutes, written
from tests.support.owning import own

pytestmark = pytest.mark.anyio
replace = msgspec.structs.replace


async def test_a_new_database_has_every_partition_at_position_0(storage):
    assert await heads(storage) == [Head(each, 1, 0, NO_HASH) for each in range(PARTITIONS)]


async def test_what_was_written_is_read_back_byte_for_byte(storage):
    head = (await heads(storage))[1]
    write = written(head, (identity(1), 1), (identity(2), 1), (identity(1), 2), state=b"\x00\xff" + "Grüße 🐘".encode())
    write.records[1] = replace(write.records[1], topic="tâsk.✓", state=b"")
    assert await storage.log.write([write]) == [True]
    assert await storage.log.log(1) == write.records
    assert await storage.log.stream(1, identity(1)) == [write.records[0], write.records[2]]
    assert (await storage.log.heads([1])) == [write.after]


async def test_a_large_event_is_kept(storage):
    write = written((await heads(storage))[0], (identity(1), 1), state=bytes(range(256)) * 8192)
    await storage.log.write([write])
    assert await storage.log.stream(0, identity(1)) == write.records


async def test_reading_goes_on_after_a_version_or_position_up_to_a_limit(storage):
    write = written((await heads(storage))[0], *[(identity(1), version) for version in range(1, 8)])
    await storage.log.write([write])
    assert [each.version for each in await storage.log.stream(0, identity(1), after=3, limit=2)] == [4, 5]
    assert [each.position for each in await storage.log.log(0, after=5)] == [6, 7]
    assert await storage.log.stream(1, identity(1)) == []


async def test_one_transaction_may_span_partitions(storage):
    before = await heads(storage)
    # In any order: the storage sorts them.
    writes = [written(before[2], (identity(2), 1)), written(before[0], (identity(1), 1))]
    assert await storage.log.write(writes) == [True, True]
    assert await heads(storage) == [writes[1].after, before[1], writes[0].after, before[3]]


@pytest.mark.parametrize("stale", [{"epoch": 0}, {"epoch": 2}, {"position": 1}])
async def test_a_fence_that_does_not_hold_stops_everything(storage, stale):
    before = await heads(storage)
    agenda = (PutAgenda(identity(1), True, minutes(0)),)
    good = written(before[0], (identity(1), 1), work=agenda)
    bad = written(replace(before[1], **stale), (identity(2), 1))
    assert await storage.log.write([good, bad]) == [False, False]
    assert await storage.log.write([bad, good]) == [False, False]
    assert await heads(storage) == before
    assert await storage.log.log(0) == []
    assert await storage.log.in_flight(0) == []
    assert await storage.log.write([good]) == [True]


async def test_a_second_writer_at_the_same_head_loses(storage):
    head = (await heads(storage))[0]
    assert await storage.log.write([written(head, (identity(1), 1))]) == [True]
    assert await storage.log.write([written(head, (identity(2), 1))]) == [False]
    assert [each.orchestration for each in await storage.log.log(0)] == [identity(1)]


async def test_a_version_is_written_once(storage):
    first = written((await heads(storage))[0], (identity(1), 1))
    await storage.log.write([first])
    again = written(first.after, (identity(2), 1), (identity(1), 1), work=(PutAgenda(identity(2), True, None),))
    with pytest.raises(StorageError):
        await storage.log.write([again])
    assert await storage.log.heads([0]) == [first.after]
    assert await storage.log.log(0) == first.records
    assert await storage.log.in_flight(0) == []
    # And the storage goes on.
    assert await storage.log.write([written(first.after, (identity(1), 2))]) == [True]


@pytest.mark.parametrize(
    "wrong", [{"event_hash": b"short"}, {"log_hash": b""}, {"version": 0}, {"position": 0}, {"topic": ""}]
)
async def test_an_event_that_no_domain_could_have_made_is_refused(storage, wrong):
    write = written((await heads(storage))[0], (identity(1), 1))
    write.records[0] = replace(write.records[0], **wrong)
    with pytest.raises(StorageError):
        await storage.log.write([write])
    assert await storage.log.log(0) == []


async def test_heads_tell_whether_an_unknown_commit_happened(storage):
    before = (await heads(storage))[0]
    write = written(before, (identity(1), 1))
    await storage.log.write([write])
    # Whoever missed the answer compares what is there with what it wrote, and may not write it twice.
    assert await storage.log.heads([0]) == [write.after]
    assert await storage.log.write([write]) == [False]


async def test_a_write_without_events_changes_work_alone(storage):
    head = (await heads(storage))[0]
    assert await storage.log.write([written(head, work=(PutAgenda(identity(1), True, None),))]) == [True]
    assert await storage.log.in_flight(0) == [identity(1)]
    assert await storage.log.write([]) == []


async def test_opening_again_keeps_the_data_and_fences_off_whoever_wrote_before(place):
    first = place()
    before = await own(first, "first", PARTITIONS)
    salt = await first.log.salt()
    write = written(before[0], (identity(1), 1))
    await first.log.write([write])
    await first.log.close()

    second = place()
    after = await own(second, "second", PARTITIONS + 5)
    assert [head.epoch for head in after] == [2] * PARTITIONS
    assert after[0] == replace(write.after, epoch=2)
    assert await second.log.salt() == salt
    assert len(salt) == 32
    assert await second.log.log(0) == write.records
    assert await second.log.write([written(write.after, (identity(1), 2))]) == [False]
    assert await second.log.write([written(after[0], (identity(1), 2))]) == [True]
    await second.log.close()


async def test_opening_twice_is_harmless(storage):
    again = await own(storage, "first", PARTITIONS)
    assert [head.epoch for head in again] == [2] * PARTITIONS
    assert await storage.log.write([written(again[0], (identity(1), 1))]) == [True]


async def test_it_says_whether_it_is_ready(place):
    opened = place()
    await own(opened, "first", PARTITIONS)
    assert await opened.ready()
    await opened.log.close()
    await opened.log.close()


async def test_a_part_of_the_log_may_be_asked_for_by_its_end_and_by_topics(storage):
    write = written((await heads(storage))[0], *[(identity(1), version) for version in range(1, 8)])
    for index in (1, 4, 6):
        write.records[index] = replace(write.records[index], topic="task.failed")
    await storage.log.write([write])
    assert [each.position for each in await storage.log.log(0, 1, until=5)] == [2, 3, 4, 5]
    failed = {"topics": ("task.failed", "none")}
    assert [each.position for each in await storage.log.log(0, **failed)] == [2, 5, 7]
    assert [each.position for each in await storage.log.log(0, 2, 1, until=6, **failed)] == [5]
    assert await storage.log.log(0, 5, until=5) == []
