"""The orchestrations in memory: bounded, one of each, and never ahead of the log for a reader."""

from __future__ import annotations

import asyncio

import pytest

from application.live import Live
from application.ports import Answered
from application.runtime import Node
from application.service import CommandRequest
from domain.errors import NotFoundError, StorageError
from tests.simulation.folded import folded
from tests.simulation.loop import simulate
from tests.simulation.memory_storage import MemoryData
from tests.simulation.nodes import Scripted, deploy, ended, running, start

CAPACITY = 100


def entries(node):
    return node.cache._entries


def in_memory(node: Node, id_: str) -> Live:
    live = node.cache.peek(id_)
    assert live is not None
    return live


def test_a_thousand_orchestrations_in_room_for_a_hundred():
    async def main(loop):
        async def slowly(callout):
            await asyncio.sleep(int(callout.idempotency_key[0], 36) % 7)
            return Answered({})

        data = MemoryData()
        node = await running(loop, data, Scripted(slowly), live_orchestrations=CAPACITY)
        await deploy(node, [{"a": {"call": "act"}}, {"w": {"wait": {"seconds": 60}}}, {"b": {"call": "act"}}])
        most = 0
        ids = []
        for _ in range(10):
            ids += await asyncio.gather(*(start(node) for _ in range(100)))
            most = max(most, len(entries(node)))
        await asyncio.sleep(600)
        most = max(most, len(entries(node)))
        statuses = [(await node.queries.status(id_))["status"] for id_ in ids]
        assert most <= CAPACITY
        assert set(statuses) == {"completed"}
        assert len(ids) == len(set(ids)) == 1000
        assert not node.cache._locks, "locks of nobody are forgotten"
        assert not node.cache._loading
        assert {each.state.version for each in folded(data)} == {11}

    simulate(1, main)


def test_what_has_ended_makes_room_before_what_has_not():
    async def main(loop):
        node = await running(loop, MemoryData(), Scripted(), live_orchestrations=CAPACITY)
        await deploy(node, [{"w": {"if": ".wait", "wait": {"seconds": 600}}}])
        waiting = [await start(node, {"wait": True}) for _ in range(50)]
        done = [await start(node, {"wait": False}) for _ in range(200)]
        assert [id_ for id_ in waiting if node.cache.peek(id_) is None] == []
        assert sum(node.cache.peek(id_) is not None for id_ in done) == CAPACITY // 10
        assert {(await node.queries.status(id_))["status"] for id_ in done} == {"completed"}

    simulate(1, main)


def test_there_is_one_of_each_however_many_load_it():
    async def main(loop):
        data = MemoryData()
        node = await running(loop, data)
        await deploy(node, [{"l": {"listen": {"to": {"one": {"with": {"type": "never"}}}}}}])
        id_ = await start(node)
        node.cache.evict(in_memory(node, id_))
        lives = await asyncio.gather(*(node.cache.load(id_) for _ in range(20)))
        assert len({id(live) for live in lives}) == 1

    for seed in range(10):
        simulate(seed, main)


def test_what_was_read_before_it_moved_is_not_kept():
    """A load that began before a commit must not put the old state back when the new one was forgotten meanwhile."""

    async def main(loop):
        data = MemoryData()
        gate = asyncio.Event()
        gate.set()
        held: list[str] = []

        async def step(operation):
            if operation == "stream done" and not gate.is_set() and not held:
                held.append(operation)
                await gate.wait()
            await asyncio.sleep(0)

        node = await running(loop, data, step=step)
        await deploy(node, [{"l": {"listen": {"to": {"one": {"with": {"type": "never"}}}}}}])
        id_ = await start(node)
        node.cache.evict(in_memory(node, id_))
        gate.clear()
        slow = asyncio.ensure_future(node.cache.load(id_))
        await asyncio.sleep(1)
        assert held, "the slow load has read and has not returned"
        await node.commands.add_note(CommandRequest(id=id_), text="meanwhile")
        node.cache.evict(in_memory(node, id_))
        gate.set()
        live = await slow
        assert live.state.version == folded(data)[0].state.version
        await node.commands.add_note(CommandRequest(id=id_), text="and on")
        assert [record.version for record in next(iter(data.partitions[live.partition].streams.values()))] == [
            1,
            2,
            3,
            4,
            5,
        ]

    simulate(1, main)


def test_a_reader_never_sees_what_is_not_committed():
    async def main(loop):
        data = MemoryData()
        node = await running(loop, data)
        await deploy(node, [{"a": {"call": "act"}}, {"b": {"call": "act"}}, {"c": {"call": "act"}}])
        id_ = await start(node)
        for _ in range(200):
            status = await node.queries.status(id_)
            stored = [each.state.version for each in folded(data) if each.state.id == id_]
            assert status["version"] <= stored[0]
            if status["status"] == "completed":
                break
            await asyncio.sleep(0)
        assert (await ended(node, id_))["status"] == "completed"

    for seed in range(20):
        simulate(seed, main)


def test_a_command_that_changes_nothing_leaves_it_readable():
    async def main(loop):
        node = await running(loop)
        await deploy(node, [{"l": {"listen": {"to": {"one": {"with": {"type": "never"}}}}}}])
        id_ = await start(node)
        for _ in range(2):
            await node.commands.suspend(CommandRequest(id=id_))
        async with asyncio.timeout(5):
            assert (await node.queries.status(id_))["status"] == "suspended"
        assert not in_memory(node, id_).deciding

    simulate(1, main)


def test_what_was_decided_and_not_committed_is_forgotten():
    async def main(loop):

        data = MemoryData()
        broken = set()

        async def step(operation):
            if operation in broken:
                raise StorageError("broken")
            await asyncio.sleep(0)

        node = await running(loop, data, step=step)
        await deploy(node, [{"l": {"listen": {"to": {"one": {"with": {"type": "never"}}}}}}])
        id_ = await start(node)
        broken |= {"write", "heads"}
        with pytest.raises(StorageError):
            await node.commands.suspend(CommandRequest(id=id_))
        with pytest.raises(StorageError):
            await start(node, idempotency_key="k")
        broken.clear()
        assert (await node.queries.status(id_))["status"] == "running"
        with pytest.raises(NotFoundError):
            await node.queries.status(node.engine.identity.derived("anonymous", "k"))
        again = await start(node, idempotency_key="k")
        assert (await node.queries.status(again))["status"] == "running"

    simulate(1, main)
