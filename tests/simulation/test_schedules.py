"""Schedules on running nodes in virtual time: each occurrence starts one orchestration, whatever dies, jumps or is away."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta

import msgspec
import pytest

from application.registers import register_partition
from application.service import ListRequest
from domain.errors import InvalidInputError, NotFoundError, StorageError
from tests.simulation.loop import START, Process, simulate
from tests.simulation.memory_storage import MemoryData
from tests.simulation.nodes import deploy, running

QUICK = [{"s": {"set": {"a": 1}}}]
LONG = [{"w": {"wait": {"minutes": 150}}}]
HOURLY = {"every": {"hours": 1}}
HOUR = 3600.0


async def shown(node, name="x"):
    return await node.schedule_catalog.get("test", name)


def plain(value):
    return msgspec.json.decode(msgspec.json.encode(value))


async def begun(node, id_):
    """The first event of an orchestration."""
    return plain((await node.queries.history(id_))[0][0])


async def fired(node, name="x"):
    """Hours after the start of the world of every orchestration there is, by its schedule."""
    page = plain(await node.queries.list(ListRequest(definition=f"test/{name}", limit=500)))
    found = []
    for each in page["items"]:
        first = await begun(node, each["id"])
        assert (first["cause"], first["actor"]) == ("schedule", "schedule")
        at = msgspec.convert(first["data"]["scheduled_for"], type=type(START))
        found.append((at - START).total_seconds() / HOUR)
    return sorted(found)


def test_each_occurrence_starts_one():
    async def main(loop):
        node = await running(loop)
        await deploy(node, QUICK, schedule={"cron": "0 */2 * * *", "timezone": "Asia/Kolkata"})
        await asyncio.sleep(9 * HOUR)
        assert await fired(node) == [0.5, 2.5, 4.5, 6.5, 8.5]
        found = await shown(node)
        assert found["next"][0] == "2030-01-01T10:30:00.000000Z"
        assert found["schedule"] == {
            "cron": "0 */2 * * *",
            "timezone": "Asia/Kolkata",
            "overlap": "skip",
            "catch_up": "none",
        }
        run = found["runs"][0]
        assert (await node.queries.status(run["id"]))["input"] == {"scheduled_for": run["scheduled_for"]}

    simulate(1, main)


@pytest.mark.parametrize(
    ("overlap", "expected"), [("skip", [1, 4, 7]), ("queue", [1, 2, 4]), ("allow", [1, 2, 3, 4, 5, 6, 7])]
)
def test_overlap(overlap, expected):
    async def main(loop):
        node = await running(loop)
        await deploy(node, LONG, schedule={**HOURLY, "overlap": overlap})
        await asyncio.sleep(7.2 * HOUR)
        assert await fired(node) == expected

    simulate(1, main)


def test_after_the_end_of_the_last():
    async def main(loop):
        node = await running(loop)
        await deploy(node, LONG, schedule={"after": {"hours": 1}})
        await asyncio.sleep(9 * HOUR)
        assert [round(each, 2) for each in await fired(node)] == [1, 4.5, 8]

    simulate(1, main)


@pytest.mark.parametrize(("catch_up", "expected"), [("none", [1, 6]), ("latest", [1, 5, 6]), (3, [1, 3, 4, 5, 6])])
def test_what_was_missed_while_nobody_ran(catch_up, expected):
    async def main(loop):
        data = MemoryData()
        first = Process(loop, 1)
        node = await first.call(running(loop, data))
        schedule = {**HOURLY, "catch_up": catch_up, "overlap": "allow"}
        await first.call(deploy(node, QUICK, schedule=schedule))
        await asyncio.sleep(1.2 * HOUR)
        first.kill()
        await asyncio.sleep(4.2 * HOUR)
        node = await running(loop, data, seed=2)
        await asyncio.sleep(1.2 * HOUR)
        assert await fired(node) == expected
        assert (await shown(node))["missed"] == 6 - len(expected)

    simulate(1, main)


def test_a_clock_that_jumps():
    async def main(loop):
        node = await running(loop)
        await deploy(node, QUICK, schedule=HOURLY)
        await asyncio.sleep(1.5 * HOUR)
        clock = node.world.clock
        with pytest.MonkeyPatch.context() as patch:
            true = clock.now
            patch.setattr(clock, "now", lambda: true() + timedelta(hours=100))
            await asyncio.sleep(60)
        await asyncio.sleep(60)
        assert (await shown(node))["next"][0] == "2030-01-01T02:00:00.000000Z"
        await asyncio.sleep(2 * HOUR)
        runs = (await shown(node))["runs"]
        assert [run["scheduled_for"][11:13] for run in runs] == ["03", "02", "01"]

    simulate(1, main)


def test_operators_pause_resume_and_trigger():
    async def main(loop):
        node = await running(loop)
        await deploy(node, QUICK, schedule=HOURLY)
        await asyncio.sleep(1.5 * HOUR)
        paused = await node.schedule_catalog.pause("test", "x", "ann", "holidays")
        assert paused["status"] == "paused"
        assert await node.schedule_catalog.pause("test", "x", "bob", None) == paused
        await asyncio.sleep(3 * HOUR)
        id_ = await node.schedule_catalog.trigger("test", "x", "ann", "now please")
        await node.queries.wait(id_, 60)
        assert (await begun(node, id_))["actor"] == "ann"
        resumed = await node.schedule_catalog.resume("test", "x", "bob", "back")
        assert (resumed["resumed"]["actor"], resumed["resumed"]["reason"], resumed["paused"]) == ("bob", "back", None)
        assert (resumed["status"], resumed["next"][0]) == ("active", "2030-01-01T05:00:00.000000Z")
        await asyncio.sleep(1 * HOUR)
        runs = (await shown(node))["runs"]
        assert [(run["scheduled_for"][11:16], run["triggered_by"]) for run in runs] == [
            ("05:00", None),
            ("04:30", {"actor": "ann", "reason": "now please"}),
            ("01:00", None),
        ]
        for name in ("y", "x y"):
            with pytest.raises(NotFoundError):
                await node.schedule_catalog.trigger("test", name, "ann", None)

    simulate(1, main)


def test_a_newer_version_replaces_the_schedule_or_ends_it():
    async def main(loop):
        node = await running(loop)
        await deploy(node, QUICK, schedule=HOURLY)
        await asyncio.sleep(1.5 * HOUR)
        for version, schedule in (("1.1.0", {"every": {"minutes": 30}}), ("0.9.0", {"every": {"seconds": 1}})):
            await _deploy_version(node, version, schedule)
        await asyncio.sleep(1.2 * HOUR)
        assert await fired(node) == [1, 2, 2.5]
        await _deploy_version(node, "1.2.0", None)
        await asyncio.sleep(3 * HOUR)
        assert await fired(node) == [1, 2, 2.5]
        with pytest.raises(NotFoundError):
            await shown(node)
        assert (await node.schedule_catalog.list())["items"] == []

    simulate(1, main)


async def _deploy_version(node, version, schedule):
    document = {"document": {"dsl": "1.0.3", "namespace": "test", "name": "x", "version": version}, "do": QUICK}
    if schedule is not None:
        document["schedule"] = schedule
    await node.definitions.deploy(msgspec.json.encode(document), "application/json")


@pytest.mark.parametrize("seed", range(12))
def test_nodes_that_die_and_a_database_that_fails_neither_lose_nor_double_one(seed):
    """Two nodes over one database, one of them killed and replaced again and again, at any call of the storage."""

    async def main(loop):
        chance, data, faulty = random.Random(seed), MemoryData(), [True]

        async def step(operation):
            await asyncio.sleep(chance.choice((0, 0, 0.001, 0.02)))
            if faulty[0] and chance.random() < 0.03:
                raise StorageError(f"made to fail: {operation}")

        async def opened(number):
            process = Process(loop, number)
            while True:
                try:
                    return process, await process.call(running(loop, data, seed=number, step=step, alone=False))
                except StorageError:
                    await asyncio.sleep(1)

        faulty[0] = False
        stays, other = await opened(1), await opened(2)
        schedule = {"every": {"minutes": 1}, "overlap": "allow", "catch_up": "all"}
        for number in range(3):
            await stays[0].call(deploy(stays[1], QUICK, name=f"x{number}", schedule=schedule))
        await asyncio.sleep(5)
        faulty[0] = True
        for number in range(3, 9):
            await asyncio.sleep(chance.uniform(1, 200))
            other[0].kill()
            await asyncio.sleep(chance.uniform(0, 30))
            other = await opened(number)
        faulty[0] = False
        await asyncio.sleep(120)
        minutes = int((loop.time() - 1) // 60)
        for number in range(3):
            found = await fired(stays[1], f"x{number}")
            assert [round(each * 60) for each in found][: minutes - 1] == list(range(1, minutes))
            assert len(found) == len(set(found))

    simulate(seed, main)


HEART = {"source": "/ward", "type": "heartbeat.low"}


@pytest.mark.parametrize(
    ("on", "inputs"),
    [
        ({"one": {"with": {"type": "heartbeat.low"}}}, ["1", "2"]),
        ({"any": [{"with": {"type": "none"}}, {"with": {"type": "heartbeat.low", "source": "/ward"}}]}, ["1", "2"]),
        ({"any": []}, ["1", "2", "3"]),
        ({"one": {"with": {"type": "heartbeat.low", "data": {"bpm": 30}}}}, ["2"]),
    ],
)
def test_events_start_one_each(on, inputs):
    async def main(loop):
        node = await running(loop)
        await deploy(node, [{"s": {"set": "${ $workflow.input[0] }"}}], schedule={"on": on})
        events = (
            {**HEART, "id": "1"},
            {**HEART, "id": "2", "data": {"bpm": 30}},
            {**HEART, "id": "3", "type": "other"},
            {**HEART, "id": "1"},
        )
        sent = [await node.commands.publish_event({"specversion": "1.0", **each}, actor="ann") for each in events]
        outcomes = [each.outcome for each in sent]
        assert outcomes == [*("started" if each in inputs else "held" for each in "123"), "duplicate"]
        page = plain(await node.queries.list(ListRequest(definition="test/x", limit=500)))
        statuses = [await node.queries.status(each["id"]) for each in page["items"]]
        assert sorted(each["output"]["id"] for each in statuses) == inputs
        first = await begun(node, statuses[0]["id"])
        assert (first["cause"], first["actor"]) == ("schedule", "ann")
        with pytest.raises(InvalidInputError):
            await node.schedule_catalog.trigger("test", "x", "ann", None)
        await node.schedule_catalog.pause("test", "x", "ann", None)
        late = {"specversion": "1.0", **HEART, "id": "9", "data": {"bpm": 30}}
        assert (await node.commands.publish_event(late)).outcome == "held"

    simulate(1, main)


@pytest.mark.parametrize("seed", range(12))
def test_a_node_that_dies_while_an_event_arrives_starts_it_once(seed):
    async def main(loop):
        chance, data = random.Random(seed), MemoryData()
        first = Process(loop, 1)
        node = await first.call(running(loop, data))
        await first.call(deploy(node, QUICK, schedule={"on": {"one": {"with": {"type": "heartbeat.low"}}}}))
        event = {"specversion": "1.0", **HEART, "id": "1"}
        left, armed = [chance.randrange(1, 40)], [False]

        async def step(_):
            left[0] -= armed[0]
            if left[0] == 0:
                second.kill()
            await asyncio.sleep(0)

        first.kill()
        second = Process(loop, 2)
        node = await second.call(running(loop, data, seed=2, step=step))
        armed[0] = True
        publishing = asyncio.ensure_future(second.call(node.commands.publish_event(event)))
        await asyncio.wait([publishing], timeout=5)
        second.kill()
        publishing.cancel()
        node = await running(loop, data, seed=3)
        await asyncio.sleep(30)
        await node.commands.publish_event(event)
        page = plain(await node.queries.list(ListRequest(definition="test/x", limit=500)))
        assert len(page["items"]) == 1

    simulate(seed, main)


def test_schedules_lie_in_the_partition_of_their_name():
    assert {register_partition("test", f"x{each}", partitions=4) for each in range(30)} == {0, 1, 2, 3}
