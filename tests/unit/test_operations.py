"""Long-running operations: watched, cancelled, and failed when their node is gone."""

from __future__ import annotations

import asyncio
import random

import pytest

from application.operations import LEASE_S, MOST_AT_A_TIME, MalformedCursorError, Operations, Progress
from domain.errors import InvalidInputError, NotFoundError, OverloadedError
from tests.simulation.loop import Process, SeededChance, SimulatedClock, simulate
from tests.simulation.memory_storage import MemoryData, MemoryStorage

UNKNOWN = "p_" + "0" * 22
NEVER = "WyIwMDAxLTAxLTAxVDAwOjAwOjAwKzE0OjAwIiwicF8wMDAwMDAwMDAwMDAwMDAwMDAwMDAwIl0"
"""A cursor with an instant that does not exist."""


def of(loop, data=None, node="one", seed=1):
    storage = MemoryStorage(data)
    return Operations(storage.operations, SimulatedClock(loop), SeededChance(random.Random(seed)), node), storage


async def forever(progress: Progress):
    while True:
        await asyncio.sleep(1)
        progress.advance()


async def ended(operations, id_):
    await operations.wait(id_, 1000)
    return await operations.get(id_)


def test_it_is_watched_until_it_has_completed():
    async def main(loop):
        operations, _ = of(loop)
        other, _ = of(loop, operations._store._data, "other", 2)

        async def work(progress):
            progress.total = 3
            for _ in range(3):
                await asyncio.sleep(2)
                progress.advance()
            return {"sound": True}

        id_ = await operations.start("audit.verify", "ann", work, {"since": "latest"})
        await asyncio.sleep(4.5)
        for each in (operations, other):
            shown = await each.get(id_)
            assert (shown["status"], shown["progress"]) == ("running", {"done": 2, "total": 3})
            assert (shown["actor"], shown["kind"]) == ("ann", "audit.verify")
            assert shown["request"] == {"since": "latest"}
        shown, far = await asyncio.gather(ended(operations, id_), ended(other, id_))
        assert shown == far
        assert (shown["status"], bytes(shown["result"])) == ("completed", b'{"sound":true}')
        assert shown["ended_at"] is not None
        listed = await other.list()
        assert [each["id"] for each in listed["items"]] == [id_]
        assert "result" not in listed["items"][0]

    simulate(1, main)


@pytest.mark.parametrize(
    ("error", "code"), [(InvalidInputError([], "no such thing"), "invalid-input"), (ZeroDivisionError(), "internal")]
)
def test_what_it_raises_is_its_error(error, code):
    async def main(loop):
        operations, _ = of(loop)

        async def work(progress):
            raise error

        shown = await ended(operations, await operations.start("k", "ann", work))
        assert (shown["status"], shown["error"]["code"], shown["result"]) == ("failed", code, None)
        assert "Zero" not in shown["error"]["detail"]

    simulate(1, main)


@pytest.mark.parametrize("here", [True, False])
def test_any_node_cancels_it(here):
    async def main(loop):
        operations, storage = of(loop)
        other, _ = of(loop, storage.data, "other", 2)
        id_ = await operations.start("k", "ann", forever)
        await asyncio.sleep(3)
        await (operations if here else other).cancel(id_)
        shown = await ended(other, id_)
        assert (shown["status"], shown["cancel_requested"], shown["error"]) == ("cancelled", True, None)
        assert await operations.cancel(id_) == shown
        assert not operations._running

    simulate(1, main)


def test_when_its_node_dies_it_has_failed():
    async def main(loop):
        data = MemoryData()
        process = Process(loop, 1)

        async def begin():
            operations, _ = of(loop, data)
            return await operations.start("k", "ann", forever)

        id_ = await process.call(begin())
        other, _ = of(loop, data, "other", 2)
        await asyncio.sleep(5)
        process.kill()
        began = loop.time()
        assert (await other.get(id_))["status"] == "running"
        shown = await ended(other, id_)
        assert loop.time() - began < LEASE_S + 2
        assert (shown["status"], shown["error"]["code"]) == ("failed", "interrupted")
        assert (await other.cancel(id_))["status"] == "failed"

    simulate(1, main)


