"""`GET .../rollback-plan`: what a cancel now would do, seen before it happens, and nothing is recorded by looking."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from application.human_tasks import Acting
from application.ports import Answered, CalloutResult
from application.runtime import Node
from application.service import CommandRequest
from tests.simulation.loop import SimulatedLoop, simulate
from tests.simulation.memory_storage import MemoryData
from tests.simulation.nodes import Scripted, deploy, running, start

PARKED: dict[str, Any] = {"park": {"listen": {"to": {"one": {"with": {"type": "go"}}}}}}


def task(name: str, **compensate: Any) -> dict[str, Any]:
    return {name: {"call": name, "compensate": {"call": f"undo_{name}", **compensate}}}


def planned(
    tasks: list[Any], look: Callable[[Node, str], Awaitable[None]], hang: str = "", *, changes: bool = False
) -> None:
    """Run the tasks until nothing moves, with the callout `hang` never answered, then look."""

    async def answer(callout: Any) -> CalloutResult:
        if callout.function == hang:
            await asyncio.sleep(10_000)
        return Answered({"refundable": callout.function != "b"})

    async def main(loop: SimulatedLoop) -> None:
        node = await running(loop, MemoryData(), Scripted(answer))
        await deploy(node, tasks)
        id_ = await start(node)
        await asyncio.sleep(1)
        before = (await node.queries.status(id_))["version"]
        await look(node, id_)
        assert changes or (await node.queries.status(id_))["version"] == before

    simulate(1, main)


def test_newest_first_with_what_stays_and_why():
    async def look(node: Node, id_: str) -> None:
        plan = await node.queries.rollback_plan(id_)
        assert [(s["task"], s["outcome"], s["condition"], s["undo"]) for s in plan["steps"]] == [
            ("c", "completed", None, "/do/2/c/compensate"),
            ("a", "completed", {"expression": ".refundable", "result": True}, "/do/0/a/compensate"),
        ]
        assert plan["not_undone"] == [
            {"task": "d", "why": "it has no compensation"},
            {"task": "b", "why": "its compensate.if is false"},
        ]
        assert plan["blocked_by_pivot"] is False

    when = {"if": "${ .refundable }"}
    planned([task("a", **when), task("b", **when), task("c"), {"d": {"call": "d"}}, PARKED], look)


def test_what_is_in_flight_would_be_undone_as_uncertain():
    async def look(node: Node, id_: str) -> None:
        plan = await node.queries.rollback_plan(id_)
        assert [(s["task"], s["outcome"]) for s in plan["steps"]] == [("b", "uncertain"), ("a", "completed")]

    planned([task("a"), task("b")], look, hang="b")


def test_after_the_pivot_it_says_so_and_shows_what_an_override_would_do():
    async def look(node: Node, id_: str) -> None:
        plan = await node.queries.rollback_plan(id_)
        assert plan["blocked_by_pivot"] is True
        assert [s["task"] for s in plan["steps"]] == ["a"]
        assert [left["task"] for left in plan["not_undone"]] == ["pay"]

    planned([task("a"), {"pay": {"call": "pay", "pivot": True}}, PARKED], look)


def test_once_decided_it_is_the_plan_itself_and_at_the_end_there_is_none():
    async def answer(callout: Any) -> CalloutResult:
        if callout.function == "undo_b":
            await asyncio.sleep(5)
        return Answered({})

    async def main(loop: SimulatedLoop) -> None:
        node = await running(loop, MemoryData(), Scripted(answer))
        await deploy(node, [task("a"), task("b"), PARKED])
        id_ = await start(node)
        await asyncio.sleep(1)
        foreseen = await node.queries.rollback_plan(id_)
        await node.commands.cancel(CommandRequest(id=id_))
        await asyncio.sleep(1)
        decided = await node.queries.rollback_plan(id_)
        assert (await node.queries.status(id_))["status"] == "compensating"
        assert [s["task"] for s in foreseen["steps"]] == [s["task"] for s in decided["steps"]] == ["b", "a"]
        assert (await node.queries.status(id_))["rollback"]["plan"] == ["b", "a"]
        await asyncio.sleep(60)
        assert (await node.queries.status(id_))["status"] == "cancelled"
        assert (await node.queries.rollback_plan(id_))["steps"] == []

    simulate(1, main)


def test_an_undo_in_progress_that_only_a_person_ends_does_not_hide_the_rest():
    async def look(node: Node, id_: str) -> None:
        for _ in range(2):
            plan = await node.queries.rollback_plan(id_)
            assert [(step["task"], step["undo"]) for step in plan["steps"]] == [("a", "/do/0/a/compensate")]
            await node.commands.cancel(CommandRequest(id=id_, reason="enough"))
        (waiting,) = (await node.queries.status(id_))["waiting_for"]
        await node.human_tasks.complete(waiting["id"], Acting(actor="ann"), None)
        await node.queries.wait(id_, 10)
        assert [step["task"] for step in (await node.queries.status(id_))["rollback"]["steps"]] == ["a"]

    by_hand = {"call": "b", "compensate": {"call": "human", "with": {"title": "Take it back"}}}
    refuse = {"raise": {"error": {"type": "https://test.invalid/no", "status": 409}}}
    guard = {"guard": {"try": [{"b": by_hand}, {"r": refuse}], "catch": {"compensate": True, "do": []}}}
    planned([task("a"), guard, PARKED], look, changes=True)
