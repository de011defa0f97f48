"""A wide fan-out through the whole service: it ends, memory and answers stay small, a cancel at half undoes that half.

Sized for CI; ``tests/benchmarks/fan_out.py`` has ten thousand branches, ``docs/performance.md`` what they cost.
"""

from __future__ import annotations

import asyncio
from collections import deque
from pathlib import Path
from typing import Any

import pytest

from domain import commands as c
from domain import events as e
from domain.decision import Limits
from domain.orchestration import opened, step
from domain.state import State
from retrace.functions import Function
from tests.support.pure_world import START, plan_of
from tests.support.service import Api, running_service

pytestmark = pytest.mark.anyio

COUNT = 1000
DEFINITION = """
document: {dsl: '1.0.3', namespace: wide, name: each, version: '1.0.0'}
do:
- each:
    for: {in: .items}
    parallel: PARALLEL
    do:
    - one:
        call: work
        with: {item: '${ $item }'}
        compensate: {call: undo, with: {item: '${ .item }'}}
"""


class Participants:
    """`done` and `undone` in their order; from `stop` on nobody is answered until `go`."""

    def __init__(self, stop: int | None = None) -> None:
        self.done: list[int] = []
        self.undone: list[int] = []
        self.now = self.most = 0
        self.stop = stop
        self.stopped, self.go = asyncio.Event(), asyncio.Event()

    async def work(self, item: int) -> Any:
        self.now += 1
        self.most = max(self.most, self.now)
        if self.stop is not None and len(self.done) >= self.stop:
            self.stopped.set()
            await self.go.wait()
        self.done.append(item)
        self.now -= 1
        return {"item": item}

    async def undo(self, item: int) -> None:
        self.undone.append(item)

    def functions(self) -> dict[str, Function]:
        return {
            each.__name__: Function(each.__name__, each, is_async=True, source="test")
            for each in (self.work, self.undo)
        }


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh one of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/retrace.db"
    return str(request.getfixturevalue("fresh_postgres"))


async def ended(api: Api, id_: str) -> dict[str, Any]:
    """Its status at its end; nobody asks for the large ones on the way there."""
    while True:
        status = await api.done("GET", f"/v1/orchestrations/{id_}", params={"wait": 20})
        if status["ended_at"] is not None:
            return status


async def pages(api: Api, url: str, position: str, name: str) -> list[list[Any]]:
    found, at = list[list[Any]](), None
    while True:
        page = await api.done("GET", url, params={"limit": 200} | ({} if at is None else {position: at}))
        found.append(page["items"])
        at = page[name]
        if at is None:
            return found


@pytest.mark.parametrize("parallel", ["{}", "{limit: 50}"])
async def test_a_wide_fan_out_ends(tmp_path: Path, database: str, parallel: str) -> None:
    participants = Participants()
    async with running_service(tmp_path, participants.functions(), database=database) as api:
        assert (await api.deploy(DEFINITION.replace("PARALLEL", parallel)))["http_status"] == 201
        started = await api.start("wide/each", {"items": list(range(COUNT))})
        status = await ended(api, started["id"])
        assert status["status"] == "completed"
        assert status["output"] == [{"item": number} for number in range(COUNT)]
        assert (sorted(participants.done), participants.most <= 50 or parallel == "{}") == (list(range(COUNT)), True)
        assert (len(status["tasks"]), status["tasks_total"]) == (500, COUNT + 1)
        tasks = [
            each
            for page in await pages(api, f"/v1/orchestrations/{status['id']}/tasks", "cursor", "next")
            for each in page
        ]
        assert [each["output"] for each in tasks[1:]] == status["output"]
        history = await pages(api, f"/v1/orchestrations/{status['id']}/history", "after", "next_after")
        assert max(map(len, history)) == 200
        versions = [item["version"] for page in history for item in page]
        assert versions == list(range(1, status["version"] + 1))


async def test_a_cancel_at_half_settles_and_undoes_that_half(tmp_path: Path, database: str) -> None:
    participants = Participants(stop=COUNT // 2)
    async with running_service(tmp_path, participants.functions(), database=database) as api:
        await api.deploy(DEFINITION.replace("PARALLEL", "{limit: 50}"))
        id_ = (await api.start("wide/each", {"items": list(range(COUNT))}))["id"]
        await participants.stopped.wait()
        waits = (await api.reached(id_, lambda found: found["tasks_total"] == COUNT // 2 + 51))["waiting_for"]
        assert {each["kind"] for each in waits} == {"answer"}
        plan = await api.done("GET", f"/v1/orchestrations/{id_}/rollback-plan")
        assert (len(plan["steps"]), plan["steps_total"]) == (500, COUNT // 2 + 50)
        await api.done("POST", f"/v1/orchestrations/{id_}/cancel", json={"reason": "half is enough"})
        participants.go.set()
        status = await ended(api, id_)
        assert status["status"] == "cancelled"
    assert len(participants.done) == COUNT // 2 + 50, "those in flight were awaited, and no other began"
    assert participants.undone == participants.done[::-1], "in reverse"
    assert status["rollback"]["totals"] == {"plan": 550, "done": 550, "skipped": 0, "left_behind": 0}
    assert len(status["rollback"]["steps"]) == 500


def test_ten_thousand_branches_in_the_core_alone() -> None:
    """No engine: half are done, then a cancel; those in flight settle, and all that was done is undone in reverse."""
    task = {"call": "work", "with": {"item": "${ $item }"}, "compensate": {"call": "undo", "with": {"item": "${ . }"}}}
    plan = plan_of([{"each": {"for": {"in": "."}, "parallel": {"limit": 50}, "do": [{"one": task}]}}])
    state, most, largest = State(), 0, 0
    done, undone = list[int](), list[int]()
    waiting: deque[c.Command] = deque([c.Start(at=START, seed=b"0", id="o_wide", input=list(range(10_000)))])
    while waiting:
        decision = opened(plan, state, waiting.popleft(), Limits())
        assert not step(decision)
        largest = max(largest, len(decision.events))
        for event in decision.events:
            if isinstance(event, e.AttemptStarted):
                item = event.arguments["item"]
                (undone if event.function == "undo" else done).append(item)
                members = {"run": event.run, "number": 1, "outcome": "completed", "output": item}
                waiting.append(c.ReportResult(at=START, seed=event.key.encode(), **members))
        most = max(most, state.calls)
        if len(done) == 5_000 and not state.rolling_back:
            waiting.appendleft(c.Cancel(at=START, seed=b"1"))
    assert (state.status, len(done), most) == ("cancelled", 5_000, 50)
    assert undone == done[::-1]
    assert largest < 200
