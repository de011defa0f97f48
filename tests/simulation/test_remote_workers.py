"""Work for remote workers in a simulated world: virtual time, every order of events that a seed gives."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from application.claims import ClaimRequest
from application.ports import Answered, Callout, CalloutResult
from application.remote_changes import packed
from application.service import CommandRequest
from domain.errors import InvalidInputError, NotFoundError, StaleTokenError
from tests.simulation.folded import folded
from tests.simulation.loop import Process, simulate
from tests.simulation.memory_storage import MemoryData
from tests.simulation.nodes import Scripted, deploy, ended, running, start


class Here(Scripted):
    """Only functions whose name begins with ``here`` are in the process."""

    def __init__(self, *names: str) -> None:
        super().__init__(self._done)
        self.names = {"here", "undo", *names}

    def knows(self, function: str) -> bool:
        return function in self.names

    async def _done(self, callout: Callout) -> CalloutResult:
        return Answered({"by": "process", "key": callout.idempotency_key})


UNDO = {"call": "undo", "with": {"of": "${ $task.key }"}}
PACK = [{"pack": {"call": "pack", "with": {"item": "${ .item }"}, "compensate": UNDO}}]
RETRIED = [{"pack": {"call": "pack", "retry": {"delay": {"seconds": 1}, "limit": {"attempt": {"count": 3}}}}}]


async def claim(node, worker="w", *, functions=("pack",), most=1, wait_s=0.0, lease_s=30.0, **members):
    request = ClaimRequest(functions=functions, worker=worker, most=most, wait_s=wait_s, lease_s=lease_s, **members)
    return await node.claims.claim(request)


async def only(node, **members):
    [task] = await claim(node, wait_s=members.pop("wait_s", 5.0), **members)
    return task


async def status(node, id_):
    return await node.queries.status(id_)


async def until(loop, node, id_, holds, most_s=200.0):
    found = await status(node, id_)
    end = loop.time() + most_s
    while not holds(found):
        assert loop.time() < end, found
        await node.queries.wait(id_, 1.0, after_version=found["version"])
        found = await status(node, id_)
    return found


def run(main, seed=1):
    return simulate(seed, main)


def test_work_waits_is_handed_out_and_its_report_ends_it():
    async def main(loop):
        data = MemoryData()
        node = await running(loop, data, Here())
        await deploy(node, PACK)
        id_ = await start(node, {"item": "lamp"})
        found = await status(node, id_)
        assert [(each["kind"], each["function"]) for each in found["waiting_for"]] == [("worker", "pack")]
        task = await only(node)
        assert task["arguments"] == {"item": "lamp"}
        assert (task["orchestration"], task["attempt"], task["compensates"]) == (id_, 1, None)
        assert await claim(node) == []
        for _ in range(2):
            answer = await node.claims.complete(task["task_id"], task["token"], {"box": 7})
            assert answer == {"task_id": task["task_id"], "status": "reported"}
        with pytest.raises(StaleTokenError):
            await node.claims.complete(task["task_id"], task["token"], {"box": 8})
        with pytest.raises(StaleTokenError):
            await node.claims.heartbeat(task["task_id"], task["token"], 30.0)
        found = await ended(node, id_)
        assert (found["status"], found["output"]) == ("completed", {"box": 7})
        assert all(row.status == "ended" for part in data.partitions for row in part.tasks.values())
        assert not any(part.agenda for part in data.partitions)

    run(main)


def test_a_long_poll_is_woken_by_work_and_ends_without():
    async def main(loop):
        node = await running(loop, MemoryData(), Here())
        await deploy(node, PACK)
        waiting = loop.create_task(claim(node, wait_s=20.0))
        before = loop.time()
        assert await claim(node, wait_s=3.0) == []
        assert loop.time() - before == pytest.approx(3.0, abs=0.2)
        await start(node, {"item": 1})
        began = loop.time()
        assert len(await waiting) == 1
        assert loop.time() - began < 0.5
        gone = await claim(node, wait_s=20.0, gone=lambda: True)
        assert gone == []

    run(main)


def test_a_lost_report_is_sent_again_under_the_same_key():
    async def main(loop):
        node = await running(loop, MemoryData(), Here())
        await deploy(node, RETRIED)
        id_ = await start(node)
        first = await only(node, lease_s=10.0)  # it does its work, and dies before it can say so
        second = await only(node, wait_s=30.0)
        assert second["idempotency_key"] == first["idempotency_key"]
        assert (first["attempt"], second["attempt"]) == (1, 2)
        with pytest.raises(StaleTokenError):
            await node.claims.complete(first["task_id"], first["token"], "late")
        await node.claims.complete(second["task_id"], second["token"], "done")
        assert (await ended(node, id_))["output"] == "done"

    run(main)


def test_a_heartbeat_keeps_a_lease_until_the_deadline():
    async def main(loop):
        node = await running(loop, MemoryData(), Here())
        await deploy(node, [{"pack": {"call": "pack", "timeout": {"after": {"seconds": 60}}}}])
        id_ = await start(node)
        task = await only(node, lease_s=10.0)
        for _ in range(7):
            await asyncio.sleep(8)
            lease = await node.claims.heartbeat(task["task_id"], task["token"], 10.0)
            assert lease["lease_until"] <= lease["deadline"] == task["deadline"]
        found = await ended(node, id_)
        assert (found["status"], found["error"]["type"].rpartition("/")[2]) == ("faulted", "timeout")
        assert found["tasks"][0]["status"] == "uncertain"
        with pytest.raises(StaleTokenError):
            await node.claims.heartbeat(task["task_id"], task["token"], 10.0)

    run(main)


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        ({"retryable": None, "uncertain": False}, "faulted"),
        ({"retryable": False, "uncertain": True}, "faulted"),
        ({"retryable": True, "uncertain": False}, "retrying"),
        ({"retryable": None, "uncertain": True}, "retrying"),
    ],
)
def test_a_failure_is_tried_again_as_the_worker_or_the_rules_say(report, expected):
    async def main(loop):
        node = await running(loop, MemoryData(), Here())
        await deploy(node, RETRIED)
        id_ = await start(node)
        task = await only(node)
        await node.claims.fail(task["task_id"], task["token"], {"detail": "no boxes"}, **report)
        found = await status(node, id_)
        shown = found["status"] if expected == "faulted" else found["tasks"][0]["status"]
        assert shown == expected
        assert found["tasks"][0]["error"]["detail"] == "no boxes"

    run(main)


def test_rollback_drops_what_nobody_has_claimed():
    async def main(loop):
        callouts = Here()
        node = await running(loop, MemoryData(), callouts)
        await deploy(node, [{"first": {"call": "here", "compensate": UNDO}}, *PACK])
        id_ = await start(node)
        await until(loop, node, id_, lambda found: len(found["tasks"]) == 2)
        await node.commands.cancel(CommandRequest(id=id_))
        found = await ended(node, id_)
        assert found["status"] == "cancelled"
        assert [each["status"] for each in found["tasks"]] == ["compensated", "cancelled"]
        assert found["rollback"]["outcome"] == "complete"
        assert await claim(node) == []

    run(main)


def test_rollback_makes_what_is_claimed_uncertain_at_once_and_its_token_void():
    async def main(loop):
        node = await running(loop, MemoryData(), Here())
        await deploy(node, PACK)
        id_ = await start(node)
        task = await only(node)
        before = loop.time()
        await node.commands.cancel(CommandRequest(id=id_))
        found = await ended(node, id_)
        assert loop.time() - before < 2.0
        assert [each["status"] for each in found["tasks"]] == ["compensated"]
        assert found["rollback"]["steps"][0]["outcome"] == "uncertain"
        with pytest.raises(StaleTokenError):
            await node.claims.complete(task["task_id"], task["token"], {})

    run(main)


def test_a_cancel_drops_a_pivot_that_nobody_has_claimed_and_awaits_one_that_somebody_has():
    async def main(loop):
        node = await running(loop, MemoryData(), Here())
        await deploy(node, [{"pack": {"call": "pack", "pivot": True}}])
        unclaimed = await start(node)
        await node.commands.cancel(CommandRequest(id=unclaimed))
        assert (await ended(node, unclaimed))["status"] in ("cancelled", "faulted")
        claimed = await start(node)
        task = await only(node)
        await node.commands.cancel(CommandRequest(id=claimed))
        await node.claims.complete(task["task_id"], task["token"], 1)
        assert (await ended(node, claimed))["status"] == "completed"

    run(main)


TIMED: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "scope": ([{"block": {"do": PACK, "timeout": {"after": {"seconds": 20}}}}], {}),
    "attempt": (
        [
            {
                "again": {
                    "try": PACK,
                    "catch": {"retry": {"limit": {"attempt": {"count": 0, "duration": {"seconds": 20}}}}},
                }
            }
        ],
        {},
    ),
    "workflow": (PACK, {"timeout": {"after": {"seconds": 20}}}),
    "compete": (
        [
            {
                "race": {
                    "fork": {
                        "compete": True,
                        "branches": [{"slow": {"do": PACK}}, {"quick": {"do": [{"w": {"wait": {"seconds": 20}}}]}}],
                    }
                }
            }
        ],
        {},
    ),
    "enough branches": (
        [
            {
                "race": {
                    "fork": {
                        "branches": [{"slow": {"do": PACK}}, {"quick": {"do": [{"w": {"wait": {"seconds": 20}}}]}}]
                    },
                    "parallel": {"completion": "first"},
                }
            }
        ],
        {},
    ),
}


@pytest.mark.parametrize("around", TIMED)
def test_a_cut_drops_what_nobody_has_claimed(around):
    async def main(loop):
        callouts = Here()
        node = await running(loop, MemoryData(), callouts)
        tasks, top = TIMED[around]
        await deploy(node, tasks, **top)
        id_ = await start(node, {"item": 1})
        found = await ended(node, id_)
        [pack] = [each for each in found["tasks"] if each["name"] == "pack"]
        assert (pack["status"], pack["compensation"]["status"]) == ("cancelled", "none")
        assert not callouts.sent
        assert loop.time() < 25
        assert await claim(node) == []

    run(main)


@pytest.mark.parametrize("around", TIMED)
def test_a_cut_makes_what_is_claimed_uncertain_at_once(around):
    async def main(loop):
        callouts = Here()
        node = await running(loop, MemoryData(), callouts)
        tasks, top = TIMED[around]
        await deploy(node, tasks, **top)
        id_ = await start(node, {"item": 1})
        task = await only(node)
        found = await ended(node, id_)
        [pack] = [each for each in found["tasks"] if each["name"] == "pack"]
        assert (pack["status"], pack["compensation"]["status"]) == ("compensated", "completed")
        assert [each.arguments for each in callouts.sent] == [{"of": task["idempotency_key"]}]
        assert loop.time() < 25
        with pytest.raises(StaleTokenError):
            await node.claims.complete(task["task_id"], task["token"], {})

    run(main)


def test_a_claim_in_the_instant_of_the_timeout_is_one_or_the_other():
    seen: Counter[str] = Counter()

    async def main(loop):
        callouts = Here()
        data = MemoryData()
        nodes = [await running(loop, data, callouts, alone=False, seed=each) for each in range(2)]
        tasks, top = TIMED["scope"]
        await deploy(nodes[0], tasks, **top)
        ids = [await start(nodes[0], {"item": each}) for each in range(12)]
        await asyncio.sleep(19.9 - loop.time())
        found = []
        while loop.time() < 21.5:
            found += await claim(nodes[1])
            await asyncio.sleep(0.01)
        handed_out = {each["orchestration"] for each in found}
        for id_ in ids:
            result = await ended(nodes[0], id_)
            [pack] = [each for each in result["tasks"] if each["name"] == "pack"]
            assert pack["status"] == ("compensated" if id_ in handed_out else "cancelled")
            seen[pack["status"]] += 1
        assert len(handed_out) == len(found)

    for seed in range(10):
        run(main, seed)
    assert set(seen) == {"compensated", "cancelled"}, seen


def test_work_of_what_is_suspended_waits_for_the_resume():
    async def main(loop):
        data = MemoryData()
        node = await running(loop, data, Here())
        await deploy(node, PACK)
        id_, other = await start(node), await start(node)
        await node.commands.suspend(CommandRequest(id=id_))
        assert (await only(node))["orchestration"] == other
        assert await claim(node, wait_s=5.0) == []
        [shown] = [each for each in (await node.functions.list())["items"] if each["function"] == "pack"]
        assert (shown["waiting"], shown["held"], shown["claimed"]) == (0, 1, 1)
        waiting = loop.create_task(claim(node, wait_s=30.0))
        await asyncio.sleep(2)
        began = loop.time()
        await node.commands.resume(CommandRequest(id=id_))
        [task] = await waiting
        assert loop.time() - began < 0.5
        assert task["orchestration"] == id_
        await node.claims.complete(task["task_id"], task["token"], 1)
        assert (await ended(node, id_))["output"] == 1

    run(main)


def test_what_is_suspended_stays_so_through_crashes_and_with_functions_that_move():
    async def main(loop):
        data = MemoryData()
        process = Process(loop, 1)
        inside = Here("pack")
        inside._answer = _never
        node = await process.call(running(loop, data, inside))
        await process.call(deploy(node, PACK))
        id_ = await process.call(start(node))
        await asyncio.sleep(1)
        await process.call(node.commands.suspend(CommandRequest(id=id_)))
        process.kill()
        second = Process(loop, 2)
        other = await second.call(running(loop, data, Here(), seed=2))  # now it is work for workers
        assert await second.call(claim(other, wait_s=20.0)) == []
        second.kill()
        third = await running(loop, data, Here(), seed=3)
        assert await claim(third, wait_s=20.0) == []
        await third.commands.resume(CommandRequest(id=id_))
        task = await only(third)
        await third.claims.complete(task["task_id"], task["token"], "done")
        assert (await ended(third, id_, 60.0))["output"] == "done"

    run(main)


def test_a_cancel_of_what_is_suspended_drops_what_was_held():
    async def main(loop):
        node = await running(loop, MemoryData(), Here())
        await deploy(node, PACK)
        id_ = await start(node)
        await node.commands.suspend(CommandRequest(id=id_))
        await node.commands.cancel(CommandRequest(id=id_))
        found = await ended(node, id_, 60.0)
        assert [each["status"] for each in found["tasks"]] == ["cancelled"]

    run(main)


def test_a_report_while_suspended_counts_at_resume():
    async def main(loop):
        data = MemoryData()
        node = await running(loop, data, Here())
        await deploy(node, PACK)
        id_ = await start(node)
        task = await only(node)
        await node.commands.suspend(CommandRequest(id=id_))
        await node.claims.complete(task["task_id"], task["token"], {"box": 1})
        assert (await status(node, id_))["status"] == "suspended"
        assert not await claim(node, wait_s=3.0)
        await node.commands.resume(CommandRequest(id=id_))
        assert (await ended(node, id_))["output"] == {"box": 1}

    run(main)


def test_nothing_of_what_was_terminated_is_handed_out_or_reported():
    async def main(loop):
        node = await running(loop, MemoryData(), Here())
        await deploy(node, PACK)
        waits, claimed = await start(node), await start(node)
        task = await only(node)
        for id_ in (waits, claimed):
            await node.commands.terminate(CommandRequest(id=id_))
        assert await claim(node) == []
        with pytest.raises(StaleTokenError):
            await node.claims.complete(task["task_id"], task["token"], {})

    run(main)


def test_a_timeout_around_it_ends_what_nobody_claims():
    async def main(loop):
        node = await running(loop, MemoryData(), Here())
        await deploy(node, PACK, timeout={"after": {"hours": 1}})
        id_ = await start(node)
        assert (await ended(node, id_))["status"] in ("compensated", "faulted")
        assert await claim(node) == []

    run(main)


def test_what_the_last_owner_left_is_gone_on_with():
    """A node dies with work that waits, work at a worker, and a report that it had not carried out."""

    async def main(loop):
        data = MemoryData()
        process = Process(loop, 1)
        node = await process.call(running(loop, data, Here()))
        await process.call(deploy(node, PACK))
        ids = [await process.call(start(node, {"item": each})) for each in range(3)]
        tasks = [await process.call(only(node)) for _ in range(2)]
        key = node.claims._opened(tasks[0]["task_id"])
        reported = await node.world.storage.tasks.report(
            key, bytes.fromhex(tasks[0]["token"]), packed("completed", output="late")
        )
        assert reported
        process.kill()
        other = await running(loop, data, Here(), seed=2)
        done = await ended(other, tasks[0]["orchestration"], 30.0)
        assert done["output"] == "late"
        await other.claims.complete(tasks[1]["task_id"], tasks[1]["token"], "by the same worker")
        last = await only(other)
        await other.claims.complete(last["task_id"], last["token"], "third")
        outputs = {(await ended(other, id_, 30.0))["output"] for id_ in ids}
        assert outputs == {"late", "by the same worker", "third"}

    run(main)


def test_a_function_that_comes_into_the_process_or_leaves_it_takes_its_work_along():
    async def main(loop):
        data = MemoryData()
        node = await running(loop, data, Here())
        await deploy(node, PACK)
        ids = [await start(node), await start(node)]
        task = await only(node)
        await node.stop()
        inside = Here("pack")
        second = await running(loop, data, inside, seed=2)
        for id_ in ids:
            assert (await ended(second, id_, 30.0))["output"]["by"] == "process"
        assert task["idempotency_key"] in {each.idempotency_key for each in inside.sent}
        with pytest.raises(StaleTokenError):
            await second.claims.complete(task["task_id"], task["token"], {})

        async def never(_callout):
            await loop.create_future()

        inside._answer = never
        third_id = await start(second)
        await second.stop()
        third = await running(loop, data, Here(), seed=3)
        task = await only(third, wait_s=10.0)
        assert task["orchestration"] == third_id
        await third.claims.complete(task["task_id"], task["token"], "outside")
        assert (await ended(third, third_id, 30.0))["output"] == "outside"

    run(main)


async def _never(_callout):
    await asyncio.get_running_loop().create_future()


def test_a_function_that_leaves_the_process_again_is_work_again():
    """A worker had it, then a process that died with it, and now it is for workers again."""

    async def main(loop):
        data = MemoryData()
        node = await running(loop, data, Here())
        await deploy(node, PACK)
        id_ = await start(node)
        first = await only(node)
        await node.stop()
        inside = Here("pack")
        inside._answer = _never
        process = Process(loop, 5)
        await process.call(running(loop, data, inside, seed=2))
        await asyncio.sleep(5)
        assert [each.idempotency_key for each in inside.sent] == [first["idempotency_key"]]
        process.kill()
        third = await running(loop, data, Here(), seed=3)
        again = await only(third, wait_s=20.0)
        assert again["idempotency_key"] == first["idempotency_key"]
        assert again["token"] != first["token"]
        with pytest.raises(StaleTokenError):
            await third.claims.complete(first["task_id"], first["token"], "late")
        await third.claims.complete(again["task_id"], again["token"], "at last")
        assert (await ended(third, id_, 60.0))["output"] == "at last"

    run(main)


def test_what_a_process_may_have_begun_is_not_dropped_without_effect():
    async def main(loop):
        data = MemoryData()
        inside = Here("pack")
        inside._answer = _never
        process = Process(loop, 5)
        node = await process.call(running(loop, data, inside))
        await process.call(deploy(node, PACK))
        id_ = await process.call(start(node))
        await asyncio.sleep(1)
        process.kill()
        callouts = Here()
        other = await running(loop, data, callouts, seed=2)
        await asyncio.sleep(5)
        await other.commands.cancel(CommandRequest(id=id_))
        found = await ended(other, id_, 60.0)
        assert [each["status"] for each in found["tasks"]] == ["compensated"]
        assert [each.arguments["of"] for each in callouts.sent] == [inside.sent[0].idempotency_key]

    run(main)


def test_what_was_reported_before_a_terminate_is_in_the_history_and_so_is_what_never_began():
    async def main(loop):
        data = MemoryData()
        process = Process(loop, 5)
        node = await process.call(running(loop, data, Here()))
        await process.call(deploy(node, PACK))
        ids = [await process.call(start(node)) for _ in range(2)]
        task = await process.call(only(node))
        key = node.claims._opened(task["task_id"])
        report = packed("completed", output="done")
        assert await node.world.storage.tasks.report(key, bytes.fromhex(task["token"]), report)
        for id_ in ids:
            await process.call(node.commands.terminate(CommandRequest(id=id_)))
        process.kill()
        other = await running(loop, data, Here(), seed=2)
        await asyncio.sleep(10)
        told = {each.state.id: each.events[-1] for each in folded(data)}
        assert {id_: (type(event).__name__, getattr(event, "effect", None)) for id_, event in told.items()} == {
            id_: ("ResultLate", "completed" if id_ == task["orchestration"] else "failed") for id_ in ids
        }
        assert all(row.status == "ended" for part in data.partitions for row in part.tasks.values())
        assert await claim(other) == []

    run(main)


@pytest.mark.parametrize("seed", range(3))
def test_a_thousand_tasks_are_handed_out_once_each_by_two_nodes_to_four_workers(seed):
    async def main(loop):
        data = MemoryData()
        nodes = [await running(loop, data, Here(), alone=False, seed=10 * seed + each) for each in range(2)]
        await deploy(nodes[0], PACK)
        count = 1000 if seed == 0 else 100
        ids = [await start(nodes[each % 2], {"item": each}) for each in range(count)]
        seen: Counter[str] = Counter()

        async def work(node, name):
            while tasks := await claim(node, name, most=7, wait_s=3.0):
                for task in tasks:
                    seen[task["orchestration"]] += 1
                    await node.claims.complete(task["task_id"], task["token"], task["arguments"])

        await asyncio.gather(*[work(nodes[each % 2], f"w{each}") for each in range(4)])
        assert seen == Counter(ids)
        for number, id_ in enumerate(ids):
            assert (await ended(nodes[0], id_, 60.0))["output"] == {"item": number}

    run(main, seed)


def test_holding_back_and_limits_hold_at_all_nodes_and_through_restarts():
    async def main(loop):
        data = MemoryData()
        nodes = [await running(loop, data, Here(), alone=False, seed=each) for each in range(2)]
        await deploy(nodes[0], PACK)
        for _ in range(12):
            await start(nodes[0])
        got = [await only(nodes[each]) for each in range(2)]
        polls = [loop.create_task(claim(node, wait_s=20.0)) for node in nodes]
        held = [task for poll in polls for task in await poll]
        await nodes[0].functions.pause("pack")
        for node in nodes:
            assert await claim(node, wait_s=5.0) == []
        for node, task in zip(nodes, got, strict=True):  # what workers have may end, at any node
            await node.claims.complete(task["task_id"], task["token"], 1)
        await nodes[1].functions.resume("pack")
        assert [len(await claim(node)) for node in nodes] == [1, 1]
        draining = await nodes[1].functions.drain("pack")
        assert (draining["draining"], draining["claimed"], draining["waiting"]) == (True, 4, 6)
        assert [await claim(node, wait_s=2.0) for node in nodes] == [[], []]
        await nodes[0].stop()
        nodes[0] = await running(loop, data, Here(), alone=False, seed=7)
        assert [await claim(node, wait_s=2.0) for node in nodes] == [[], []]
        for task in held:
            await nodes[0].claims.complete(task["task_id"], task["token"], 1)
        assert (await nodes[0].functions.get("pack"))["claimed"] == 2
        await nodes[0].functions.limit("pack", 4, None)
        await nodes[1].functions.resume("pack")
        handed_out = await asyncio.gather(*[claim(nodes[each % 2], most=3) for each in range(6)])
        assert sum(map(len, handed_out)) == 2

    for seed in range(3):
        run(main, seed)


def test_definitions_take_turns():
    async def main(loop):
        data = MemoryData()
        node = await running(loop, data, Here())
        await deploy(node, PACK, "many")
        await deploy(node, PACK, "few")
        for _ in range(40):
            await start(node, name="many")
        for _ in range(4):
            await start(node, name="few")
        found = folded(data)
        of = {each.state.id: each.state.definition for each in found}
        first = [of[(await only(node))["orchestration"]] for _ in range(16)]
        assert sum("few" in each for each in first) >= 3

    run(main)


def test_pause_limits_and_lists():
    async def main(loop):
        node = await running(loop, MemoryData(), Here())
        await deploy(node, PACK)
        for _ in range(3):
            await start(node)
        with pytest.raises(NotFoundError):
            await node.functions.pause("nobody")
        with pytest.raises(InvalidInputError):
            await node.functions.pause("undo")
        shown = await node.functions.get("pack")
        assert (shown["waiting"], shown["claimed"], shown["in_process"]) == (3, 0, False)
        assert shown["last_claimed_at"] is shown["asked_at"] is None
        await node.functions.pause("pack")
        assert await claim(node, wait_s=2.0) == []
        await node.functions.resume("pack")
        await node.functions.limit("pack", 1, None)
        task = await only(node, most=5)
        assert await claim(node) == []
        shown = await node.functions.drain("pack")
        assert (shown["claimed"], shown["workers"], shown["draining"]) == (1, ["w"], True)
        await node.claims.complete(task["task_id"], task["token"], {})
        assert await claim(node) == []
        await node.functions.resume("pack")
        assert await claim(node)

    run(main)


def test_ids_that_nobody_was_given_are_not_found():
    async def main(loop):
        node = await running(loop, MemoryData(), Here())
        for task_id in ("", "x", "o_" + "a" * 22, "A" * 400):
            with pytest.raises(NotFoundError):
                await node.claims.complete(task_id, "00", {})

    run(main)
