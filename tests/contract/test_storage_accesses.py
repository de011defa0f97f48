"""The contract of AccessStore: chains that grow at their end, whoever writes, and are cut at their front only."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from application.accesses import GENESIS, Access, AccessQuery, breaks
from tests.contract.storages import PARTITIONS, minutes
from tests.support.owning import own

pytestmark = pytest.mark.anyio
replace = msgspec.structs.replace


def access(number: int, **members) -> Access:
    given = {
        "id": f"a_{number:03}",
        "at": minutes(number),
        "actor": "ada",
        "what": "feed",
        "filters": {"type": ["task.*"], "limit": 5, "città": None},
        "request_id": "r",
        "events": number,
    }
    return Access(**{**given, **members})


async def chain(storage, partition=1):
    return await storage.accesses.chain(partition)


async def test_a_chain_grows_at_its_end(storage):
    first = await storage.accesses.append(1, [access(1), access(2, orchestration="o_x", step="began", events=None)])
    second = await storage.accesses.append(1, [access(3)])
    found = await chain(storage)
    assert found == [*first, *second]
    assert [each.number for each in found] == [1, 2, 3]
    assert [each.previous for each in found] == [GENESIS, first[0].hash, first[1].hash]
    assert found[1].access == access(2, orchestration="o_x", step="began", events=None)
    assert list(breaks(1, found)) == []
    assert await chain(storage, 2) == []
    assert await storage.accesses.chain(1, after=1, limit=1) == found[1:2]


async def test_several_that_write_at_once_make_one_chain(place):
    one, other = place(), place()
    await own(one, "one", PARTITIONS)
    if one.kind != "sqlite":  # a file belongs to one process
        await other.log.open(PARTITIONS, 10.0)
    else:
        other = one
    async with asyncio.TaskGroup() as group:
        for number in range(12):
            storage = (one, other)[number % 2]
            group.create_task(storage.accesses.append(1, [access(number), access(100 + number)]))
    found = await chain(one)
    assert len(found) == 24
    assert list(breaks(1, found)) == []
    pairs = [each.access.id for each in found]
    assert all(pairs[at + 1] == f"a_{int(pairs[at][2:]) + 100:03}" for at in range(0, 24, 2)), "a batch stays together"
    await one.log.close()
    if other is not one:
        await other.log.close()


async def test_they_are_listed_newest_first_with_filters_and_pages(storage):
    for partition, number in ((0, 1), (1, 3), (2, 2), (1, 3), (0, 5), (1, 1)):
        given = {"actor": "bob"} if number == 2 else {"what": "export", "orchestration": "o_x"} if number == 5 else {}
        await storage.accesses.append(partition, [access(number, **given)])

    async def listed(**query):
        found = await storage.accesses.newest(AccessQuery(**query))
        return [(each.access.at, each.partition, each.number) for each in found]

    everything = await listed()
    assert everything == [
        (minutes(5), 0, 2),
        (minutes(3), 1, 2),
        (minutes(3), 1, 1),
        (minutes(2), 2, 1),
        (minutes(1), 0, 1),
        (minutes(1), 1, 3),
    ]
    for place in range(1, len(everything)):
        assert await listed(after=everything[place - 1]) == everything[place:]
        assert await listed(limit=place) == everything[:place]
    assert await listed(actor="bob") == everything[3:4]
    assert await listed(what="export") == await listed(orchestration="o_x") == everything[:1]
    assert await listed(since=minutes(3)) == everything[:3]
    assert await listed(until=minutes(2)) == everything[3:]


async def test_old_ones_go_from_the_front_and_the_rest_holds_together(storage):
    # The third is older than the second, as clocks of nodes may have it: nothing goes from the middle.
    await storage.accesses.append(1, [access(1), access(5), access(2), access(6)])
    await storage.accesses.append(2, [access(1), access(2)])
    assert await storage.accesses.expire(minutes(3)) == 2
    assert [each.number for each in await chain(storage)] == [2, 3, 4]
    assert [each.number for each in await chain(storage, 2)] == [2]
    await storage.accesses.append(2, [access(7)])
    assert [each.number for each in await chain(storage, 2)] == [2, 3]
    for partition in (1, 2):
        assert list(breaks(partition, await chain(storage, partition))) == []
    assert await storage.accesses.expire(minutes(3)) == 1, "the last of a chain stays until another follows"


async def test_what_was_done_to_a_chain_is_told(storage):
    await storage.accesses.append(1, [access(number) for number in range(1, 6)])
    sound = await chain(storage)
    changed = [*sound]
    changed[2] = replace(sound[2], access=replace(sound[2].access, actor="eve"))
    assert [*breaks(1, changed)] == ["access 3 of chain 1 has been changed"]
    assert "missing" in next(breaks(1, [*sound[:2], *sound[3:]]))
    assert list(breaks(1, [sound[0], sound[2], sound[1], *sound[3:]]))
    assert list(breaks(2, sound)), "it is the chain of another partition"
    forged = (await storage.accesses.append(2, [access(9)]))[0]
    assert list(breaks(1, [forged, *sound[1:]]))
