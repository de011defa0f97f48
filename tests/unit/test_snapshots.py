"""Long histories open from snapshots, and a snapshot is never more than a cache."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from eventsourcing.persistence import Cipher

from adapters.stored_events import EventMapper
from adapters.stored_states import Packed
from application.live import Live
from application.runtime import Node
from application.service import CommandRequest
from application.status import MOST_TASKS
from domain.errors import OutsideLifeError
from domain.state import State
from tests.simulation.folded import folded
from tests.simulation.loop import simulate
from tests.simulation.memory_storage import MemoryData
from tests.simulation.nodes import Scripted, deploy, ended, running, start

LOOP = [{"l": {"for": {"each": "n", "in": ".items"}, "do": [{"a": {"call": "act", "with": {"n": "${ $n }"}}}]}}]
WAIT = {"w": {"listen": {"to": {"one": {"with": {"type": "go"}}}}}}


def packed(state: State, mapper: EventMapper | None = None) -> bytes:
    packing = (mapper or EventMapper()).states.pack(state)
    while True:
        try:
            next(packing)
        except StopIteration as done:
            return bytes(done.value)


async def looped(node, turns, **members):
    """An orchestration of 5 events a turn that then waits."""
    await deploy(node, [*LOOP, WAIT])
    id_ = await start(node, {"items": list(range(turns))}, **members)
    await node.queries.wait(id_, 1e6, after_version=5 * turns + 5)
    assert (await node.queries.status(id_))["waiting_for"][0]["kind"] == "event"
    await node.projector.caught_up()
    return id_


def opened(node: Node, id_: str) -> Live:
    live = node.cache.peek(id_)
    assert live is not None
    return live


def reads(data):
    """A storage step that counts what is read, and the counts."""
    counts: dict[str, int] = {}

    async def step(operation):
        counts[operation] = counts.get(operation, 0) + 1
        await asyncio.sleep(0)

    return step, counts


def test_a_long_history_has_a_snapshot_and_a_short_one_has_none():
    async def main(loop):
        data = MemoryData()
        node = await running(loop, data, Scripted(), snapshot_after=100)
        id_ = await looped(node, 100)
        short = await start(node, {"items": [1]})
        await asyncio.sleep(1)
        (record,) = data.snapshots.values()
        assert record.orchestration == node.engine.identity.locate(id_)[1]
        assert record.version > folded(data)[0].state.version - 100, "little is left to fold"
        assert short != id_

    simulate(1, main)


def test_snapshots_cost_in_proportion_to_the_history():
    async def main(loop):
        sizes = []
        for turns in (200, 400, 800):
            data = MemoryData()
            step, counts = reads(data)
            node = await running(loop, data, Scripted(), snapshot_after=50, step=step)
            await looped(node, turns)
            sizes.append(counts["put snapshot"])
        # Twice as long is a dozen more, not twice as many.
        assert sizes[1] - sizes[0] <= 12
        assert sizes[2] - sizes[1] <= 12

    simulate(1, main)


def test_what_is_opened_from_a_snapshot_is_what_is_folded_from_the_start():
    async def main(loop):
        data = MemoryData()
        node = await running(loop, data, Scripted(), snapshot_after=100)
        id_ = await looped(node, 300)
        before = await node.queries.status(id_)
        await node.stop()
        again = await running(loop, data, Scripted(), snapshot_after=100)
        assert await again.queries.status(id_) == before
        live = again.cache.peek(id_)
        assert live is not None
        assert live.snapshot > 1000
        assert live.state == folded(data)[0].state
        assert live.event_hash == data.partitions[live.partition].streams[live.orchestration][-1].event_hash

    simulate(1, main)


def test_it_goes_on_from_a_snapshot():
    async def main(loop):
        data = MemoryData()
        node = await running(loop, data, Scripted(), snapshot_after=100)
        id_ = await looped(node, 200)
        await node.stop()
        again = await running(loop, data, Scripted(), snapshot_after=100)
        await again.commands.send_event(id_, {"specversion": "1.0", "id": "1", "source": "/s", "type": "go"})
        assert (await ended(again, id_))["status"] == "completed"
        assert opened(again, id_).state == folded(data)[0].state

    simulate(1, main)


def test_opening_reads_little_and_unpacks_what_is_looked_at():
    async def main(loop):
        data = MemoryData()
        node = await running(loop, data, Scripted(), snapshot_after=100)
        id_ = await looped(node, 3000)
        await node.stop()
        step, counts = reads(data)
        again = await running(loop, data, Scripted(), snapshot_after=100, step=step)
        counts.clear()
        status = await again.queries.status(id_)
        assert status["tasks_total"] == 3002
        assert len(status["tasks"]) == MOST_TASKS
        assert counts["stream"] <= 5, "of 15 pages"
        state = opened(again, id_).state
        assert isinstance(state.runs, Packed)
        still_packed = sum(type(dict.get(state.runs, name)) is msgspec.Raw for name in state.runs)
        assert still_packed > 1500
        page, following = await again.queries.tasks(id_, after=2995, limit=100)
        assert ([entry["run"] for entry in page[:-1]], following) == ([*range(2995, 3001)], None)

    simulate(1, main)


@pytest.mark.parametrize("damage", ["bytes", "hash", "version", "format"])
def test_a_snapshot_that_cannot_be_used_is_passed_over_and_replaced(damage):
    async def main(loop):
        data = MemoryData()
        node = await running(loop, data, Scripted(), snapshot_after=100)
        id_ = await looped(node, 200)
        before = await node.queries.status(id_)
        ((key, record),) = data.snapshots.items()
        changes: dict[str, dict[str, Any]] = {
            "bytes": {"state": record.state[:-9] + b"\x00" + record.state[-8:]},
            "hash": {"event_hash": bytes(32)},
            "version": {"version": record.version - 1},
            "format": {"format": "older"},
        }
        data.snapshots[key] = msgspec.structs.replace(record, **changes[damage])
        await node.stop()
        again = await running(loop, data, Scripted(), snapshot_after=100)
        assert await again.queries.status(id_) == before
        await asyncio.sleep(1)
        assert data.snapshots[key].version == before["version"], "a long fold is followed by a snapshot"
        assert EventMapper().states.unpack(data.snapshots[key].state) == folded(data)[0].state

    simulate(1, main)


def test_the_past_is_folded_from_a_snapshot_that_is_not_later():
    async def main(loop):
        data = MemoryData()
        node = await running(loop, data, Scripted(), snapshot_after=100)
        id_ = await looped(node, 300)
        await node.stop()
        again = await running(loop, data, Scripted(), snapshot_after=100)
        ((_, record),) = data.snapshots.items()
        for version in (1, 2, 99, 100, record.version - 1, record.version):
            past = await again.queries.status(id_, at_version=version)
            assert past["version"] == version
            at = folded(data)[0].events[version - 1].at
            assert (await again.queries.status(id_, at=at))["version"] >= version
        with pytest.raises(OutsideLifeError):
            await again.queries.status(id_, at_version=10_000)

    simulate(1, main)


def test_a_database_that_refuses_snapshots_costs_nothing_else():
    async def main(loop):
        from domain.errors import StorageError

        async def step(operation):
            await asyncio.sleep(0)
            if operation == "put snapshot":
                raise StorageError("no room")

        data = MemoryData()
        node = await running(loop, data, Scripted(), snapshot_after=50, step=step)
        id_ = await looped(node, 100)
        await node.commands.add_note(CommandRequest(id=id_), text="still here")
        assert not data.snapshots

    simulate(1, main)


def test_data_that_passes_through_is_stored_once():
    async def main(loop):
        data = MemoryData()
        node = await running(loop, data, Scripted())
        await deploy(node, [{f"s{n}": {"set": {"x": 1}, "if": "false"}} for n in range(50)])
        await start(node, {"text": "x" * 10_000})
        state = folded(data)[0].state
        raw = packed(state)
        assert len(raw) < 40_000
        assert len(msgspec.msgpack.encode(state)) > 500_000
        again = EventMapper().states.unpack(raw)
        assert again == state
        first, *others = again.runs.values()
        assert all(run.output is first.output for run in others)

    simulate(1, main)


def test_a_snapshot_is_as_secret_as_the_events():
    class Reversed(Cipher):
        def __init__(self):
            """Needs no key."""

        def encrypt(self, plaintext: bytes) -> bytes:
            return plaintext[::-1]

        def decrypt(self, ciphertext: bytes) -> bytes:
            return ciphertext[::-1]

    mapper = EventMapper(cipher=Reversed())
    state = State(id="o_1", input={"name": "Ada Lovelace"})
    raw = packed(state, mapper)
    assert b"Ada Lovelace" not in raw
    assert mapper.states.unpack(raw) == state


def test_the_format_tells_versions_of_the_domain_apart(monkeypatch):
    from adapters import stored_states

    before = EventMapper().states.format
    assert EventMapper().states.format == before
    monkeypatch.setattr(stored_states, "_FOLDING", ("evolve", "folding"))
    assert EventMapper().states.format != before
