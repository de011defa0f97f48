"""Lifecycle events: what is told, and that all of it is, in order, whatever dies or refuses meanwhile."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from typing import Any

import pytest

from adapters.stored_events import EventMapper
from application.lifecycle import TYPES, Subject, lifecycle_events
from application.ports import Answered, Declined
from application.service import CommandRequest
from domain.errors import fault
from domain.events import TOPICS, Beginning
from domain.lifecycle import ORCHESTRATION
from tests.simulation.checker import complaints
from tests.simulation.folded import stored_of
from tests.simulation.loop import Process, simulate
from tests.simulation.memory_storage import MemoryData
from tests.simulation.nodes import Scripted, deploy, ended, running, start
from tests.simulation.participants import KnownSecrets, SimulatedSink
from tests.simulation.world import Simulation, Trouble, run_seed

SEEDS = int(os.environ.get("RETRACE_SIMULATE_SEEDS", "500")) // 60
CHANGED = "workflow.status-changed.v1"
SAGA = [
    {"hotel": {"call": "book", "compensate": {"call": "cancel"}}},
    {"flight": {"call": "fly"}},
]


def short(event: dict[str, Any]) -> str:
    task = event["data"].get("task", "")
    return f"{event['type'].removeprefix('io.serverlessworkflow.')} {task}".strip()


def phases(events: list[dict[str, Any]]) -> list[str]:
    return [each["data"]["status"] for each in events if short(each) == CHANGED]


def told(sink: Any) -> dict[str, list[dict[str, Any]]]:
    """By subject, in the order of first arrival; repeats dropped by source and id, as receivers do."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for event in sink.events:
        known = found.setdefault(event["subject"], {}).setdefault(event["id"], event)
        assert known == event, "a repeat has the same content"
    return {subject: list(events.values()) for subject, events in found.items()}


def wrong(world: Simulation) -> list[str]:
    """What was told is not what the log says; and what else does not hold."""
    found = complaints(world)
    stored = stored_of(world.data)
    codec = EventMapper()
    heard = told(world.lifecycle)
    subjects: dict[Any, Subject] = {}
    expected: dict[str, list[str]] = {}
    for number, partition in enumerate(stored.partitions):
        for record in partition.log:
            event = codec.decode(record.topic, stored.bytes_of(number, record))
            if isinstance(event, Beginning):
                subjects[record.orchestration] = Subject(event.id, event.definition)
            subject = subjects[record.orchestration]
            ids = [each["id"] for each in lifecycle_events(subject, record.version, event)]
            expected.setdefault(subject.id, []).extend(ids)
    for id_, ids in expected.items():
        got = [each["id"] for each in heard.get(id_, [])]
        if got != ids:
            found.append(f"{id_}: {len(got)} of {len(ids)} were told, or not in order")
    return found


@pytest.mark.parametrize(
    "trouble",
    [
        Trouble(lifecycle=0.0),
        Trouble(lifecycle=0.2, storage=0.05, crashes=8),
        Trouble(lifecycle=0.1, storage=0.0, crashes=40, crash_within=200),
        Trouble(lifecycle=0.1, storage=0.02, crashes=8, nodes=3, ghosts=0.8, pauses=0.6),
        Trouble(lifecycle=0.1, retention_s=20, orchestrations=8),
        Trouble(lifecycle=0.1, changes=8),
    ],
    ids=["calm", "sink and database fail", "nodes die", "owners linger", "archived", "forks and migrations"],
)
def test_everything_is_told_at_least_once_and_in_order(trouble):
    assert not {seed: found for seed in range(SEEDS) if (found := wrong(run_seed(seed, trouble)))}


def living(main: Any, answer: Any = None, **members: Any) -> list[dict[str, Any]]:
    """What is told of one orchestration."""
    sink = SimulatedSink()

    async def life(loop: Any) -> None:
        node = await running(loop, callouts=Scripted(answer), lifecycle=sink, **members)
        await main(node)
        await caught_up(node)
        assert node.sinks["lifecycle"].sent == len(sink.events)
        await node.stop()

    simulate(1, life)
    ((_, events),) = told(sink).items()
    return events


async def caught_up(node: Any, sink: Any = None) -> None:
    """All that is committed has been told, and something was."""
    while node.lifecycle.lag or (sink is not None and not sink.events):  # noqa: ASYNC110 - in virtual time
        await asyncio.sleep(0.1)


async def refusing(callout: Any) -> Any:
    return Declined(fault("communication", "no seats")) if callout.function == "fly" else Answered({"ok": 1})


def test_a_life_that_ends_well():
    async def main(node: Any) -> None:
        await deploy(node, [{"a": {"call": "book"}}, {"b": {"set": {"x": 1}}}])
        await ended(node, await start(node))

    events = living(main)
    assert [short(each) for each in events] == [
        "workflow.started.v1",
        CHANGED,
        "task.created.v1 /do/0/a",
        "task.started.v1 /do/0/a",
        "task.completed.v1 /do/0/a",
        "task.created.v1 /do/1/b",
        "task.started.v1 /do/1/b",
        "task.completed.v1 /do/1/b",
        "workflow.completed.v1",
        CHANGED,
    ]
    first, last = events[0], events[-2]
    assert phases(events) == ["running", "completed"]
    assert events[-1]["data"] == {"name": first["data"]["name"], "status": "completed", "updatedAt": last["time"]}
    assert first["data"]["definition"] == {"namespace": "test", "name": "x", "version": "1.0.0"}
    assert first["data"]["name"] == f"x-{first['subject']}.test"
    assert first["source"] == f"/v1/orchestrations/{first['subject']}"
    assert last["data"]["output"] == {"x": 1}
    assert [each["sequence"] for each in events] == sorted(each["sequence"] for each in events)
    assert all(each["specversion"] == "1.0" and each["time"].endswith("Z") for each in events)


