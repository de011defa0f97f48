"""A batch that happens after it was found not to have happened: its link broke while the server had yet to begin with it.

What it decided was forgotten, so what follows from it (a callout to send) must be taken up from the log.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from application.runtime import Node
from application.storage import LogStore, PartitionWrite
from application.world import Options
from domain.errors import StorageError
from tests.simulation.loop import simulate
from tests.simulation.memory_data import MemoryData
from tests.simulation.nodes import Scripted, deploy, ended, start, world_of

CALL = [{"act": {"call": "act", "with": {"n": 1}}}]


class LateLog:
    """A `LogStore` whose next write fails, and is carried out right before the one after it."""

    def __init__(self, log: LogStore) -> None:
        self._log = log
        self._late: Sequence[PartitionWrite] = ()
        self.next_is_late = False
        self.came_late = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def write(self, writes: Sequence[PartitionWrite]) -> list[bool]:
        if self.next_is_late:
            self.next_is_late, self._late = False, writes
            raise StorageError("the link broke")
        if self._late:
            late, self._late = self._late, ()
            assert all(await self._log.write(late))
            self.came_late = sum(len({each.orchestration for each in write.records}) for write in late)
        return await self._log.write(writes)


class LateStorage:
    """A `Storage` with such a log."""

    def __init__(self, storage: Any) -> None:
        self._storage = storage
        self.log = LateLog(storage.log)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)


@pytest.mark.parametrize("alone", [True, False])
def test_what_follows_from_it_is_taken_up(alone):
    async def insist(node, key):
        while True:
            try:
                return await start(node, idempotency_key=key)
            except StorageError:
                await asyncio.sleep(1)

    async def main(loop):
        callouts = Scripted()
        world = world_of(loop, MemoryData(), callouts, chance=random.Random(1), alone=alone)
        storage = LateStorage(world.storage)
        node = Node(msgspec.structs.replace(world, storage=storage), Options(partitions=1))
        await node.start()
        await node.go_on()
        await deploy(node, CALL)
        storage.log.next_is_late = True
        ids = await asyncio.gather(*(insist(node, f"k{number}") for number in range(3)))
        assert {(await ended(node, id_, 300))["status"] for id_ in ids} == {"completed"}
        assert sorted({each.orchestration for each in callouts.sent}) == sorted(ids)
        await node.stop()
        return storage.log.came_late

    # How many are written together is up to the order of things, which everything that a node does at its start changes.
    assert max(simulate(seed, main) for seed in range(8)) > 1, "a batch among them"
