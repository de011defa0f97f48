"""Reading what is committed, on any node: nobody is given less than what was committed before they asked."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from adapters.stored_events import EventMapper
from application.reader import Reader
from application.service import CommandRequest
from tests.simulation.loop import simulate
from tests.simulation.memory_data import MemoryData
from tests.simulation.nodes import deploy, running, start

WAIT = [{"w": {"wait": {"seconds": 3600}}}]


class Owning:
    """As much of `Ownership` as a reader asks."""

    def __init__(self, *answers: bool) -> None:
        self._answers = list(answers)

    def answers(self, partition: int) -> bool:
        return self._answers.pop(0) if self._answers else False


class Folding:
    """A cache whose folds come back in the order that a test gives."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache
        self.turns: list[asyncio.Event] = []

    async def fold(self, partition: int, orchestration: Any) -> Any:
        found = await self._cache.fold(partition, orchestration)
        turn = asyncio.Event()
        self.turns.append(turn)
        await turn.wait()
        return found

    def ready_at(self, partition: int, orchestration: Any) -> None:
        """Everything has to be waited for."""

    async def settled_at(self, partition: int, orchestration: Any) -> Any:
        return "from memory"


def reader(node: Any, owning: Owning) -> tuple[Any, Folding]:
    folding = Folding(node.cache)
    return Reader(owning, folding, node.world.storage.log, EventMapper(), node.engine.identity), folding  # type: ignore[arg-type]


async def waiting(count: int, folding: Folding) -> None:
    while len(folding.turns) < count:  # noqa: ASYNC110 - in virtual time waiting costs nothing
        await asyncio.sleep(0.0001)


def test_two_who_read_at_once_are_not_given_the_older_of_both():
    async def main(loop):
        node = await running(loop, MemoryData(), chance=random.Random(1))
        await deploy(node, WAIT)
        id_ = await start(node)
        read, folding = reader(node, Owning())
        early = asyncio.ensure_future(read.settled(id_))
        await waiting(1, folding)
        answer = await node.commands.add_note(CommandRequest(id=id_), text="more")
        late = asyncio.ensure_future(read.settled(id_))
        await waiting(2, folding)
        folding.turns[0].set()
        await early
        folding.turns[1].set()
        live = await late
        assert live.state.version == answer.version
        assert live.event_hash == (await node.cache.settled(id_)).event_hash
        await node.stop()

    simulate(1, main)


def test_memory_is_not_trusted_when_the_lease_ended_while_it_was_asked():
    async def main(loop):
        node = await running(loop, MemoryData(), chance=random.Random(1))
        await deploy(node, WAIT)
        id_ = await start(node)
        read, _ = reader(node, Owning(True, True))
        assert await read.settled(id_) == "from memory"
        read, folding = reader(node, Owning(True, False))
        found = asyncio.ensure_future(read.settled(id_))
        await waiting(1, folding)
        folding.turns[0].set()
        assert (await found).id == id_
        await node.stop()

    simulate(1, main)
