"""Two things at once: every order in which they can happen is made to happen, and each has a right ending.

In the simulated world the seed draws the order of coroutines; `every_order` goes through seeds until each ending that is
possible has been seen. The same races run over SQLite in real time, where any order will do.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec
import pytest

from adapters.bootstrap import ServerlessWorkflowDocuments
from adapters.cron import next_cron
from adapters.expressions.inline import InlineJq
from adapters.expressions.schemas import JsonSchemas
from adapters.sqlite.storage import SqliteStorage
from adapters.stored_events import EventMapper
from adapters.system import ProcessLiveness, SystemChance, SystemClock
from application.ports import Answered, Callout, CalloutResult
from application.runtime import Node
from application.service import CommandRequest, EventOutcome, ListRequest, StartRequest
from application.world import Options, World
from domain.errors import (
    BusinessKeyInUseError,
    OrchestrationEndedError,
    RetraceError,
    VersionMismatchError,
)
from tests.simulation.folded import Folded, folded
from tests.simulation.loop import Process, ProcessDiedError, SimulatedLoop, simulate
from tests.simulation.memory_storage import MemoryData
from tests.simulation.nodes import Scripted, deploy, ended, running, start
from tests.simulation.participants import KnownSecrets, NoResources, SimulatedSink

pytestmark = pytest.mark.anyio
UNDO = {"call": "undo", "with": {"of": "${ $task.key }"}}
LISTEN = {"listen": {"to": {"one": {"with": {"type": "paid"}}}}}


class Scene:
    """A node with its database, for one run of a race."""

    def __init__(self, loop: SimulatedLoop, seed: int) -> None:
        self.loop = loop
        self.data = MemoryData()
        self.delays = random.Random(f"delays {seed}")
        self.seed = seed
        self.takes_s: dict[str, float] = {}
        self.callouts = Scripted(self._answer)
        self.node: Node

    async def _step(self, _operation: str) -> None:
        await asyncio.sleep(self.delays.choice((0, 0, 0.001, 0.002)))

    async def _answer(self, callout: Callout) -> CalloutResult:
        await asyncio.sleep(self.takes_s.get(callout.function, 0.001))
        return Answered({"key": callout.idempotency_key})

    async def open(self) -> None:
        self.node = await running(self.loop, self.data, self.callouts, step=self._step, seed=self.seed)

    @property
    def undone(self) -> list[str]:
        """Keys of what was undone, in order."""
        return [callout.compensates for callout in self.callouts.sent if callout.compensates]

    def folded(self, id_: str) -> Folded:
        return next(each for each in folded(self.data) if each.state.id == id_)


Race = Callable[[Scene], Awaitable[Any]]


def every_order(race: Race, *endings: Any, at_most: int = 400) -> None:
    """Run until every one of these endings, and no other, was seen."""
    seen: dict[Any, int] = {}
    for seed in range(at_most):

        async def main(loop, seed=seed):
            scene = Scene(loop, seed)
            await scene.open()
            ending = await race(scene)
            assert not loop.failures, loop.failures
            return ending

        ending = simulate(seed, main, most_steps=200_000)
        assert ending in endings, f"seed {seed}: {ending}"
        seen[ending] = seed
        if len(seen) == len(endings) and seed >= 10:
            return
    assert set(seen) == set(endings), f"never seen: {set(endings) - set(seen)}"


async def refused(work: Awaitable[Any]) -> str:
    """`done`, or the code of the refusal."""
    try:
        await work
    except RetraceError as error:
        return error.code
    return "done"


def event(id_: str = "e1", type_: str = "paid") -> dict[str, Any]:
    return {"specversion": "1.0", "id": id_, "source": "https://outside.test", "type": type_, "data": {"n": 1}}


# Starts -----------------------------------------------------------------------------------------------------------------


async def same_start(node: Node) -> list[str]:
    return await asyncio.gather(*(start(node, {"n": 1}, idempotency_key="one", business_key="b") for _ in range(50)))


async def same_business_key(node: Node) -> tuple[list[str], list[BusinessKeyInUseError]]:
    results = await asyncio.gather(
        *(start(node, {"n": n}, business_key="b") for n in range(50)), return_exceptions=True
    )
    refusals = [result for result in results if isinstance(result, BusinessKeyInUseError)]
    return [result for result in results if isinstance(result, str)], refusals


def test_the_same_start_fifty_times_at_once():
    async def race(scene):
        await deploy(scene.node, [{"a": {"call": "act"}}])
        ids = await same_start(scene.node)
        return len(set(ids)), len(folded(scene.data))

    every_order(race, (1, 1), at_most=15)


def test_a_business_key_wanted_by_fifty_at_once():
    async def race(scene):
        await deploy(scene.node, [{"l": LISTEN}])
        started, refusals = await same_business_key(scene.node)
        assert {error.orchestration for error in refusals} == set(started)
        return len(started), len(refusals), len(folded(scene.data))

    every_order(race, (1, 49, 1), at_most=15)


def test_a_business_key_is_free_again_after_the_end():
    async def race(scene):
        await deploy(scene.node, [{"l": LISTEN}])
        first = await start(scene.node, business_key="b")
        assert await refused(start(scene.node, business_key="b")) == "business-key-in-use"
        await scene.node.commands.send_event(first, event())
        started, _ = await same_business_key(scene.node)
        return len(started)

    every_order(race, 1, at_most=12)


# Events -----------------------------------------------------------------------------------------------------------------


def test_an_event_and_the_wait_for_it():
    async def race(scene):
        scene.takes_s["act"] = 0.005
        await deploy(scene.node, [{"a": {"call": "act"}}, {"l": LISTEN}])
        id_ = await start(scene.node)
        await asyncio.sleep(scene.delays.choice((0, 0.01, 0.015)))
        outcomes = await asyncio.gather(*(scene.node.commands.send_event(id_, event()) for _ in range(2)))
        status = await ended(scene.node, id_, 60)
        assert status["status"] == "completed"
        assert status["output"] == [{"n": 1}]
        assert (await scene.node.commands.send_event(id_, event())).outcome == "duplicate", "also after the end"
        with pytest.raises(OrchestrationEndedError):
            await scene.node.commands.send_event(id_, event("another"))
        return tuple(sorted(outcome.outcome for outcome in outcomes))

    every_order(race, ("duplicate", "held"), ("duplicate", "matched"))


def test_a_publisher_and_a_subscriber_always_meet():
    async def race(scene):
        scene.takes_s["act"] = 0.005
        await deploy(scene.node, [{"a": {"call": "act"}}, {"l": LISTEN}])
        id_ = await start(scene.node)
        await asyncio.sleep(scene.delays.choice((0, 0.01, 0.015)))
        outcome = await scene.node.commands.publish_event(event())
        assert (await ended(scene.node, id_, 60))["status"] == "completed"
        return outcome

    every_order(race, EventOutcome("held"), EventOutcome("matched"))


def test_a_held_event_goes_to_one():
    async def race(scene):
        await deploy(scene.node, [{"l": LISTEN}])
        await scene.node.commands.publish_event(event())
        ids = await asyncio.gather(*(start(scene.node) for _ in range(5)))
        await asyncio.sleep(1)
        return sum([(await scene.node.queries.status(id_))["status"] == "completed" for id_ in ids])

    every_order(race, 1, at_most=30)


def test_an_event_goes_to_everyone_who_waits():
    async def race(scene):
        await deploy(scene.node, [{"l": LISTEN}])
        ids = await asyncio.gather(*(start(scene.node) for _ in range(5)))
        await asyncio.gather(*(scene.node.commands.publish_event(event()) for _ in range(3)))
        return tuple([(await ended(scene.node, id_, 60))["status"] for id_ in ids])

    every_order(race, ("completed",) * 5, at_most=30)


def test_published_while_suspended_is_taken_at_resume():
    async def race(scene):
        await deploy(scene.node, [{"l": LISTEN}])
        id_ = await start(scene.node)
        await scene.node.commands.suspend(CommandRequest(id=id_))
        outcome, _ = await asyncio.gather(
            scene.node.commands.publish_event(event()), scene.node.commands.resume(CommandRequest(id=id_))
        )
        assert (await ended(scene.node, id_, 60))["status"] == "completed"
        return outcome

    every_order(race, EventOutcome("matched"))


def test_a_death_between_the_subscription_and_its_look():
    """The node dies at each step of the loop in turn; whoever subscribed gets what was held."""

    async def lives(loop, steps):
        """Whether the node outlived the race when it was to die after so many steps."""
        data = MemoryData()
        first = Process(loop, 1)
        node = await first.call(running(loop, data))
        await first.call(deploy(node, [{"l": LISTEN}]))
        await first.call(node.commands.publish_event(event()))
        request = StartRequest(definition="test/x", input={}, idempotency_key="k")
        loop.at_step = (loop.steps + steps, first.kill)
        try:
            id_ = await first.call(node.commands.start(request))
            await first.call(ended(node, id_, 5))
        except ProcessDiedError:
            node = await running(loop, data, seed=2)
            id_ = await node.commands.start(request)
            assert (await ended(node, id_, 60))["status"] == "completed", f"died at step {steps}"
            return False
        return True

    steps = next(steps for steps in itertools.count(1) if simulate(1, partial(lives, steps=steps)))
    assert steps > 20, "it hardly died"


# Time, results and commands ---------------------------------------------------------------------------------------------


def test_a_timeout_and_the_completion():
    async def race(scene):
        scene.takes_s["act"] = 5.0 + scene.delays.choice((0, 0.001, -0.001))
        inner = {"do": [{"a": {"call": "act", "compensate": UNDO}}], "timeout": {"after": {"seconds": 5}}}
        await deploy(scene.node, [{"d": inner}])
        id_ = await start(scene.node)
        status = (await ended(scene.node, id_))["status"]
        await asyncio.sleep(60)
        assert len(scene.undone) == (status == "compensated")
        return status

    every_order(race, "completed", "compensated")


def test_a_cancel_and_the_completion():
    async def race(scene):
        scene.takes_s["act"] = 0.004
        await deploy(scene.node, [{"a": {"call": "act", "compensate": UNDO}}])
        id_ = await start(scene.node)
        await asyncio.sleep(scene.delays.choice((0, 0.004, 0.006)))
        code = await refused(scene.node.commands.cancel(CommandRequest(id=id_)))
        status = (await ended(scene.node, id_))["status"]
        assert len(scene.undone) == (status == "cancelled")
        return code, status

    every_order(race, ("done", "cancelled"), ("orchestration-ended", "completed"))


def test_a_cancel_during_an_attempt_awaits_it_and_undoes_it():
    async def race(scene):
        scene.takes_s["act"] = 20
        await deploy(scene.node, [{"a": {"call": "act", "compensate": UNDO}}, {"b": {"call": "never"}}])
        id_ = await start(scene.node)
        await asyncio.sleep(1)
        codes = await asyncio.gather(*(refused(scene.node.commands.cancel(CommandRequest(id=id_))) for _ in range(3)))
        status = await ended(scene.node, id_)
        assert codes == ["done"] * 3
        assert [callout.function for callout in scene.callouts.sent] == ["act", "undo"]
        return status["status"], status["rollback"]["steps"][0]["outcome"]

    every_order(race, ("cancelled", "completed"), at_most=15)


def test_a_cancel_while_compensating_changes_nothing():
    async def race(scene):
        scene.takes_s["undo"] = 5
        refusal = {"raise": {"error": {"type": "https://test.invalid/no", "status": 409}}}
        await deploy(scene.node, [{"a": {"call": "act", "compensate": UNDO}}, {"r": refusal}])
        id_ = await start(scene.node)
        await asyncio.sleep(1)
        before = (await scene.node.queries.status(id_))["version"]
        answer = await scene.node.commands.cancel(CommandRequest(id=id_))
        assert (answer.status, answer.version) == ("compensating", before)
        return (await ended(scene.node, id_))["status"]

    every_order(race, "compensated", at_most=12)


def test_a_timer_and_a_suspension():
    async def race(scene):
        await deploy(scene.node, [{"w": {"wait": {"seconds": 1}}}])
        id_ = await start(scene.node)
        await asyncio.sleep(1.0 - scene.loop.time() % 1 + scene.delays.choice((0.004, 0.008, 0.012)))
        code = await refused(scene.node.commands.suspend(CommandRequest(id=id_)))
        await asyncio.sleep(100)
        status = (await scene.node.queries.status(id_))["status"]
        if code == "done":
            assert status == "suspended"
            await scene.node.commands.resume(CommandRequest(id=id_))
        assert (await ended(scene.node, id_, 1))["status"] == "completed"
        return code

    every_order(race, "done", "orchestration-ended")


def test_terminated_while_suspended_keeps_what_came_meanwhile():
    """Found by simulation: what the result told of the world was forgotten."""

    async def race(scene):
        scene.takes_s["act"] = 5
        await deploy(scene.node, [{"a": {"call": "act", "compensate": UNDO}}])
        id_ = await start(scene.node)
        await scene.node.commands.suspend(CommandRequest(id=id_))
        await asyncio.sleep(10)
        await scene.node.commands.terminate(CommandRequest(id=id_))
        (run,) = scene.folded(id_).state.runs.values()
        return run.effect

    every_order(race, "completed", at_most=12)


def test_two_commands_for_one_version():
    async def race(scene):
        await deploy(scene.node, [{"l": LISTEN}])
        id_ = await start(scene.node)
        version = (await scene.node.queries.status(id_))["version"]
        request = CommandRequest(id=id_, if_match=version)
        commands = scene.node.commands
        results = await asyncio.gather(
            commands.suspend(request), commands.cancel(request), commands.terminate(request), return_exceptions=True
        )
        assert sum(isinstance(result, VersionMismatchError) for result in results) == 2
        return (await scene.node.queries.status(id_))["status"]

    every_order(race, "suspended", "cancelled", "terminated")


def test_suspend_cancel_and_terminate_at_once():
    async def race(scene):
        scene.takes_s["act"] = 0.003
        await deploy(scene.node, [{"a": {"call": "act", "compensate": UNDO}}, {"l": LISTEN}])
        id_ = await start(scene.node)
        await asyncio.sleep(0.05)
        commands, request = scene.node.commands, CommandRequest(id=id_)
        codes = await asyncio.gather(
            refused(commands.suspend(request)), refused(commands.cancel(request)), refused(commands.terminate(request))
        )
        status = await ended(scene.node, id_, 60)
        state = scene.folded(id_).state
        assert not state.open
        return (*codes, status["status"])

    ended_ = "orchestration-ended"
    every_order(
        race,
        ("done", "done", "done", "terminated"),
        ("done", ended_, "done", "terminated"),
        (ended_, ended_, "done", "terminated"),
        (ended_, "done", "done", "terminated"),
    )


def test_a_parent_is_cancelled_while_its_child_completes():
    async def race(scene):
        scene.takes_s["act"] = 0.004
        await deploy(scene.node, [{"a": {"call": "act", "compensate": UNDO}}], name="child")
        run = {"run": {"workflow": {"namespace": "test", "name": "child", "version": "1.0.0"}}}
        await deploy(scene.node, [{"r": run}])
        id_ = await start(scene.node)
        await asyncio.sleep(scene.delays.choice((0, 0.004, 0.006)))
        code = await refused(scene.node.commands.cancel(CommandRequest(id=id_)))
        parent = (await ended(scene.node, id_))["status"]
        await asyncio.sleep(60)
        child = next(each.state for each in folded(scene.data) if each.state.depth)
        assert len(scene.undone) == (parent == "cancelled")
        return code, parent, child.status

    every_order(
        race,
        ("done", "cancelled", "cancelled"),
        ("orchestration-ended", "completed", "completed"),
    )


def test_a_node_that_lost_everything_does_not_spoil_the_view():
    """Found by simulation: what it remembered was older than the log that it read."""

    async def race(scene):
        await deploy(scene.node, [{"l": LISTEN}])
        id_ = await start(scene.node)
        other = await running(scene.loop, scene.data, Scripted(), seed=99)
        await other.commands.send_event(id_, event())
        await scene.node.projector.rebuild()
        await scene.node.projector.caught_up()
        await other.projector.caught_up()
        return tuple(row.status for row in scene.data.status.values())

    every_order(race, ("completed",), at_most=12)


def test_a_node_that_lost_its_partitions_asks_the_one_that_has_them():
    async def race(scene):
        await deploy(scene.node, [{"l": LISTEN}])
        id_ = await start(scene.node)
        other = await running(scene.loop, scene.data, Scripted(), seed=99)
        await other.commands.send_event(id_, event())
        write = await refused(scene.node.commands.suspend(CommandRequest(id=id_)))
        read = (await scene.node.queries.status(id_))["status"]
        return write, read, (await other.queries.status(id_))["status"]

    every_order(race, ("orchestration-ended", "completed", "completed"), at_most=12)


# In real time, over SQLite ----------------------------------------------------------------------------------------------


@pytest.fixture
async def node(tmp_path):
    callouts = Scripted()
    world = World(
        storage=SqliteStorage(tmp_path / "races.db"),
        codec=EventMapper(),
        documents=ServerlessWorkflowDocuments(),
        expressions=InlineJq(),
        schemas=JsonSchemas(),
        resources=NoResources(),
        callouts=callouts,
        sink=SimulatedSink(),
        secrets=KnownSecrets(),
        clock=SystemClock(),
        chance=SystemChance(),
        liveness=ProcessLiveness(),
        crons=next_cron,
    )
    node = Node(world, Options(partitions=4))
    await node.start()
    await node.go_on()
    yield node
    await node.stop()


async def test_sqlite_the_same_start(node):
    await deploy(node, [{"a": {"call": "act"}}])
    assert len(set(await same_start(node))) == 1


async def test_sqlite_a_business_key(node):
    await deploy(node, [{"l": LISTEN}])
    started, refusals = await same_business_key(node)
    assert len(started) == 1
    assert {error.orchestration for error in refusals} == set(started)


async def test_sqlite_publishers_and_subscribers_always_meet(node):
    await deploy(
        node,
        [
            {"a": {"call": "act"}},
            {"l": {"listen": {"to": {"one": {"with": {"type": "${ . == $workflow.input.wanted }"}}}}}},
        ],
    )
    for turn in range(20):
        wanted = f"paid.{turn}"
        id_, _ = await asyncio.gather(
            start(node, {"wanted": wanted}), node.commands.publish_event(event(f"e{turn}", wanted))
        )
        assert (await ended(node, id_, 20))["status"] == "completed"


async def test_sqlite_a_cancel_and_the_completion(node):
    await deploy(node, [{"a": {"call": "act", "compensate": UNDO}}])
    for _ in range(20):
        id_ = await start(node)
        code = await refused(node.commands.cancel(CommandRequest(id=id_)))
        status = (await ended(node, id_, 20))["status"]
        assert (code, status) in {("done", "cancelled"), ("orchestration-ended", "completed")}


async def test_sqlite_two_commands_for_one_version(node):
    await deploy(node, [{"l": LISTEN}])
    for _ in range(10):
        id_ = await start(node)
        request = CommandRequest(id=id_, if_match=(await node.queries.status(id_))["version"])
        results = await asyncio.gather(
            node.commands.suspend(request), node.commands.cancel(request), return_exceptions=True
        )
        assert sum(isinstance(result, VersionMismatchError) for result in results) == 1


def test_a_list_shows_what_was_answered_before_it():
    async def race(scene):
        await deploy(scene.node, [{"a": {"call": "act"}}])
        found = []
        for _ in range(5):
            id_ = await start(scene.node)
            await scene.node.queries.wait(id_, 60)
            listed = await scene.node.queries.list(ListRequest(limit=1))
            found.append(msgspec.json.decode(listed["items"][0])["status"])
        return tuple(found)

    every_order(race, ("completed",) * 5, at_most=12)
