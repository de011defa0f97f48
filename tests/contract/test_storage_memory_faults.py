"""Storage in memory fails to order, and survives the process that used it."""

from __future__ import annotations

import asyncio

import pytest

from domain.errors import StorageError
from tests.contract.storages import PARTITIONS, identity, written
from tests.simulation.memory_storage import MemoryData, MemoryStorage
from tests.support.owning import own

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("mode", "position"), [("before", 0), ("after", 1)])
async def test_a_failed_write_has_happened_or_not(mode, position):
    storage = MemoryStorage()
    [head, *_] = await own(storage, "owner", PARTITIONS)
    storage.fail_next_write(mode)
    with pytest.raises(StorageError):
        await storage.log.write([written(head, (identity(1), 1))])
    [now] = await storage.log.heads([0])
    assert now.position == position
    assert await storage.log.write([written(now, (identity(1), position + 1))]) == [True]


async def test_two_nodes_over_one_database():
    data = MemoryData()
    one, other = MemoryStorage(data), MemoryStorage(data)
    [head, *_] = await own(one, "one", PARTITIONS)
    [newer, *_] = await own(other, "other", PARTITIONS)
    assert await one.log.write([written(head, (identity(1), 1))]) == [False]
    assert await other.log.write([written(newer, (identity(1), 1))]) == [True]


async def test_a_step_sees_every_call_before_and_after_it_takes_effect():
    seen = []

    async def step(operation: str) -> None:
        seen.append((operation, bool(storage.data.partitions and storage.data.partitions[0].log)))
        await asyncio.sleep(0)

    storage = MemoryStorage(step=step)
    [head, *_] = await own(storage, "owner", PARTITIONS)
    assert seen[:2] == [("open", False), ("open done", False)]
    seen.clear()
    await storage.log.write([written(head, (identity(1), 1))])
    assert seen == [("write", False), ("write done", True)]


async def test_a_caller_that_dies_after_the_commit_leaves_it_done():
    gate = asyncio.Event()

    async def step(operation: str) -> None:
        if operation == "write done":
            gate.set()
            await asyncio.Event().wait()

    storage = MemoryStorage(step=step)
    [head, *_] = await own(storage, "owner", PARTITIONS)
    caller = asyncio.create_task(storage.log.write([written(head, (identity(1), 1))]))
    await gate.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert len(await MemoryStorage(storage.data).log.log(0)) == 1
