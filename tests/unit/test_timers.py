"""Timers: the database remembers, memory holds the next minute, and restarts lose nothing."""

from __future__ import annotations

import asyncio
from datetime import datetime

from application.service import CommandRequest
from application.timers import HORIZON_S
from domain.errors import StorageError
from tests.simulation.loop import START, Process, simulate
from tests.simulation.memory_storage import MemoryData
from tests.simulation.nodes import deploy, ended, running, start


def seconds_after(start_, text):
    return (datetime.fromisoformat(text) - start_).total_seconds()


def test_what_is_far_away_costs_no_memory():
    async def main(loop):
        node = await running(loop)
        await deploy(node, [{"w": {"wait": {"hours": 24}}}])
        ids = await asyncio.gather(*(start(node) for _ in range(60)))
        await asyncio.sleep(3600)
        assert node.timers._heap == []
        await asyncio.sleep(24 * 3600)
        assert {(await node.queries.status(id_))["status"] for id_ in ids} == {"completed"}

    simulate(1, main)


def test_it_fires_when_it_is_due_and_not_before():
    async def main(loop):
        node = await running(loop)
        for number, wait in enumerate(({"milliseconds": 5}, {"seconds": 59}, {"seconds": 61}, {"minutes": 95})):
            await deploy(node, [{"w": {"wait": wait}}], name=f"w{number}")
        ids = [await start(node, name=f"w{number}") for number in range(4)]
        for id_, wanted in zip(ids, (0.005, 59, 61, 95 * 60), strict=True):
            status = await ended(node, id_)
            took = seconds_after(START, status["ended_at"]) - seconds_after(START, status["started_at"])
            assert wanted <= took < wanted + 0.05

    simulate(1, main)


def test_a_restart_finds_what_is_due_and_what_was_missed():
    async def main(loop):
        data = MemoryData()
        first = Process(loop, 1)
        node = await first.call(running(loop, data))
        await first.call(deploy(node, [{"w": {"wait": {"seconds": 40}}}]))
        missed = await first.call(start(node))
        await asyncio.sleep(30)
        coming = await first.call(start(node))
        first.kill()
        await asyncio.sleep(20)
        node = await running(loop, data, seed=2)
        assert seconds_after(START, (await ended(node, missed))["ended_at"]) < 51
        assert 70 <= seconds_after(START, (await ended(node, coming))["ended_at"]) < 70.1

    simulate(1, main)


def test_the_agenda_is_read_again_while_it_cannot_be_read():
    async def main(loop):
        broken = {"due"}

        async def step(operation):
            if operation in broken:
                raise StorageError("broken")

        data = MemoryData()
        first = Process(loop, 1)
        node = await first.call(running(loop, data))
        await first.call(deploy(node, [{"w": {"wait": {"seconds": 40}}}]))
        id_ = await first.call(start(node))
        first.kill()
        node = await running(loop, data, step=step, seed=2)
        await asyncio.sleep(100)
        assert (await node.queries.status(id_))["status"] == "running"
        broken.clear()
        await asyncio.sleep(2)
        assert (await node.queries.status(id_))["status"] == "completed"

    simulate(1, main)


def test_due_while_suspended_is_handled_at_resume():
    async def main(loop):
        node = await running(loop)
        await deploy(node, [{"w": {"wait": {"seconds": 40}}}])
        id_ = await start(node)
        await node.commands.suspend(CommandRequest(id=id_))
        await asyncio.sleep(10 * HORIZON_S)
        assert (await node.queries.status(id_))["status"] == "suspended"
        await node.commands.resume(CommandRequest(id=id_))
        assert (await node.queries.status(id_))["status"] == "completed"

    simulate(1, main)
