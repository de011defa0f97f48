"""Commands through the inbox: each is carried out once, whatever the order of reading and replying."""

from __future__ import annotations

import asyncio

import pytest

from application.ports import Answered
from application.service import Answer, CommandRequest
from domain.errors import NodeUnavailableError
from tests.simulation.loop import simulate
from tests.simulation.memory_data import MemoryData
from tests.simulation.nodes import Scripted, deploy, running, start

WAIT = [{"w": {"wait": {"seconds": 3600}}}]
_TAKES_S = {"pending done": 0.2, "write": 0.05}


def test_a_row_that_was_read_before_its_reply_was_written_is_not_carried_out_again():
    slow = False

    async def step(operation: str) -> None:
        await asyncio.sleep(_TAKES_S.get(operation, 0.0) if slow else 0.0)

    async def main(loop):
        nonlocal slow
        data = MemoryData()
        node = await running(loop, data, step=step)
        await deploy(node, WAIT)
        id_ = await start(node)
        slow = True

        async def note(key: str) -> None:
            await node.commands.add_note(CommandRequest(id=id_, actor="me", idempotency_key=key), text=key)

        first = asyncio.ensure_future(note("first"))
        await asyncio.sleep(0.1)  # while the inbox is read for the first: it is read again right after
        await asyncio.gather(first, note("second"))
        await asyncio.sleep(3)
        assert [record.topic for each in data.partitions for record in each.log].count("note.added") == 2
        await node.stop()

    simulate(1, main)


def test_nodes_that_ask_each_other_do_not_run_out_of_turns(monkeypatch):
    """An event is published through the inbox of one node, which delivers it through the inbox of the other."""
    monkeypatch.setattr("application.serving._AT_ONCE", 4)

    async def main(loop):
        data = MemoryData()
        one = await running(loop, data, alone=False)
        other = await running(loop, data, seed=1, alone=False)
        await asyncio.sleep(60)
        assert [len(node.ownership.owned) for node in (one, other)] == [2, 2]
        work = []
        for publisher, owner in ((one, other), (other, one)):
            for number in range(12):
                kind = f"paid-{number}-{publisher.ownership.me.node[-8:]}"
                await deploy(publisher, [{"l": {"listen": {"to": {"one": {"with": {"type": kind}}}}}}], kind)
                await start(publisher, name=kind)  # whoever publishes owns the one who waits
                event = {"specversion": "1.0", "source": "https://outside.test", "type": kind}
                event["id"] = next(
                    f"{kind}-{attempt}"
                    for attempt in range(1000)
                    if owner.ownership.holds(owner.exchange.partition_of(event["source"], f"{kind}-{attempt}"))
                )
                work.append(publisher.commands.publish_event(event))
        began = loop.time()
        outcomes = await asyncio.gather(*work)
        assert {each.outcome for each in outcomes} == {"matched"}
        assert loop.time() - began < 4
        await one.stop()
        await other.stop()

    simulate(1, main)


def test_a_repeat_waits_as_long_as_the_first():
    slow = False

    async def step(operation: str) -> None:
        await asyncio.sleep(6.0 if slow and operation == "write" else 0.0)

    async def main(loop):
        nonlocal slow
        node = await running(loop, MemoryData(), step=step)
        await deploy(node, WAIT)
        id_ = await start(node)
        slow = True
        request = CommandRequest(id=id_, actor="me", idempotency_key="k")
        first = asyncio.ensure_future(node.commands.add_note(request, text="n"))
        await asyncio.sleep(4)
        answer = await node.commands.add_note(request, text="n")
        assert loop.time() < 7
        assert isinstance(answer, Answer)
        assert answer.id == id_
        with pytest.raises(NodeUnavailableError):
            await first
        slow = False
        await node.stop()

    simulate(1, main)


def test_while_a_partition_is_about_to_be_let_go_requests_are_carried_out():
    """A callout in flight holds up the hand-over; nobody has to wait for it."""

    async def main(loop):
        gate = asyncio.Event()

        async def slowly(callout):
            await gate.wait()
            return Answered({})

        data = MemoryData()
        one = await running(loop, data, Scripted(slowly), alone=False)
        await deploy(one, [{"a": {"call": "act"}}])
        ids = [await start(one) for _ in range(24)]
        other = await running(loop, data, Scripted(slowly), seed=1, alone=False)
        await asyncio.sleep(3)
        assert len(one.ownership.held) == 4, "they wait for what is in flight"
        assert len(one.ownership.owned) == 2
        for node in (one, other):
            for id_ in ids:
                before = loop.time()
                await node.commands.add_note(CommandRequest(id=id_), text="meanwhile")
                assert loop.time() < before + 2
        gate.set()
        await asyncio.sleep(5)
        assert [len(node.ownership.held) for node in (one, other)] == [2, 2]
        for id_ in ids:
            assert (await other.queries.status(id_))["status"] == "completed"

    simulate(1, main)
