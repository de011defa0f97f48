"""Builds of projections in a world where a test chooses what goes wrong: crashes at every commit, a late owner, new versions,
folds that fail.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from functools import partial
from typing import Any

import pytest

from application.projection_store import Progress
from application.runtime import Node
from application.world import Options
from domain.errors import NotFoundError
from retrace.projections import Projection
from tests.simulation.folded import stored_of
from tests.simulation.loop import Process, ProcessDiedError, SimulatedLoop, simulate
from tests.simulation.memory_data import MemoryData
from tests.simulation.nodes import Scripted, deploy, ended, running, start, world_of
from tests.support.projected import COUNTED, OPEN_TASKS, SAMPLES, TALLIES, Inline, counted, expected, folds, made, plain

COMMITS = {"begin build", "project", "swap"}
TASKS = [{"one": {"call": "f"}}, {"two": {"call": "g"}}]


def tables_are_right(data: MemoryData, projections: tuple[Projection, ...] = SAMPLES) -> bool:
    stored = stored_of(data)
    for fold in folds(projections):
        (live,) = [each for each in data.builds.values() if each.name == fold.name and each.state == "live"]
        assert live.version == fold.version
        assert plain(fold, data.tables[live.table].items()) == expected(stored, fold), fold.name
    return True


async def live(data: MemoryData, projections: tuple[Projection, ...] = SAMPLES, timeout_s: float = 120) -> None:
    """Returns when each of them is live in this version and has seen everything."""
    async with asyncio.timeout(timeout_s):
        while not all(_is_live(data, each) for each in projections):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.1)


def _is_live(data: MemoryData, projection: Projection) -> bool:
    builds = [each for each in data.builds.values() if each.name == projection.name and each.state != "retired"]
    if [(each.version, each.state) for each in builds] != [(projection.version, "live")]:
        return False
    heads = [each.head.position for each in data.partitions]
    return all(data.progress[builds[0].tracking, number] == Progress(at) for number, at in enumerate(heads))


async def some(node: Node, count: int = 5) -> None:
    for _ in range(count):
        await ended(node, await start(node))


class Crash:
    """A step of the storage that kills the process at the n-th commit, before or after it took effect."""

    def __init__(self, at: int, when: str) -> None:
        self.process: Process | None = None
        self.seen: Counter[str] = Counter()
        self._at = at
        self._when = when

    async def __call__(self, operation: str) -> None:
        await asyncio.sleep(0)
        name, _, _ = operation.partition(" done")
        if name in COMMITS and (operation != name) == (self._when == "after"):
            self.seen[name] += 1
            if self.seen.total() == self._at and self.process is not None:
                self.process.kill()
                await asyncio.sleep(0)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_at_any_commit_changes_nothing(when):
    async def life(loop: SimulatedLoop, at: int) -> Counter[str]:
        data = MemoryData()
        first = await running(loop, data)
        await deploy(first, TASKS)
        await some(first)
        await first.stop()
        crash = Crash(at, when)
        crash.process = Process(loop, 1)
        node = Node(
            world_of(loop, data, Scripted(), chance=random.Random(1), step=crash, folds=Inline(SAMPLES)),
            Options(ids_in_a_row=1),
        )
        try:
            await crash.process.call(node.start())
            await crash.process.call(node.go_on())
            await crash.process.call(some(node))
            await crash.process.call(live(data))
        except (ProcessDiedError, TimeoutError):
            again = await running(loop, data, folds=Inline(SAMPLES), seed=2)
            await some(again, 2)
        await live(data)
        assert tables_are_right(data)
        return crash.seen

    commits = simulate(1, partial(life, at=0)).total()
    assert commits > 20
    for at in range(1, commits + 1):
        simulate(at, partial(life, at=at))


def test_the_late_write_of_an_owner_that_was_replaced_does_nothing():
    async def main(loop: SimulatedLoop) -> None:
        data = MemoryData()
        held, go_on = asyncio.Event(), asyncio.Event()

        async def step(operation: str) -> None:
            await asyncio.sleep(0)
            if operation == "project":
                held.set()
                await go_on.wait()

        old = await running(loop, data, step=step, folds=Inline([COUNTED]))
        await deploy(old, TASKS)
        await ended(old, await start(old))
        await held.wait()
        new = await running(loop, data, folds=Inline([COUNTED]), seed=2)  # takes everything over
        await some(new)
        await live(data, (COUNTED,))
        go_on.set()
        await asyncio.sleep(30)
        await some(new)
        await live(data, (COUNTED,))
        assert tables_are_right(data, (COUNTED,))

    simulate(1, main)


def test_a_new_version_is_built_beside_the_live_one_while_others_write():
    async def main(loop: SimulatedLoop) -> None:
        data = MemoryData()
        node = await running(loop, data, folds=Inline([COUNTED]))
        await deploy(node, TASKS)
        await some(node, 40)
        await live(data, (COUNTED,))
        await node.stop()

        second = made(
            "counted", counted, version=2, n=int, gaps=int, seen=list, definition=str, last=COUNTED.columns["last"]
        )
        node = await running(loop, data, folds=Inline([second]), seed=2)
        versions = set()
        for _ in range(30):
            await ended(node, await start(node))
            page = await node.catalog.rows("counted", [], None, 500)
            versions.add(page["version"])
            assert len(page["items"]) >= 40, "readers never see half a table"
            assert all(each["gaps"] == 0 for each in page["items"])
            await asyncio.sleep(0.05)
        await live(data, (second,))
        assert 1 in versions
        assert tables_are_right(data, (second,))
        assert "projection_counted_v1" not in data.tables
        assert [each["state"] for each in (await node.catalog.list())["items"]] == ["retired", "live"]

    simulate(1, main)


def test_a_node_with_older_code_leaves_the_newer_version_alone():
    async def main(loop: SimulatedLoop) -> None:
        data = MemoryData()
        second = made("tallies", TALLIES.fold, version=2, by=TALLIES.by, started=int, share=float)
        node = await running(loop, data, folds=Inline([second]))
        await live(data, (second,))
        await node.stop()
        old = await running(loop, data, folds=Inline([TALLIES]), seed=2)
        await deploy(old, TASKS)
        await some(old)
        await asyncio.sleep(60)
        (told,) = (await old.catalog.list())["items"]
        assert (told["version"], told["state"], told["registered"]) == (2, "live", False)
        assert told["lag_events"] == told["events_total"] > 0
        assert told["lag_ms"] >= 60_000
        with pytest.raises(NotFoundError, match="older"):
            await old.catalog.rebuild("tallies", "me")

    simulate(1, main)


class Fussy:
    """A fold that cannot bear one kind of event, until it is mended."""

    def __init__(self) -> None:
        self.broken = True

    def __call__(self, row, event):
        if self.broken and event.type == "task.completed":
            raise LookupError(f"no {event.data.get('output')!r}\0")
        return counted(row, event)


def test_a_fold_that_fails_stops_at_that_event_and_no_other_projection_does():
    async def main(loop: SimulatedLoop) -> None:
        data = MemoryData()
        fussy = Fussy()
        projection = made("fussy", fussy, n=int, gaps=int, seen=list, definition=str, last=COUNTED.columns["last"])
        node = await running(loop, data)
        await deploy(node, TASKS)
        id_ = await start(node)
        await ended(node, id_)
        await node.stop()
        node = await running(loop, data, folds=Inline([projection, OPEN_TASKS]), seed=2)
        await live(data, (OPEN_TASKS,))
        told = {each["name"]: each for each in (await node.catalog.list())["items"]}
        history, _ = await node.queries.history(id_)
        culprit = next(each for each in history if each["type"] == "task.completed")
        assert told["open_tasks"]["state"] == "live"
        assert told["fussy"]["state"] == "failed"
        assert told["fussy"]["lag_events"] == len(history) - culprit["version"] + 1
        error = told["fussy"]["error"]
        assert (error["orchestration"], error["version"], error["type"]) == (id_, culprit["version"], "task.completed")
        assert error["detail"].startswith("LookupError: ")
        with pytest.raises(NotFoundError, match="first time"):
            await node.catalog.rows("fussy", [], None, 10)

        await node.catalog.retry("fussy", "me")
        await asyncio.sleep(10)
        assert (await node.catalog.list())["items"][0]["error"]["version"] == culprit["version"], "it fails again"
        fussy.broken = False
        await asyncio.sleep(60)
        assert (await node.catalog.list())["items"][0]["state"] == "failed", "nobody has asked for it"
        assert (await node.catalog.retry("fussy", "me"))["error"] is None
        await live(data, (projection, OPEN_TASKS))
        assert tables_are_right(data, (projection, OPEN_TASKS))

    simulate(1, main)


def test_a_newer_version_replaces_one_that_failed():
    async def main(loop: SimulatedLoop) -> None:
        data = MemoryData()
        columns: dict[str, Any] = dict(COUNTED.columns)
        node = await running(loop, data, folds=Inline([made("counted", Fussy(), **columns)]))
        await deploy(node, TASKS)
        await some(node)
        await asyncio.sleep(10)
        assert (await node.catalog.list())["items"][0]["state"] == "failed"
        await node.stop()
        mended = made("counted", counted, version=2, **columns)
        await running(loop, data, folds=Inline([mended]), seed=2)
        await live(data, (mended,))
        assert tables_are_right(data, (mended,))

    simulate(1, main)


def test_building_anew_gives_the_same_table_beside_the_old_one():
    async def main(loop: SimulatedLoop) -> None:
        data = MemoryData()
        node = await running(loop, data, folds=Inline(SAMPLES))
        await deploy(node, TASKS)
        await some(node)
        await live(data)
        before = dict(data.tables["projection_counted_v1"])
        data.tables["projection_counted_v1"].clear()  # somebody's mistake
        told = await node.catalog.rebuild("counted", "me")
        assert (told["state"], told["table"]) == ("building", "projection_counted_v1_2")
        await live(data)
        assert data.tables["projection_counted_v1_2"] == before
        assert "projection_counted_v1" not in data.tables
        assert tables_are_right(data)
        with pytest.raises(NotFoundError):
            await node.catalog.rebuild("nothing", "me")

    simulate(1, main)


def test_without_projections_nothing_is_read_or_written():
    async def main(loop: SimulatedLoop) -> None:
        calls: Counter[str] = Counter()

        async def step(operation: str) -> None:
            calls[operation] += 1
            await asyncio.sleep(0)

        node = await running(loop, MemoryData(), step=step)
        await deploy(node, TASKS)
        await some(node)
        await asyncio.sleep(30)
        assert not {"builds", "begin build", "progress", "project"} & set(calls)

    simulate(1, main)
