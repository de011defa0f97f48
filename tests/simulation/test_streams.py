"""Streams in troubled lives: nodes die at any step, requests are repeated, storage fails; all is taken in order and once."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import msgspec

from domain.errors import RetraceError, StorageError
from tests.simulation.checker import complaints
from tests.simulation.folded import folded
from tests.simulation.loop import SimulatedLoop, simulate
from tests.simulation.participants import Moods
from tests.simulation.world import Simulation, Trouble, _deploy, _send

NUMBERS = 5
GOOD = Moods(refuses=0, loses_request=0, loses_answer=0, unusable=0, slow=0, undo_refuses=0)
PAPER = {"type": "paper", "subject": "${ . == ($workflow.input.n | tostring) }"}
DOCUMENT = {
    "document": {"dsl": "1.0.3", "namespace": "sim", "name": "papers", "version": "1.0.0"},
    "streams": {"papers": {"with": PAPER, "order": {"by": "${ .sequence + 0 }"}}},
    "do": [
        {
            "collect": {
                "listen": {"to": {"any": [{"with": PAPER}], "until": f"length == {NUMBERS}"}},
                "foreach": {"do": [{"act": {"call": "act", "with": {"n": "${ $item }"}}}]},
            }
        }
    ],
}


class Letters(Simulation):
    """Every number of every orchestration is published, or sent to it, once or more, under one id or several."""

    async def _deploy(self) -> None:
        await self.insist(partial(_deploy, msgspec.json.encode(DOCUMENT)))
        self.definitions.append("papers")

    async def _publisher(self) -> None:
        self._events += 1
        of, number = divmod(self._events - 1, NUMBERS)
        await asyncio.sleep(self.chance.uniform(0, 60))
        for copy in range(self.chance.choice((1, 1, 2))):
            event: dict[str, Any] = {
                "specversion": "1.0",
                "id": f"{of}-{number}-{copy}",
                "source": "https://outside.test",
                "type": "paper",
            }
            event |= {"subject": str(of), "sequence": number + 1, "data": number + 1}
            for _ in range(self.chance.choice((1, 1, 2))):
                await self._bring(event, self.acknowledged.get(f"start {of}") if self.chance.random() < 0.3 else None)

    async def _bring(self, event: dict[str, Any], to: str | None) -> None:
        try:
            await self.insist(partial(_send, event, to))
        except StorageError:
            raise
        except RetraceError:
            return  # it has ended

    async def publish(
        self, *, repeats: int = 1, to: str | None = None, kind: str | None = None, number: int | None = None
    ) -> None:
        """Everything that is needed was published."""


def wrong_in(seed: int, trouble: Trouble) -> list[str]:
    async def main(loop: SimulatedLoop) -> Letters:
        world = Letters(seed, loop, trouble, GOOD)
        await world.run()
        return world

    world = simulate(seed, main)
    found = list(complaints(world))
    for each in folded(world.data):
        runs = [run for run in each.state.runs.values() if run.listening is not None]
        values = [run.listening.values for run in runs if run.listening is not None]
        if each.state.status != "completed" or values != [list(range(1, NUMBERS + 1))]:
            found.append(f"{each.state.id} is {each.state.status} with {values}")
    return found


def test_all_is_taken_in_order_and_once_whatever_dies():
    trouble = Trouble(orchestrations=4, events=4 * NUMBERS, commands=0)
    assert not {seed: found for seed in range(30) if (found := wrong_in(seed, trouble))}


def test_a_node_that_often_dies_only_costs_time():
    trouble = Trouble(storage=0.05, crashes=30, crash_within=200, orchestrations=3, events=3 * NUMBERS, commands=0)
    assert not {seed: found for seed in range(10) if (found := wrong_in(seed, trouble))}
