"""Tasks for people on several nodes, through restarts and takeovers, on a clock that is virtual."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import pytest

from application.human_tasks import Acting, HumanListRequest
from domain.errors import TaskClaimedError, TaskEndedError
from tests.simulation.loop import simulate
from tests.simulation.memory_data import MemoryData
from tests.simulation.nodes import Scripted, deploy, ended, running, start

ANN, BOB = Acting(actor="anonymous", user="ann"), Acting(actor="anonymous", user="bob")
ASK: dict[str, Any] = {"title": "Approve", "form": {"type": "object"}}


def asking(timeout: Any = None, **with_: Any) -> list[Any]:
    return [{"ask": {"call": "human", "with": {**ASK, **with_}, **({"timeout": timeout} if timeout else {})}}]


async def listed(node: Any, **query: Any) -> list[str]:
    return [each["id"] for each in (await node.human_tasks.list(HumanListRequest(**query)))["items"]]


def test_any_node_takes_it_and_one_of_two_has_it():
    async def main(loop):
        data = MemoryData()
        first = await running(loop, data, Scripted(), alone=False)
        second = await running(loop, data, Scripted(), seed=1, alone=False)
        await asyncio.sleep(30)
        await deploy(first, asking())
        ids = [await start(first) for _ in range(6)]
        assert sorted(await listed(second)) == sorted(f"{id_}-1" for id_ in ids)
        for id_ in ids[:3]:
            task = f"{id_}-1"
            told = await asyncio.gather(
                first.human_tasks.claim(task, ANN), second.human_tasks.claim(task, BOB), return_exceptions=True
            )
            assert [isinstance(each, TaskClaimedError) for each in told].count(True) == 1
            winner = ANN if isinstance(told[1], TaskClaimedError) else BOB
            for node in (second, first, second):
                shown = await node.human_tasks.complete(task, winner, {"n": 1})
                assert (shown["status"], shown["output"]) == ("completed", {"n": 1})
            assert (await ended(second, id_))["output"] == {"n": 1}
        await first.stop()
        await asyncio.sleep(30)
        assert sorted(await listed(second)) == sorted(f"{id_}-1" for id_ in ids[3:])
        for id_ in ids[3:]:
            await second.human_tasks.complete(f"{id_}-1", ANN, {"n": 2})
            assert (await ended(second, id_))["status"] == "completed"
        assert await listed(second) == []
        await second.stop()

    simulate(1, main)


def test_due_dates_and_deadlines_hold_through_a_restart():
    async def main(loop):
        data = MemoryData()
        node = await running(loop, data, Scripted())
        escalation = [{"candidates": {"groups": ["managers"]}, "priority": 3, "remind": True}]
        await deploy(node, asking({"after": {"hours": 2}}, due={"hours": 1}, escalation=escalation))
        id_ = await start(node)
        await node.human_tasks.claim(f"{id_}-1", ANN)
        await node.stop()
        following = await running(loop, data, Scripted(), seed=1)
        assert (await following.human_tasks.get(f"{id_}-1"))["assignee"] == "ann"
        await asyncio.sleep(3605)
        shown = await following.human_tasks.get(f"{id_}-1")
        assert (shown["status"], shown["priority"], shown["overdue"]) == ("open", 3, True)
        assert await listed(following, groups=("managers",), overdue=True) == [f"{id_}-1"]
        assert [each["done"] for each in shown["escalations"]] == [True]
        await asyncio.sleep(3605)
        assert (await following.queries.status(id_))["error"]["status"] == 408
        assert await listed(following) == []
        with pytest.raises(TaskEndedError):
            await following.human_tasks.complete(f"{id_}-1", ANN, {})
        await following.stop()

    simulate(1, main)


def test_an_answer_and_the_deadline_in_the_same_instant_until_both_orders_were_seen():
    """The clock stands at the deadline while both are under way; the scheduler's seed says who is first."""
    seen: set[str] = set()

    def race(seed: int) -> str:
        found: list[str] = []

        async def main(loop):
            node = await running(loop, MemoryData(), Scripted(), seed=seed)
            await deploy(node, asking({"after": {"hours": 1}}))
            id_ = await start(node)
            shown = await node.human_tasks.get(f"{id_}-1")
            await asyncio.sleep((datetime.fromisoformat(shown["timeout_at"]) - node.world.clock.now()).total_seconds())
            try:
                await node.human_tasks.complete(f"{id_}-1", ANN, {"n": 1})
                answered = True
            except TaskEndedError:
                answered = False
            status = await ended(node, id_)
            assert status["status"] == ("completed" if answered else "faulted")
            found.append(status["status"])
            await node.stop()

        simulate(seed, main)
        return found[0]

    for seed in range(200):
        seen.add(race(seed))
        if seen == {"completed", "faulted"}:
            return
    raise AssertionError(f"only {seen} was seen")


def test_a_commit_that_is_unknown_takes_an_answer_once():
    async def main(loop):
        data = MemoryData()
        node = await running(loop, data, Scripted())
        await deploy(node, asking())
        for mode in ("before", "after"):
            id_ = await start(node)
            storage: Any = node.world.storage
            storage.fail_next_write(mode)
            await node.human_tasks.complete(f"{id_}-1", ANN, {"n": 1})
            history, _ = await node.queries.history(id_)
            assert [each["type"] for each in history].count("task.answered") == 1
            assert await listed(node) == []
        await node.stop()

    simulate(1, main)
