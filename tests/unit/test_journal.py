"""The journal: batches, unknown commits, conflicts, what cannot be written, and the end."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest

from adapters.stored_events import EventMapper
from application.chain import GENESIS
from application.journal import LARGEST_BATCH, Appended, Journal
from domain.errors import OwnershipLostError, StorageError
from domain.events import EventReceived, NoteAdded
from tests.simulation.loop import simulate
from tests.simulation.memory_storage import MemoryData, MemoryStorage
from tests.support.owning import own

NOON = datetime(2030, 5, 17, 12, tzinfo=UTC)


class Door:
    """The way into the database: counts writes, and can be shut or broken."""

    def __init__(self) -> None:
        self.writes = 0
        self.open = asyncio.Event()
        self.open.set()
        self.broken: set[str] = set()

    async def reached(self, writes: int) -> None:
        while self.writes < writes:  # noqa: ASYNC110 - in virtual time waiting costs nothing
            await asyncio.sleep(0.0001)

    async def __call__(self, operation: str) -> None:
        if operation == "write":
            self.writes += 1
            await self.open.wait()
        if operation in self.broken:
            raise StorageError(f"{operation} is broken")
        await asyncio.sleep(0)


class Desk:
    """A journal over a database in memory."""

    def __init__(self, data: MemoryData, storage: MemoryStorage, door: Door, journal: Journal) -> None:
        self.data, self.storage, self.door, self.journal = data, storage, door, journal
        self.told: list[tuple[int, list[UUID]]] = []
        self.lost: list[int] = []
        journal.on_commit(lambda partition, moved: self.told.append((partition, moved)))
        journal.on_lost(self._lose)

    def _lose(self, partition: int) -> None:
        self.lost.append(partition)
        self.journal.lost(partition)

    def append(
        self, number: int, *, partition: int = 0, version: int = 0, events: int = 1
    ) -> asyncio.Task[list[bytes]]:
        notes = [NoteAdded(at=NOON, text=f"{number}.{i}") for i in range(events)]
        stream = Appended(UUID(int=number), version, GENESIS, notes)
        return asyncio.ensure_future(self.journal.append(partition, 1, [stream], []))

    def stored(self, partition: int = 0) -> list[int]:
        return [record.orchestration.int for record in self.data.partitions[partition].log]


async def desk() -> Desk:
    data, door = MemoryData(), Door()
    storage = MemoryStorage(data, step=door)
    journal = Journal(storage.log, EventMapper(), give_up_s=10.0)
    for head in await own(storage, "me", 3):
        journal.gained(head)
    journal.start()
    return Desk(data, storage, door, journal)


async def settled() -> None:
    """Everyone who can has moved."""
    for _ in range(1000):
        await asyncio.sleep(0)


def simulated(test):
    """Run a test in virtual time."""

    def run():
        async def main(loop):
            await test(loop, await desk())
            assert not loop.failures

        simulate(1, main)

    run.__name__ = test.__name__
    return run


@simulated
async def test_it_never_waits_for_company(loop, desk):
    await desk.append(1)
    assert desk.stored() == [1]
    assert loop.time() == 0, "not an instant"


@simulated
async def test_what_arrives_during_a_commit_is_the_next_batch(loop, desk):
    desk.door.open.clear()
    first = desk.append(1)
    await desk.door.reached(1)
    rest = [desk.append(number) for number in range(2, 40)]
    await settled()
    assert desk.door.writes == 1
    desk.door.open.set()
    await asyncio.gather(first, *rest)
    assert desk.door.writes == 2
    assert sorted(desk.stored()) == list(range(1, 40))


@simulated
async def test_a_batch_is_bounded(loop, desk):
    desk.door.open.clear()
    first = desk.append(1)
    await desk.door.reached(1)
    rest = [desk.append(number, events=100) for number in range(2, 14)]
    await settled()
    desk.door.open.set()
    await asyncio.gather(first, *rest)
    assert desk.door.writes == 1 + -(-12 * 100 // LARGEST_BATCH)


@simulated
async def test_more_events_than_a_batch_holds_are_one_commit(loop, desk):
    await desk.append(1, events=LARGEST_BATCH * 2)
    assert desk.door.writes == 1


@simulated
async def test_a_commit_that_happened_but_was_reported_as_failed(loop, desk):
    desk.storage.fail_next_write("after")
    await desk.append(1)
    assert desk.stored() == [1]
    await desk.append(2)
    assert desk.stored() == [1, 2]
    assert desk.told == [(0, [UUID(int=1)]), (0, [UUID(int=2)])]


@simulated
async def test_a_commit_that_did_not_happen_is_made_again(loop, desk):
    desk.storage.fail_next_write("before")
    await desk.append(1)
    assert desk.stored() == [1]


@simulated
async def test_a_partition_of_someone_else_is_lost_for_good(loop, desk):
    desk.journal.on_lost(desk.journal.lost)
    await own(MemoryStorage(desk.data), "other", 3)
    with pytest.raises(OwnershipLostError):
        await desk.append(1)
    writes = desk.door.writes
    with pytest.raises(OwnershipLostError):
        await desk.append(2)
    assert desk.door.writes == writes, "nothing more is sent to a partition that is lost"
    assert desk.stored() == []


@simulated
async def test_a_conflict_does_not_fail_its_neighbours(loop, desk):
    desk.door.open.clear()
    first = desk.append(1, partition=0)
    await desk.door.reached(1)
    lost, kept = desk.append(2, partition=1), desk.append(3, partition=2)
    taken = desk.data.partitions[1]
    taken.head = msgspec.structs.replace(taken.head, epoch=taken.head.epoch + 1)
    desk.door.open.set()
    await asyncio.gather(first, kept)
    with pytest.raises(OwnershipLostError):
        await lost
    assert (desk.stored(0), desk.stored(1), desk.stored(2)) == ([1], [], [3])


@simulated
async def test_what_cannot_be_written_fails_alone(loop, desk):
    await desk.append(1)
    desk.door.open.clear()
    before = desk.append(2)
    await desk.door.reached(2)
    twice, neighbours = desk.append(1), [desk.append(number) for number in (3, 4, 5)]  # version 1 is there already
    desk.door.open.set()
    await asyncio.gather(before, *neighbours)
    with pytest.raises(StorageError):
        await twice
    assert sorted(desk.stored()) == [1, 2, 3, 4, 5]
    assert loop.time() < 1


@simulated
async def test_what_cannot_be_written_does_not_keep_the_others_waiting(loop, desk):
    await desk.append(1)
    twice = desk.append(1)
    await desk.door.reached(4)
    await desk.append(2)
    with pytest.raises(StorageError):
        await twice
    assert loop.time() < 2


@simulated
async def test_a_database_that_stays_away_is_given_up(loop, desk):
    desk.door.broken = {"write", "heads"}
    with pytest.raises(StorageError):
        await desk.append(1)
    assert 10 <= loop.time() < 13
    desk.door.broken = set()
    await desk.append(2)
    assert (desk.stored(), desk.lost) == ([2], [])


@simulated
async def test_what_was_given_up_and_had_happened_is_not_built_upon(loop, desk):
    desk.door.broken = {"write done", "heads"}
    with pytest.raises(StorageError):
        await desk.append(1)
    desk.door.broken = set()
    await asyncio.sleep(2)
    assert (desk.stored(), desk.lost) == ([1], [0]), "nobody has to write for that"
    with pytest.raises(OwnershipLostError):
        await desk.append(2)
    assert desk.stored() == [1]


@simulated
async def test_the_end_commits_what_was_handed_in(loop, desk):
    handed_in = [desk.append(number) for number in range(1, 30)]
    await desk.door.reached(1)
    late = [desk.append(number) for number in range(30, 40)]
    await asyncio.sleep(0.001)
    await desk.journal.stop()
    await asyncio.gather(*handed_in, *late)
    assert sorted(desk.stored()) == list(range(1, 40))
    with pytest.raises(StorageError):
        await desk.append(99)


@simulated
async def test_who_gave_up_waiting_is_written_all_the_same(loop, desk):
    desk.door.open.clear()
    waiting = desk.append(1)
    await desk.door.reached(1)
    waiting.cancel()
    desk.door.open.set()
    await desk.append(2)
    assert desk.stored() == [1, 2]


@simulated
async def test_what_may_have_been_committed_is_never_said_not_to_have_been(loop, desk):
    """A batch happens after it was found not to have happened, while its entries are being written one by one."""
    late: list[Any] = []
    write = desk.storage.log.write

    async def late_write(writes):
        if len(late) == 0:
            late.append(writes)
            raise StorageError("the link broke")
        if len(late) == 1:
            late.append(None)
            assert all(await write(late[0]))
        return await write(writes)

    desk.door.open.clear()
    first = desk.append(9)
    await desk.door.reached(1)
    together = [desk.append(number) for number in (1, 2, 3)]
    await settled()
    desk.storage.log.write = late_write
    desk.door.open.set()
    results = await asyncio.gather(*together, return_exceptions=True)
    await first
    assert sorted(desk.stored()) == [1, 2, 3, 9]
    assert not [result for result in results if isinstance(result, OwnershipLostError)], results


@simulated
async def test_what_cannot_be_encoded_fails_alone(loop, desk):
    desk.door.open.clear()
    first = desk.append(9)
    await desk.door.reached(1)
    too_large = EventReceived(at=NOON, source="s", id="1", digest=b"", event={"n": 10**30}, outcome="held")
    stream = Appended(UUID(int=5), 0, GENESIS, [too_large])
    neighbours = [desk.append(1), desk.append(2)]
    with pytest.raises(OverflowError):
        await desk.journal.append(0, 1, [stream], [])
    desk.door.open.set()
    await asyncio.gather(first, *neighbours)
    assert sorted(desk.stored()) == [1, 2, 9]
