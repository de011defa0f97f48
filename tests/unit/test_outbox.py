"""The outbox: what a sink refuses delays the events of that orchestration and nothing else, however many it refuses."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import UUID

import pytest

from application import outbox
from application.outbox import Outbox
from application.ports import DeliveryError
from application.storage import Head
from tests.simulation.loop import simulate

Key = tuple[UUID, int]


class Emitted:
    """As much of `LogStore` as an outbox asks."""

    def __init__(self, *keys: tuple[int, int]) -> None:
        self.rows: set[Key] = {(UUID(int=orchestration), number) for orchestration, number in keys}

    async def emitted(self, partition: int, limit: int, after: Key | None = None) -> list[tuple[UUID, int, bytes]]:
        await asyncio.sleep(0.001)
        found = sorted(key for key in self.rows if after is None or key > after)
        return [
            (*key, json.dumps({"source": "/x", "id": "1", "of": key[0].int, "number": key[1]}).encode())
            for key in found[:limit]
        ]

    async def published(self, partition: int, items: list[Key]) -> None:
        await asyncio.sleep(0.001)
        self.rows -= set(items)


class Sink:
    """Refuses the events of some orchestrations."""

    def __init__(self, refused: set[int]) -> None:
        self.refused = refused
        self.asked = 0
        self.got: list[tuple[int, int]] = []

    async def publish(self, event: dict[str, Any]) -> None:
        self.asked += 1
        if event["of"] in self.refused:
            raise DeliveryError("no")
        self.got.append((event["of"], event["number"]))


class Node:
    """Engine, exchange and ownership, as far as an outbox knows them."""

    def follow(self, *_: Any) -> None: ...

    async def publish(self, event: Any, actor: Any) -> None: ...

    def holds(self, partition: int) -> bool:
        return True


def publishing(log: Any, sink: Sink, until: Any, limit_s: float) -> None:
    """Run an outbox over one partition until a condition holds."""

    async def main(loop):
        node: Any = Node()
        box = Outbox(node, log, node, sink, node)
        box.gained(Head(0, 1, 0, b""))
        box.start()
        begun = loop.time()
        while not until():
            assert loop.time() - begun < limit_s, "it takes too long"
            await asyncio.sleep(0.01)
        await box.stop()

    simulate(1, main)


def test_many_that_are_refused_do_not_hold_up_the_rest():
    log = Emitted(*((number, 0) for number in range(1200)), (1200, 0), (1200, 1))
    sink = Sink(set(range(1200)))
    publishing(log, sink, lambda: len(sink.got) == 2, 60)
    assert sink.got == [(1200, 0), (1200, 1)]
    assert sink.asked <= 1202


def test_one_that_breaks_the_sink_does_not_hold_up_the_rest():
    log = Emitted((0, 0), (0, 1), *((number, 0) for number in range(1, 40)))

    class Broken(Sink):
        async def publish(self, event: dict[str, Any]) -> None:
            if event["of"] == 0:
                raise ValueError("nobody foresaw this")
            await super().publish(event)

    sink = Broken(set())
    publishing(log, sink, lambda: len(sink.got) == 39, 60)
    assert sorted(log.rows) == [(UUID(int=0), 0), (UUID(int=0), 1)]


def test_a_sink_that_is_back_gets_everything_in_order():
    log = Emitted(*((each, number) for each in range(700) for number in range(3)))
    sink = Sink(set(range(700)))

    def back() -> bool:
        if sink.asked > 1500:
            sink.refused = set()
        return not log.rows

    publishing(log, sink, back, 600)
    assert len(sink.got) == 2100
    for each in range(700):
        assert [number for of, number in sink.got if of == each] == [0, 1, 2]


@pytest.mark.parametrize("most", [1, 2, 5])
def test_nothing_of_an_orchestration_overtakes(monkeypatch, most):
    monkeypatch.setattr(outbox, "_MOST_BLOCKED", most)
    monkeypatch.setattr(outbox, "_PAGE", 3)
    log = Emitted(*((each, number) for each in range(8) for number in range(4)))
    sink = Sink({1, 2, 5})
    publishing(log, sink, lambda: len(log.rows) == 12, 600)
    sink.refused = {2}
    publishing(log, sink, lambda: len(log.rows) == 4, 600)
    sink.refused = set()
    publishing(log, sink, lambda: not log.rows, 600)
    for each in range(8):
        assert [number for of, number in sink.got if of == each] == [0, 1, 2, 3]