def test_a_life_that_is_undone():
    async def main(node: Any) -> None:
        await deploy(node, SAGA)
        assert (await ended(node, await start(node)))["status"] == "compensated"

    events = living(main, refusing)
    names = [short(each) for each in events]
    assert names[-3:] == ["workflow.faulted.v1", "retrace.workflow.compensated.v1", CHANGED]
    assert phases(events) == ["running", "faulted"]
    wanted = [
        "task.faulted.v1 /do/1/flight",
        "retrace.workflow.compensating.v1",
        "retrace.task.compensating.v1 /do/0/hotel",
    ]
    assert [each for each in names if each in wanted] == wanted
    assert "retrace.task.compensated.v1 /do/0/hotel" in names
    assert events[-3]["data"]["error"]["detail"] == "no seats"
    assert {each["type"] for each in events} <= set(TYPES)


def test_suspend_resume_cancel_and_events():
    async def main(node: Any) -> None:
        await deploy(
            node, [{"w": {"listen": {"to": {"one": {"with": {"type": "go"}}}}}}, {"d": {"wait": {"hours": 1}}}]
        )
        id_ = await start(node)
        for command in (node.commands.suspend, node.commands.resume):
            await command(CommandRequest(id=id_))
        await node.commands.publish_event({"specversion": "1.0", "id": "1", "source": "/x", "type": "go"})
        await node.commands.cancel(CommandRequest(id=id_))
        await ended(node, id_)

    events = living(main)
    names = [short(each) for each in events]
    assert phases(events) == ["running", "suspended", "running", "cancelled"]
    for name in (
        "workflow.suspended.v1",
        "workflow.resumed.v1",
        "workflow.correlation-started.v1 /do/0/w",
        "workflow.correlation-completed.v1 /do/0/w",
        "task.cancelled.v1 /do/1/d",
    ):
        assert name in names
    assert names[-2] == "workflow.cancelled.v1"


def test_the_phase_follows_every_change_of_status_of_an_orchestration():
    """As far as the standard has one: it goes on running while it undoes."""
    phases_of = {"compensated": "faulted", "terminated": "cancelled"}
    for trigger, _, status in ORCHESTRATION:
        if trigger in ("start", "roll_back", "resume_rollback"):
            continue
        kind = TOPICS["orchestration.resumed" if trigger == "resume" else f"orchestration.{status}"]
        given = {"output": None} if trigger == "complete" else {}
        *_, last = lifecycle_events(Subject("o_1", "n/x@1.0.0"), 7, kind(at=datetime.now(UTC), **given))
        assert last["type"].endswith(CHANGED)
        assert last["data"]["status"] == phases_of.get(status, status)


def test_secrets_stay_hidden_and_large_outputs_are_left_out():
    async def leaking(callout: Any) -> Any:
        return Answered({"said": "hunter22"} if callout.function == "say" else {"long": "x" * 70_000})

    async def main(node: Any) -> None:
        await deploy(node, [{"a": {"call": "say"}}, {"b": {"call": "much"}}])
        await ended(node, await start(node))

    events = living(main, leaking, secrets=KnownSecrets(bank="hunter22"))
    assert "hunter22" not in str(events)
    long = next(each for each in events if short(each) == "task.completed.v1 /do/1/b")
    assert long["data"]["outputOmitted"] is True
    assert "output" not in long["data"]


@pytest.mark.parametrize(
    "output", [{"x": "y" * 300_000, "n": 1}, ["y" * 300_000], {"deep": [{"x": list(range(200_000))}]}]
)
def test_an_output_that_lies_beside_the_history_is_left_out(output):
    async def main(node: Any) -> None:
        await deploy(node, [{"a": {"call": "book"}}, {"b": {"set": {"x": 1}}}])
        await ended(node, await start(node))

    async def large(_: Any) -> Any:
        return Answered(output)

    data = [each["data"] for each in living(main, large) if short(each).startswith("task.completed.v1")]
    assert [(each.get("outputOmitted"), each.get("output")) for each in data] == [(True, None), (None, {"x": 1})]


def test_the_error_is_found_in_the_log_when_another_node_tells_the_end():
    sink = SimulatedSink()

    async def main(loop: Any) -> None:
        data = MemoryData()
        first = Process(loop, 1)
        node = await first.call(running(loop, data, Scripted(refusing), lifecycle=SimulatedSink()))
        await first.call(deploy(node, SAGA))
        id_ = await first.call(start(node))
        await first.call(ended(node, id_))
        first.kill()
        end = {key: partition.head.position - 1 for key, partition in enumerate(data.partitions)}
        for (number, name), _ in list(data.followers.items()):
            data.followers[number, name] = max(0, end[number])
        node = await running(loop, data, Scripted(refusing), lifecycle=sink, seed=2)
        await caught_up(node, sink)

    simulate(1, main)
    assert sink.events[0]["type"] == "io.serverlessworkflow.workflow.faulted.v1"
    assert sink.events[0]["data"]["error"]["detail"] == "no seats"


def test_without_a_sink_there_is_nothing():
    async def main(loop: Any) -> None:
        data = MemoryData()
        node = await running(loop, data)
        assert node.lifecycle is None
        assert data.followers == {}
        await node.stop()

    simulate(1, main)
