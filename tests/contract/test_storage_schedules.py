"""The contract of schedules: one row each, changed by compare-and-set, found by partition."""

from __future__ import annotations

import asyncio

import pytest

from application.registers import register_partition
from application.schedule_store import ScheduleRow
from tests.contract.storages import PARTITIONS
from tests.support.owning import own

pytestmark = pytest.mark.anyio


async def test_a_row_is_there_once(storage):
    assert await storage.schedules.get("shop", "orders") is None
    done = await asyncio.gather(*(storage.schedules.put("shop", "orders", bytes([each])) for each in range(10)))
    assert done.count(True) == 1
    row = await storage.schedules.get("shop", "orders")
    assert row == ScheduleRow("shop", "orders", 1, bytes([done.index(True)]))
    assert await storage.schedules.put("orders", "shop", b"other")


async def test_one_of_many_changes_a_revision(storage):
    await storage.schedules.put("shop", "orders", b"first")
    done = await asyncio.gather(*(storage.schedules.change("shop", "orders", 1, bytes([each])) for each in range(10)))
    assert done.count(True) == 1
    assert await storage.schedules.get("shop", "orders") == ScheduleRow("shop", "orders", 2, bytes([done.index(True)]))
    assert await storage.schedules.change("shop", "orders", 2, b"next")
    assert not await storage.schedules.change("shop", "nothing", 1, b"next")


async def test_rows_are_found_by_partition_in_order(storage):
    names = [f"n{each}" for each in range(9, -1, -1)]
    for name in names:
        await storage.schedules.put("shop", name, b"\x00\xff")
    assert [row.name for row in await storage.schedules.of(range(PARTITIONS))] == sorted(names)
    for partition in range(PARTITIONS):
        here = [name for name in sorted(names) if register_partition("shop", name, partitions=PARTITIONS) == partition]
        assert [row.name for row in await storage.schedules.of([partition])] == here
    assert await storage.schedules.of([]) == []


async def test_they_survive_a_restart(place):
    first = place()
    await own(first, "first", PARTITIONS)
    await first.schedules.put("shop", "orders", b"course")
    await first.log.close()
    second = place()
    await own(second, "second", PARTITIONS)
    assert await second.schedules.get("shop", "orders") == ScheduleRow("shop", "orders", 1, b"course")
    await second.log.close()