def test_a_node_that_was_paused_for_too_long_tells_no_result():
    async def main(loop):
        operations, storage = of(loop)
        id_ = await operations.start("k", "ann", forever)
        await asyncio.sleep(2)
        record, _ = storage.data.operations[id_]
        storage.data.operations[id_] = (record, loop.time() - 1)
        await asyncio.sleep(2)
        assert not operations._running
        assert (await operations.get(id_))["status"] == "failed"

    simulate(1, main)


def test_a_database_that_fails_for_a_while_does_not_end_it():
    async def main(loop):
        failing = False

        async def step(operation):
            await asyncio.sleep(0)
            if failing:
                from domain.errors import StorageError

                raise StorageError("down")

        storage = MemoryStorage(step=step)
        operations = Operations(storage.operations, SimulatedClock(loop), SeededChance(random.Random(1)), "one")

        async def work(progress):
            await asyncio.sleep(10)
            return {}

        id_ = await operations.start("k", "ann", work)
        await asyncio.sleep(1)
        failing = True
        await asyncio.sleep(10)
        failing = False
        assert (await ended(operations, id_))["status"] == "completed"

    simulate(1, main)


def test_a_node_that_stops_says_so():
    async def main(loop):
        operations, storage = of(loop)
        id_ = await operations.start("k", "ann", forever)
        await operations.stop()
        other, _ = of(loop, storage.data, "other", 2)
        shown = await other.get(id_)
        assert (shown["status"], shown["error"]["code"]) == ("failed", "interrupted")

    simulate(1, main)


def test_a_node_runs_a_few_at_a_time():
    async def main(loop):
        operations, _ = of(loop)
        ids = [await operations.start("k", "ann", forever) for _ in range(MOST_AT_A_TIME)]
        with pytest.raises(OverloadedError):
            await operations.start("k", "ann", forever)
        await operations.cancel(ids[0])
        await operations.start("k", "ann", forever)
        await operations.stop()

    simulate(1, main)


def test_those_that_come_at_once_count_too():
    async def main(loop):
        operations, _ = of(loop)
        many = (operations.start("audit.verify", "ann", forever) for _ in range(3 * MOST_AT_A_TIME))
        begun = await asyncio.gather(*many, return_exceptions=True)
        assert sum(isinstance(each, str) for each in begun) == MOST_AT_A_TIME
        assert sum(isinstance(each, OverloadedError) for each in begun) == 2 * MOST_AT_A_TIME
        await operations.stop()

    simulate(1, main)


def test_lists_go_on_where_they_ended():
    async def main(loop):
        operations, _ = of(loop)

        async def work(progress):
            return {}

        ids = []
        for _ in range(5):
            ids.append(await operations.start("k", "ann", work))
            await asyncio.sleep(1)
        first = await operations.list(limit=3)
        second = await operations.list(limit=3, cursor=first["next"])
        assert [each["id"] for each in (*first["items"], *second["items"])] == ids[::-1]
        assert second["next"] is None
        for cursor in ("x", "", "WyIyMDI2LTAxLTAxVDAwOjAwOjAwIiwicF8xIl0", NEVER, "é"):
            with pytest.raises(MalformedCursorError):
                await operations.list(cursor=cursor)

    simulate(1, main)


@pytest.mark.parametrize("id_", [UNKNOWN, "p_1", "o_" + "0" * 22, ""])
def test_unknown_ones_are_not_found(id_):
    async def main(loop):
        operations, _ = of(loop)
        for call in (operations.get, operations.cancel, lambda each: operations.wait(each, 1)):
            with pytest.raises(NotFoundError):
                await call(id_)

    simulate(1, main)
