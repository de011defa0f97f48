"""The contract of ArchiveStore: a history leaves the log whole or not at all, and its events keep their place."""

from __future__ import annotations

from hashlib import sha256

import msgspec
import pytest

from application.storage import ArchiveRecord, SnapshotRecord
from application.views import Move, StatusQuery, StatusRow
from tests.contract.storages import PARTITIONS, heads, identity, minutes, written
from tests.support.owning import own

pytestmark = pytest.mark.anyio
replace = msgspec.structs.replace
ONE, TWO = identity(1), identity(2)
BYTES = b"\x00some state\xff"
BARE = sha256(BYTES).digest()


def record(orchestration=ONE, events=3, **members) -> ArchiveRecord:
    given = ("o001", "shop/order@1.0.0", "completed", minutes(0), minutes(1), events, minutes(9), b"\x00packed\xff")
    return replace(ArchiveRecord(orchestration, *given), **members)


def status(number: int, **members) -> StatusRow:
    given = (
        f"o{number:03}",
        "shop",
        "order",
        "1.0.0",
        "completed",
        3,
        None,
        {"a": "b"},
        0,
        minutes(0),
        minutes(1),
        b"{}",
    )
    return replace(StatusRow(1, identity(number), *given), **members)


@pytest.fixture
async def filled(storage):
    """Partition 1 with two orchestrations of three and one events, in the view and with a snapshot each."""
    head = (await heads(storage))[1]
    write = written(head, (ONE, 1), (TWO, 1), (ONE, 2), (ONE, 3), state=BYTES)
    await storage.log.write([write])
    await storage.view.apply("status", [Move(1, 0, 4, [status(1), status(2)])])
    for each in (ONE, TWO):
        await storage.snapshots.put(1, SnapshotRecord(each, 1, "f", bytes(32), b"state"))
    return storage


async def fence(storage):
    return (await storage.log.heads([1]))[0]


STRIPPED = [(1, BARE), (3, BARE), (4, BARE)]


async def test_its_events_keep_everything_but_their_bytes(filled):
    before = await filled.log.log(1)
    assert await filled.archive.put(await fence(filled), record(), STRIPPED)
    after = await filled.log.log(1)
    bare = [replace(each, state=b"", state_hash=BARE) if each.orchestration == ONE else each for each in before]
    assert after == bare
    assert await filled.log.stream(1, ONE) == [after[0], after[2], after[3]]
    assert await filled.log.stream(1, TWO) == [before[1]]
    assert filled.log.read_stream(1, ONE, newest_first=True, limit=1) == [after[3]]


async def test_it_is_in_the_archive_and_nowhere_else(filled):
    assert await filled.archive.get(1, ONE) is None
    assert await filled.archive.put(await fence(filled), record(), STRIPPED)
    assert await filled.archive.get(1, ONE) == record()
    assert await filled.archive.get(1, TWO) is None
    assert await filled.archive.get(0, ONE) is None
    assert await filled.view.list(StatusQuery()) == [status(2)]
    assert await filled.view.list(StatusQuery(tags=(("a", "b"),))) == [status(2)]
    assert await filled.snapshots.get(1, ONE, "f") is None
    assert await filled.snapshots.get(1, TWO, "f") is not None


async def test_the_head_stays_and_the_log_goes_on(filled):
    before = await fence(filled)
    await filled.archive.put(before, record(), STRIPPED)
    assert await fence(filled) == before
    assert await filled.log.write([written(before, (TWO, 2))]) == [True]


@pytest.mark.parametrize("wrong", ["epoch", "longer", "shorter", "missing"])
async def test_nothing_is_done_when_it_is_not_as_expected(filled, wrong):
    head, given = await fence(filled), record()
    match wrong:
        case "epoch":
            head = replace(head, epoch=head.epoch - 1)
        case "longer":
            given = record(events=2)
        case "shorter":
            given = record(events=4)
        case "missing":
            given = record(identity(9))
    before = await filled.log.log(1)
    assert not await filled.archive.put(head, given, STRIPPED)
    assert await filled.log.log(1) == before
    assert await filled.archive.get(1, given.orchestration) is None
    assert len(await filled.view.list(StatusQuery())) == 2


async def test_a_repeat_changes_nothing(filled):
    await filled.archive.put(await fence(filled), record(), STRIPPED)
    assert not await filled.archive.put(await fence(filled), record(content=b"other"), STRIPPED)
    assert await filled.archive.get(1, ONE) == record()


async def test_it_waits_for_no_epoch_but_its_own(place):
    first, second = place(), place()
    await own(first, "first", PARTITIONS)
    write = written((await heads(first))[1], (ONE, 1), state=BYTES)
    await first.log.write([write])
    await first.log.close()
    (_, mine, *_) = await own(second, "second", PARTITIONS)
    assert not await second.archive.put(write.after, record(events=1), [(1, BARE)])
    assert await second.archive.put(mine, record(events=1), [(1, BARE)])
    await second.log.close()


async def test_what_has_been_still_is_found_from_the_oldest_on(storage):
    rows = [
        status(1, started_at=minutes(3), updated_at=minutes(4)),
        status(2, started_at=minutes(3), updated_at=minutes(5)),
        status(3, started_at=minutes(1), updated_at=minutes(9)),
        status(4, started_at=minutes(0), updated_at=minutes(5), status="running"),
        status(5, started_at=minutes(0), updated_at=minutes(2), status="faulted"),
        status(6, started_at=minutes(5), updated_at=minutes(5)),
    ]
    await storage.view.apply("status", [Move(1, 0, 6, rows)])
    await storage.view.apply("status", [Move(2, 0, 1, [status(7, partition=2)])])

    async def still(before, **members):
        found = await storage.view.still(1, ("completed", "faulted"), before, **members)
        return [each.public_id for each in found]

    assert await still(minutes(5)) == ["o005", "o002", "o001", "o006"]
    assert await still(minutes(4)) == ["o005", "o001"]
    assert await still(minutes(5), limit=2) == ["o005", "o002"]
    assert await still(minutes(5), after=(minutes(3), "o002")) == ["o001", "o006"]
    assert await still(minutes(5), after=(minutes(5), "o006")) == []
    assert await storage.view.still(1, ("faulted",), minutes(5)) == [rows[4]]
