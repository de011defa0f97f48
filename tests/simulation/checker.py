"""What must be true at the end of a simulated life, whatever happened in it.

Most of it is asked of every kind of database (`tests.support.soundness`); here is what only a simulation can see: the
loop, the deadlines that were kept on the way, and the memory of the node.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise

from adapters.stored_events import EventMapper
from domain.evolve import evolve
from tests.simulation.folded import Folded, stored_of
from tests.simulation.loop import START
from tests.simulation.world import Simulation
from tests.support.soundness import (
    decision_complaints,
    effect_complaints,
    ending_complaints,
    log_complaints,
    start_complaints,
    view_complaints,
    work_complaints,
)
from tests.support.stored import fold_all

_CODEC = EventMapper()
_CLOCKS_APART = timedelta(seconds=1.5)


def complaints(world: Simulation) -> list[str]:
    """Everything that does not hold."""
    stored = stored_of(world.data)
    all_ = fold_all(stored)
    arrived = [callout.idempotency_key for callout in world.participants.sent]
    arrived += [task["idempotency_key"] for task in world.handed.tasks]
    return [
        *_loop_is_clean(world),
        *world.overdue,
        *(f"a verification found {alarm}" for alarm in world.alarms),
        *start_complaints(all_, world.acknowledged),
        *log_complaints(stored),
        *decision_complaints(stored, all_),
        *ending_complaints(all_),
        *effect_complaints(all_, world.participants.ledger.values(), arrived),
        *work_complaints(stored, all_, START + timedelta(seconds=world.loop.time())),
        *view_complaints(stored, all_),
        *_memory(world, all_),
        *_ownership(world),
        *_business_keys(all_),
        *_snapshots(world, all_),
        *_archive(all_),
        *_workers(world, all_),
        *_people(world, all_),
    ]


def _loop_is_clean(world: Simulation) -> Iterator[str]:
    for failure in world.loop.failures:
        yield f"a task failed unseen: {failure.get('exception')!r} {failure.get('message')}"


def _archive(all_: list[Folded]) -> Iterator[str]:
    archived = {each.state.id for each in all_ if each.archived}
    for each in all_:
        if each.archived and not each.state.final:
            yield f"{each.state.id} is archived as {each.state.status}"
        if each.state.root in archived and not each.archived:
            yield f"{each.state.id} is not archived, but its root is"


def _memory(world: Simulation, all_: list[Folded]) -> Iterator[str]:
    for node in world.nodes:
        for each in all_:
            live = node.cache.peek_at(each.orchestration)
            if live is None:
                continue
            if each.archived:
                yield f"{each.state.id} is archived and still in memory"
            if live.deciding:
                yield f"{each.state.id} is being decided for ever"
            if live.state != each.state:
                yield f"{each.state.id}: memory and log differ"
            if not node.ownership.holds(each.partition):
                yield f"{each.state.id} is kept by a node that does not own it"


def _business_keys(all_: list[Folded]) -> Iterator[str]:
    """At no time two unfinished orchestrations of a definition have the same key; each node has a clock of its own."""
    lives: dict[tuple[str, str], list[tuple[datetime, datetime, str]]] = {}
    for each in all_:
        state = each.state
        if state.business_key is not None and state.started_at is not None and state.ended_at is not None:
            key = (state.definition.partition("@")[0], state.business_key)
            lives.setdefault(key, []).append((state.started_at, state.ended_at, state.id))
    for key, found in lives.items():
        for (_, one_ended_at, first), (started_at, other_ended_at, second) in pairwise(sorted(found)):
            if started_at < min(one_ended_at, other_ended_at) - _CLOCKS_APART:
                yield f"{first} and {second} had the business key {key} at the same time"


def _ownership(world: Simulation) -> Iterator[str]:
    """Every partition has one owner that knows it, and the owners share evenly."""
    owned = [node.ownership.held for node in world.nodes]
    numbers = sorted(partition for held in owned for partition in held)
    if numbers != list(range(len(world.data.partitions))):
        yield f"the partitions are owned as {owned}"
    elif max(map(len, owned)) - min(map(len, owned)) > 1:
        yield f"the partitions are shared as {[len(held) for held in owned]}"
    waiting = [
        name for partition in world.data.partitions for name, each in partition.inbox.items() if each.reply is None
    ]
    if waiting:
        yield f"{len(waiting)} commands of the inbox were never carried out"


def _workers(world: Simulation, all_: list[Folded]) -> Iterator[str]:
    """Each attempt was handed out once at a time, one report of it was taken, and what was taken stands in the history."""
    tokens: dict[str, set[str]] = {}
    for task in world.handed.tasks:
        tokens.setdefault(task["task_id"], set()).add(task["token"])
    for task_id, found in tokens.items():
        if len(found) > 1 and not world.moved:
            yield f"{task_id} was handed out {len(found)} times"
    for task_id, taken in world.handed.taken.items():
        if len(taken) > 1:
            yield f"{len(taken)} reports of {task_id} were taken: {taken}"
    states = {each.state.id: each.state for each in all_ if not each.archived}
    for task in world.handed.completed:
        state = states.get(task["orchestration"])
        runs = [] if state is None else [run for run in state.runs.values() if run.key == task["idempotency_key"]]
        for run in runs:
            if task["attempt"] in run.doubts:
                yield f"{task['orchestration']} {run.id}: what a worker reported of attempt {task['attempt']} was lost"
    for partition in world.data.partitions:
        for key, row in partition.tasks.items():
            if row.status != "ended":
                yield f"the work {key} is {row.status} at the end"


def _people(world: Simulation, all_: list[Folded]) -> Iterator[str]:
    """One answer of each task was taken, and it stands in the history; nobody is asked any more."""
    states = {each.state.id: each.state for each in all_ if not each.archived}
    for task_id, taken in world.answers.taken.items():
        id_, _, number = task_id.rpartition("-")
        if len(taken) > 1:
            yield f"{len(taken)} answers to {task_id} were taken: {taken}"
        if (state := states.get(id_)) is None:
            continue
        run = state.runs[state.people[int(number) - 1]]
        human = run.asked(int(number))
        if human is not None and human.answered is None:
            yield f"the answer to {task_id} was taken and is not in the history"
    rows = [key for partition in world.data.partitions for key in partition.people]
    if rows:
        yield f"{len(rows)} tasks for people are listed at the end"


def _snapshots(world: Simulation, all_: list[Folded]) -> Iterator[str]:
    """A fold from a snapshot is a fold from the start."""
    for each in all_:
        record = world.data.snapshots.get((each.partition, each.orchestration))
        if record is None or each.archived:
            continue
        state = _CODEC.states.unpack(record.state)
        for ev in each.events[state.version :]:
            evolve(state, ev)
        if state != each.state:
            yield f"{each.state.id}: another state from the snapshot of version {record.version}"
