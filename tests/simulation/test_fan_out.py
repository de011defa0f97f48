"""A node dies at every commit of a fan-out, and another takes over: each branch is done once, or is undone if it lost."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from functools import partial
from typing import Any

import msgspec
import pytest

from application.ports import Answered, Callout, CalloutResult, Declined
from application.runtime import Node
from application.service import ListRequest
from application.world import Options
from domain.decision import Limits
from domain.errors import Fault
from tests.simulation.loop import Process, ProcessDiedError, SimulatedLoop, simulate
from tests.simulation.memory_storage import MemoryData
from tests.simulation.nodes import Scripted, deploy, ended, running, start, world_of

COUNT = 7
WORK = {"call": "work", "with": {"i": "${ $item }"}, "compensate": {"call": "undo", "with": {"i": "${ $input }"}}}
SHAPES: list[dict[str, Any]] = [
    {"limit": 2},
    {},
    {"completion": {"at_least": 3}, "limit": 3},
    {"tolerate": "all"},
]


class Ledger:
    """What participants did, by idempotency key: a repeat of one does nothing."""

    def __init__(self) -> None:
        self.done: dict[str, int] = {}
        self.undone: Counter[str] = Counter()
        self.going = self.most = 0

    async def answer(self, callout: Callout) -> CalloutResult:
        self.going += 1
        await asyncio.sleep(0.05)
        self.going -= 1
        if callout.compensates is not None:
            self.undone[callout.compensates] = 1
            return Answered(None)
        item = callout.arguments["i"]
        if item == 1:
            return Declined(Fault("https://test.invalid/no", 409, "No"))
        self.done[callout.idempotency_key] = item
        return Answered({"i": item})


class Crash:
    """Kills the process right before or after its commit number `at`; counts those that there are."""

    def __init__(self, at: int, when: str) -> None:
        self.process: Process | None = None
        self.seen = 0
        self._at, self._when = at, when

    async def __call__(self, operation: str) -> None:
        await asyncio.sleep(0)
        if operation == ("write done" if self._when == "after" else "write"):
            self.seen += 1
            if self.seen == self._at and self.process is not None:
                self.process.kill()
                await asyncio.sleep(0)


async def life(loop: SimulatedLoop, parallel: dict[str, Any], when: str, at: int) -> int:
    """Gives the number of commits."""
    data, ledger, crash = MemoryData(), Ledger(), Crash(at, when)
    crash.process = Process(loop, 1)
    callouts = Scripted(ledger.answer)
    task = {"for": {"in": "."}, "parallel": parallel, "do": [{"one": WORK}]}
    first = await running(loop, data, callouts)
    await deploy(first, [{"each": {**task, "parallel": {"tolerate": 1, **parallel}}}])
    await first.stop()
    world = world_of(loop, data, callouts, chance=random.Random(1), step=crash)
    node = Node(world, Options(limits=Limits(portion=2)))
    id_ = ""
    try:
        await crash.process.call(node.start())
        await crash.process.call(node.go_on())
        id_ = await crash.process.call(start(node, list(range(COUNT))))
        status = await crash.process.call(ended(node, id_))
    except ProcessDiedError:
        again = await running(loop, data, callouts, seed=2)
        if not id_:
            found = await again.queries.list(ListRequest())
            id_ = (
                msgspec.json.decode(found["items"][0])["id"]
                if found["items"]
                else await start(again, list(range(COUNT)))
            )
        status = await ended(again, id_)
    check(status, parallel, ledger)
    return crash.seen


def check(status: dict[str, Any], parallel: dict[str, Any], ledger: Ledger) -> None:
    assert status["status"] == "completed", status
    kept = [entry["i"] for entry in status["output"] if "i" in entry]
    assert len(kept) == (3 if "completion" in parallel else COUNT - 1)
    assert max(Counter(ledger.done.values()).values()) == 1, "each branch once"
    left = sorted(item for key, item in ledger.done.items() if key not in ledger.undone)
    assert left == kept, "what is no part of the output is undone"


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("parallel", SHAPES, ids=str)
def test_a_crash_at_any_commit_changes_nothing(parallel: dict[str, Any], when: str) -> None:
    commits = simulate(1, partial(life, parallel=parallel, when=when, at=0))
    assert commits > 5
    for at in range(1, commits + 1):
        simulate(at, partial(life, parallel=parallel, when=when, at=at))
