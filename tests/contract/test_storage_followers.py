"""The contract of followers of the log: a position for each name and partition, moved only from where it is."""

from __future__ import annotations

import asyncio

import pytest

from tests.contract.storages import PARTITIONS
from tests.support.owning import own

pytestmark = pytest.mark.anyio


async def test_a_follower_begins_once(storage):
    found = await asyncio.gather(*(storage.followers.begin(1, "lifecycle", position) for position in range(10)))
    assert len(set(found)) == 1
    assert await storage.followers.begin(1, "lifecycle", 99) == found[0]
    assert await storage.followers.begin(1, "other", 99) == 99
    assert await storage.followers.begin(0, "lifecycle", 98) == 98


async def test_it_moves_only_from_where_it_is(storage):
    await storage.followers.begin(1, "lifecycle", 5)
    moved = await asyncio.gather(*(storage.followers.move(1, "lifecycle", 5, 10 + each) for each in range(10)))
    assert moved.count(True) == 1
    assert await storage.followers.begin(1, "lifecycle", 0) == 10 + moved.index(True)
    assert not await storage.followers.move(1, "lifecycle", 5, 30)
    assert not await storage.followers.move(1, "nobody", 0, 30)
    assert not await storage.followers.move(0, "lifecycle", 5, 30)


async def test_they_survive_a_restart(place):
    first = place()
    await own(first, "first", PARTITIONS)
    await first.followers.begin(0, "lifecycle", 3)
    assert await first.followers.move(0, "lifecycle", 3, 2**40)
    await first.log.close()
    second = place()
    await own(second, "second", PARTITIONS)
    assert await second.followers.begin(0, "lifecycle", 0) == 2**40
    await second.log.close()
