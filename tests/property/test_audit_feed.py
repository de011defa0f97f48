"""The feed while two nodes write: whatever the order of things, every event is given once, and in order within its own."""

from __future__ import annotations

import asyncio
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from application.feed_filter import FeedFilter
from application.service import CommandRequest
from tests.simulation.loop import simulate
from tests.simulation.memory_data import MemoryData
from tests.simulation.nodes import deploy, running, start

TASKS = [{"a": {"call": "a"}}, {"w": {"wait": {"seconds": 1}}}, {"b": {"set": {"x": 1}}}]
FILTERS = (
    FeedFilter(),
    FeedFilter(types=("task.*", "note.added")),
    FeedFilter(types=("attempt.started",)),
    FeedFilter(actors=("me",)),
    FeedFilter(namespace="test", name="y"),
    FeedFilter(types=("task.completed",), namespace="test", name="x", definition_version="1.0.0"),
)


async def work(nodes, chance: random.Random) -> None:
    """Starts and notes on both nodes, some after others."""

    async def one(number: int) -> None:
        await asyncio.sleep(chance.random() * 3)
        node = nodes[number % 2]
        id_ = await start(node, name="xy"[number % 3 == 0], actor="me")
        await asyncio.sleep(chance.random())
        await node.commands.add_note(CommandRequest(id=id_, actor="me"), text=f"note {number}")
        await node.queries.wait(id_, 60)

    await asyncio.gather(*(one(number) for number in range(12)))


def recorded(data: MemoryData, node, wanted: FeedFilter) -> dict[str, list[int]]:
    """What the log holds of it, straight from the store."""
    found: dict[str, list[int]] = {}
    for partition in data.partitions:
        for stream in partition.streams.values():
            events = [node.world.codec.decode(record.topic, record.state) for record in stream]
            of = events[0].definition.partition("@")[0].partition("/")[2]
            topics = wanted.topics()
            for record, event in zip(stream, events, strict=True):
                if (topics is None or record.topic in topics) and wanted.takes(event) and wanted.name in (None, of):
                    found.setdefault(events[0].id, []).append(record.version)
    return found


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), limit=st.integers(1, 40), wanted=st.sampled_from(FILTERS))
def test_pages_while_two_nodes_write_miss_nothing_and_double_nothing(seed, limit, wanted):
    async def main(loop):
        data, chance = MemoryData(), random.Random(seed)
        nodes = [await running(loop, data, seed=n, alone=False) for n in range(2)]
        await asyncio.sleep(60)
        for name in "xy":
            await deploy(nodes[0], TASKS, name)
        working = asyncio.ensure_future(work(nodes, chance))
        seen: dict[str, list[int]] = {}
        cursor = None
        while True:
            done = working.done()
            page = await nodes[chance.randrange(2)].audit.feed.page(wanted, cursor, limit)
            assert len(page.items) <= limit
            for each in page.items:
                seen.setdefault(each["orchestration"], []).append(each["version"])
            cursor = page.cursor
            if done and not page.more:
                break
            await asyncio.sleep(chance.random() * 0.3)
        await working
        assert seen == recorded(data, nodes[0], wanted)
        for node in nodes:
            await node.stop()

    simulate(seed, main)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), wanted=st.sampled_from(FILTERS), broken=st.integers(1, 30))
def test_the_live_feed_misses_nothing_also_when_it_is_broken_off_and_resumed_on_another_node(seed, wanted, broken):
    async def main(loop):
        data, chance = MemoryData(), random.Random(seed)
        nodes = [await running(loop, data, seed=n, alone=False) for n in range(2)]
        await asyncio.sleep(60)
        for name in "xy":
            await deploy(nodes[0], TASKS, name)
        seen: dict[str, list[int]] = {}

        async def follow() -> None:
            cursor, node, count = None, 0, 0
            while True:
                async for given_ in nodes[node].audit.feed.live(wanted, cursor):
                    if given_ is None:
                        continue
                    item, cursor = given_
                    seen.setdefault(item["orchestration"], []).append(item["version"])
                    count += 1
                    if count % broken == 0:
                        break
                else:
                    return
                node = 1 - node

        following = asyncio.ensure_future(follow())
        await work(nodes, chance)
        await asyncio.sleep(1)
        assert seen == recorded(data, nodes[0], wanted)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        for node in nodes:
            await node.stop()

    simulate(seed, main)


def test_a_filter_that_takes_almost_nothing_gives_empty_pages_and_goes_on(monkeypatch):
    monkeypatch.setattr("application.feed._PAGE_COST", 60)

    async def main(loop):
        data = MemoryData()
        node = await running(loop, data)
        await deploy(node, TASKS)
        for _ in range(12):
            await node.queries.wait(await start(node), 60)
        last = await start(node, actor="rare")
        await node.queries.wait(last, 60)
        wanted, cursor, pages, found = FeedFilter(actors=("rare",)), None, 0, []
        while True:
            page = await node.audit.feed.page(wanted, cursor, 100)
            found += [(each["orchestration"], each["version"]) for each in page.items]
            pages, cursor = pages + 1, page.cursor
            if not page.more:
                break
        assert found
        assert {each for each, _ in found} == {last}
        assert pages > 2
        await node.stop()

    simulate(3, main)


def test_nobody_is_kept_from_stopping_by_who_waits_for_news():
    async def main(loop):
        node = await running(loop)
        feed = node.audit.feed.live(FeedFilter())

        async def signs() -> int:
            return len([each async for each in feed if each is None])

        following = asyncio.ensure_future(signs())
        await asyncio.sleep(40)
        await node.stop()
        assert await asyncio.wait_for(following, 1) == 2, "a sign of life every 15 s"

    simulate(1, main)
