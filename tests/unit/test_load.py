"""What a node takes on: refused at the door, never half-way."""

from __future__ import annotations

import asyncio

import pytest

from application.ports import Answered
from application.runtime import Node
from application.service import CommandRequest
from application.world import Options
from domain.errors import OverloadedError, TooManyRequestsError
from tests.simulation.loop import simulate
from tests.simulation.memory_storage import MemoryData
from tests.simulation.nodes import Scripted, deploy, ended, start, world_of


async def small_node(loop, callouts, **limits) -> Node:
    import random

    world = world_of(loop, MemoryData(), callouts, chance=random.Random(1))
    node = Node(world, Options(partitions=4, **limits))
    await node.start()
    await node.go_on()
    return node


def test_more_starts_than_can_be_sent_are_refused_until_some_have_ended():
    async def main(loop):
        gate = asyncio.Event()

        async def slowly(callout):
            await gate.wait()
            return Answered({})

        node = await small_node(loop, Scripted(slowly), most_in_progress=10)
        await deploy(node, [{"a": {"call": "act"}}])
        ids = [await start(node) for _ in range(10)]
        await asyncio.sleep(0.1)
        with pytest.raises(TooManyRequestsError):
            await start(node)
        await node.commands.add_note(CommandRequest(id=ids[0]), text="a command is no start")
        gate.set()
        for id_ in ids:
            assert (await ended(node, id_))["status"] == "completed"
        assert (await ended(node, await start(node)))["status"] == "completed"

    simulate(1, main)


def test_a_database_that_does_not_keep_up_refuses_what_is_new_and_loses_nothing():
    async def main(loop):
        node = await small_node(loop, Scripted(), most_waiting_commits=5)
        await deploy(node, [{"a": {"call": "act"}}])
        results = await asyncio.gather(*(start(node) for _ in range(200)), return_exceptions=True)
        refused = [each for each in results if isinstance(each, OverloadedError)]
        ids = [each for each in results if isinstance(each, str)]
        assert len(refused) + len(ids) == 200
        assert refused
        assert ids
        for id_ in ids:
            assert (await ended(node, id_))["status"] == "completed"

    simulate(1, main)
