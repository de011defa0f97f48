"""The status view follows the commits of its process without reading the log again, whatever memory has forgotten."""

from __future__ import annotations

import asyncio
from collections import Counter

import msgspec

from application.service import ListRequest
from tests.simulation.loop import simulate
from tests.simulation.memory_data import MemoryData
from tests.simulation.nodes import deploy, ended, running, start


class Watched:
    """The way into the database: counts, and is slow where a test says so."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.slow: set[str] = set()

    async def __call__(self, operation: str) -> None:
        self.calls[operation] += 1
        await asyncio.sleep(5.0 if operation in self.slow else 0.0)


async def _listed(node):
    await node.projector.caught_up()
    page = await node.queries.list(ListRequest(limit=500))
    rows = [msgspec.json.decode(each) for each in page["items"]]
    return {each["id"]: (each["status"], each["version"]) for each in rows}


async def _known(node, ids):
    statuses = [await node.queries.status(id_) for id_ in ids]
    return {each["id"]: (each["status"], each["version"]) for each in statuses}


def test_what_has_ended_gets_its_last_row_also_when_memory_has_forgotten_it():
    async def main(loop):
        way = Watched()
        node = await running(loop, MemoryData(), step=way, live_orchestrations=10)
        await deploy(node, [{"act": {"call": "act"}}, {"again": {"call": "act"}}])
        way.slow.add("apply")  # so that many end between two looks
        ids = await asyncio.gather(*(start(node) for _ in range(50)))
        for id_ in ids:
            await ended(node, id_)
        assert len(node.engine.cache) < 10
        way.slow.clear()
        way.calls.clear()
        listed = await _listed(node)
        assert way.calls["stream"] == 0
        assert listed == await _known(node, ids)
        await node.stop()

    simulate(1, main)


def test_what_is_committed_while_a_gained_partition_is_being_read_is_not_missed():
    async def main(loop):
        data, way = MemoryData(), Watched()
        first = await running(loop, data, live_orchestrations=10)
        await deploy(first, [{"act": {"call": "act"}}])
        ids = [await start(first) for _ in range(20)]
        await first.stop()
        way.slow |= {"log", "stream"}
        second = await running(loop, data, step=way, seed=1, live_orchestrations=10)
        for _ in range(20):
            ids += [await start(second)]
        assert not any(second.projector.follows(each) for each in range(4)), "it is still reading"
        listed = await _listed(second)
        assert listed == await _known(second, ids)
        assert way.calls["log"] <= 2 * 4, "it does not run after the writers"
        await second.stop()

    simulate(1, main)
