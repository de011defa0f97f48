"""`as_of` of a list: a view that is behind says so, whatever kept it behind."""

from __future__ import annotations

import asyncio
from datetime import datetime

from application.service import ListRequest
from domain.errors import StorageError
from tests.simulation.loop import simulate
from tests.simulation.memory_data import MemoryData
from tests.simulation.nodes import deploy, running, start

WAIT = [{"w": {"wait": {"seconds": 3600}}}]


class Door:
    """The way into the database, shut for some."""

    def __init__(self, *shut: str) -> None:
        self.shut = set(shut)

    async def __call__(self, operation: str) -> None:
        await asyncio.sleep(0)
        if operation in self.shut:
            raise StorageError(f"{operation} is broken")


async def _view(node):
    page = await node.queries.list(ListRequest())
    return len(page["items"]), datetime.fromisoformat(page["as_of"])


def test_a_view_that_cannot_be_written_grows_old():
    async def main(loop):
        door = Door()
        node = await running(loop, MemoryData(), step=door)
        await deploy(node, WAIT)
        await start(node)
        await node.projector.caught_up()
        assert (await _view(node))[0] == 1
        door.shut.add("apply")
        await asyncio.sleep(1)
        now = node.world.clock.now()
        await start(node)
        await asyncio.sleep(60)
        count, as_of = await _view(node)
        assert (count, as_of) == (1, now)
        door.shut.clear()
        await asyncio.sleep(3)
        count, as_of = await _view(node)
        assert count == 2
        assert as_of > now
        await node.stop()

    simulate(1, main)


def test_what_the_last_owner_left_unseen_is_not_said_to_be_seen():
    async def main(loop):
        data, door = MemoryData(), Door("apply")
        node = await running(loop, data, step=door)
        await deploy(node, WAIT)
        now = node.world.clock.now()
        await start(node)
        await node.stop()
        await asyncio.sleep(60)
        following = await running(loop, data, step=door, seed=1)
        assert await _view(following) == (0, now)
        door.shut.clear()
        await asyncio.sleep(3)
        assert (await _view(following))[0] == 1
        await following.stop()

    simulate(1, main)
