"""A graceful stop: what is in flight may end, and others take over at once."""

from __future__ import annotations

import asyncio

from application.ports import Answered, Callout
from tests.simulation.loop import simulate
from tests.simulation.memory_data import MemoryData
from tests.simulation.nodes import Scripted, deploy, ended, running, start


def test_the_leases_last_as_long_as_what_is_in_flight():
    """The grace may be longer than a lease; nobody else sends what this node is still waiting for."""

    async def answer(callout: Callout) -> Answered:
        await asyncio.sleep(25)
        return Answered({"n": 1})

    async def main(loop):
        data, callouts = MemoryData(), Scripted(answer)
        leaving = await running(loop, data, callouts, alone=False)
        await deploy(leaving, [{"act": {"call": "act"}}])
        id_ = await start(leaving)
        await asyncio.sleep(0.1)
        assert len(callouts.sent) == 1
        staying = await running(loop, data, callouts, seed=1, alone=False)
        began = loop.time()
        await leaving.stop(60)
        assert loop.time() - began < 26
        await asyncio.sleep(2)
        assert len(staying.ownership.owned) == 4, "nobody waits for a lease"
        assert (await staying.queries.status(id_))["status"] == "completed"
        assert len(callouts.sent) == 1
        await staying.stop()

    simulate(1, main)


def test_what_begins_after_the_callouts_were_stopped_is_left_to_the_next_owner():
    async def main(loop):
        data, callouts = MemoryData(), Scripted()
        node = await running(loop, data, callouts)
        await deploy(node, [{"act": {"call": "act"}}])
        await node.effects.stop(0)
        id_ = await start(node)
        await asyncio.sleep(1)
        assert callouts.sent == []
        await node.stop()
        following = await running(loop, data, callouts, seed=1)
        assert (await ended(following, id_))["status"] == "completed"
        assert len(callouts.sent) == 1
        await following.stop()

    simulate(1, main)


def test_what_begins_while_the_callouts_are_stopping_is_sent_once():
    """A start that is committed while others are waited for is left to the next owner, not begun and then cut off."""
    sent_by: list[str] = []

    def answering(node: str, seconds: float):
        async def answer(callout: Callout) -> Answered:
            sent_by.append(f"{node} {callout.task}")
            await asyncio.sleep(seconds)
            return Answered({"n": 1})

        return answer

    async def main(loop):
        data = MemoryData()
        node = await running(loop, data, Scripted(answering("leaving", 2)))
        await deploy(node, [{"first": {"call": "act"}}, {"second": {"call": "act"}}])
        early = await start(node)
        await asyncio.sleep(1)
        stopping = asyncio.ensure_future(node.effects.stop(60))
        await asyncio.sleep(0.5)
        late = await start(node)
        await stopping
        await node.stop(60)
        assert sent_by == ["leaving /do/0/first"], "the rest is left"
        following = await running(loop, data, Scripted(answering("following", 2)), seed=1)
        for id_ in (early, late):
            assert (await ended(following, id_))["status"] == "completed"
        others = ["following /do/0/first", "following /do/1/second", "following /do/1/second"]
        assert sorted(sent_by) == [*others, "leaving /do/0/first"]
        await following.stop()

    simulate(1, main)


def test_a_partition_that_is_just_being_let_go_is_let_go():
    slow = False

    async def step(operation: str) -> None:
        await asyncio.sleep(1.0 if slow and operation == "release" else 0.0)

    async def main(loop):
        nonlocal slow
        data = MemoryData()
        leaving = await running(loop, data, step=step, alone=False)
        slow = True
        staying = await running(loop, data, seed=1, alone=False)
        while len(leaving.ownership.held) == 4:  # noqa: ASYNC110 - in virtual time waiting costs nothing
            await asyncio.sleep(0.01)
        slow = False
        await leaving.stop()
        await asyncio.sleep(2)
        assert len(staying.ownership.owned) == 4, "nobody waits for a lease"
        await staying.stop()

    simulate(1, main)
