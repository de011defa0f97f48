"""What must be true at the end of a simulated life, whatever happened in it.

Each check is a function over the finished world and gives the sentences that do not hold. They look at what was stored
and at the ledger of the participants, never at what the engine believes of itself, except to compare the two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from uuid import UUID

from adapters.stored_events import EventMapper
from application.chain import GENESIS, event_hash, log_hash
from application.live import agenda_of, listening_runs
from application.projector import row_of
from domain import events as e
from domain.evolve import evolve
from domain.state import State
from tests.simulation.folded import Folded, folded
from tests.simulation.memory_data import MemoryData
from tests.simulation.world import Simulation

_CODEC = EventMapper()


def complaints(world: Simulation) -> list[str]:
    """Everything that does not hold."""
    all_ = folded(world.data)
    return [
        *_loop_is_clean(world),
        *world.overdue,
        *_acknowledged_exists(world, all_),
        *_versions_and_chains(world.data),
        *_ended(all_),
        *_effects(world, all_),
        *_work_tables(world, all_),
        *_view(world, all_),
        *_memory(world, all_),
        *_snapshots(world, all_),
    ]


def _loop_is_clean(world: Simulation) -> Iterator[str]:
    for failure in world.loop.failures:
        yield f"a task failed unseen: {failure.get('exception')!r} {failure.get('message')}"


def _acknowledged_exists(world: Simulation, all_: list[Folded]) -> Iterator[str]:
    ids = Counter(each.state.id for each in all_)
    for name, id_ in world.acknowledged.items():
        if ids[id_] != 1:
            yield f"{name} was acknowledged as {id_}, which exists {ids[id_]} times"
    roots = sum(each.state.depth == 0 for each in all_)
    if roots != len(world.acknowledged):
        yield f"{len(world.acknowledged)} starts gave {roots} orchestrations"


def _versions_and_chains(data: MemoryData) -> Iterator[str]:
    for partition in data.partitions:
        number, chain = partition.head.partition, bytes(32)
        last: dict[UUID, tuple[int, bytes]] = {}
        at: dict[UUID, datetime] = {}
        for position, record in enumerate(partition.log, 1):
            version, previous = last.get(record.orchestration, (0, GENESIS))
            wanted = event_hash(
                previous, number, position, record.orchestration, version + 1, record.topic, record.state
            )
            chain = log_hash(chain, wanted)
            if (record.position, record.version) != (position, version + 1):
                yield f"position {record.position}, version {record.version} where {position}, {version + 1} must be"
            if (record.event_hash, record.log_hash) != (wanted, chain):
                yield f"the chain breaks at {number}:{position}"
            last[record.orchestration] = (record.version, record.event_hash)
            moment = _CODEC.decode(record.topic, record.state).at
            if moment < at.get(record.orchestration, moment):
                yield f"time ran backwards at {number}:{position}"
            at[record.orchestration] = moment
        if (partition.head.position, partition.head.log_hash) != (len(partition.log), chain):
            yield f"the head of partition {number} is not that of its log"


def _ended(all_: list[Folded]) -> Iterator[str]:
    for each in all_:
        if not each.state.final:
            state = each.state
            yield (
                f"{state.id} ({state.definition}) is {state.status}, flying {state.flying}, "
                f"incidents {[i.kind for i in state.open_incidents()]}, open {list(state.open)}"
            )
        finals = [ev.topic for ev in each.events if ev.topic in _FINAL]
        undone = each.state.undone_by_parent
        if len(finals) > 1 + undone:
            yield f"{each.state.id} ended more than once: {finals}"


_FINAL = {f"orchestration.{status}" for status in ("completed", "faulted", "compensated", "cancelled", "terminated")}


def _effects(world: Simulation, all_: list[Folded]) -> Iterator[str]:
    ledger = world.participants.ledger
    recorded: dict[str, tuple[str, str]] = {}
    undos: dict[str, list[str]] = {}
    for each in all_:
        for ev in each.events:
            if isinstance(ev, e.AttemptStarted) and ev.child is None:
                owner = (each.state.id, ev.run)
                if recorded.setdefault(ev.key, owner) != owner:
                    yield f"key {ev.key} belongs to {recorded[ev.key]} and to {owner}"
    keys: dict[tuple[str, str], str] = {}
    for key, owner in recorded.items():
        if keys.setdefault(owner, key) != key:
            yield f"{owner} was sent under two keys"
    for callout in world.participants.sent:
        if callout.idempotency_key not in recorded:
            yield f"{callout.task} was sent without being recorded"
    for effect in ledger.values():
        if effect.compensates is not None:
            undos.setdefault(effect.compensates, []).append(effect.key)
    for each in all_:
        yield from _effects_of(each, set(ledger), undos)


def _effects_of(each: Folded, done: set[str], undos: dict[str, list[str]]) -> Iterator[str]:
    state = each.state
    left = {entry.run for rollback in state.rollbacks.values() for entry in rollback.left_behind}
    for run in state.runs.values():
        if run.key is None or run.child is not None or state.undoing(run.scope) is not None:
            continue
        name = f"{state.id} {run.id} ({run.status}, {run.effect}, undo {run.undo.status})"
        happened, undone = run.key in done, run.key in undos
        by_hand = any(isinstance(ev, e.IncidentResolved) for ev in each.events)
        if run.effect == "completed" and not happened and not by_hand:
            yield f"{name}: recorded as done, but it never happened"
        if run.effect in ("failed", "none") and happened and not by_hand:
            yield f"{name}: it happened, and the log knows nothing of it"
        if undone and run.effect in ("failed", "none") and run.undoable != "attempted":
            yield f"{name}: undone without effect or doubt"
        if run.undo.status == "completed" and run.undoable and not undone and not by_hand:
            yield f"{name}: recorded as undone, but nobody undid it"
        if undone and run.undo.status not in ("completed", "skipped", "failed") and state.status != "terminated":
            yield f"{name}: undone, but not recorded"
        if len(undos.get(run.key, ())) > 1 and not by_hand:
            yield f"{name}: undone {len(undos[run.key])} times"
        rolled_back = state.status in ("faulted", "compensated", "cancelled")
        excused = by_hand or undone or run.id in left or run.undo.status == "skipped" or _replaced(state, run.scope)
        if rolled_back and happened and not excused:
            yield f"{name}: still there although {state.status}, and not left behind"


def _replaced(state: State, scope: str) -> bool:
    """Whether a composite around it has a compensation of its own, which stands for all that is inside."""
    owners = (state.runs[s.owner] for s in state.scope_chain(scope) if s.owner)
    return any(owner.undoable is not None and owner.effect == "completed" for owner in owners)


def _work_tables(world: Simulation, all_: list[Folded]) -> Iterator[str]:
    now = world.node.world.clock.now()
    for each in all_:
        partition = world.data.partitions[each.partition]
        row = partition.agenda.get(each.orchestration)
        found = (row.in_flight, row.due_at) if row else (False, None)
        if found != agenda_of(each.state):
            yield f"{each.state.id}: the agenda says {found}, the state {agenda_of(each.state)}"
        if found[1] is not None and found[1] < now - timedelta(seconds=90):
            yield f"{each.state.id}: a timer of {found[1]} was not handled by {now}"
        listening = {run for orchestration, run, _ in partition.subscriptions if orchestration == each.orchestration}
        wanted = {name for name in listening_runs(each.state) if _types(each.state, name)}
        if listening != wanted:
            yield f"{each.state.id}: subscribed by {listening}, listening are {wanted}"
    for partition in world.data.partitions:
        if partition.emitted:
            yield f"{len(partition.emitted)} emitted events were not published"


def _types(state: State, run: str) -> tuple[str | None, ...]:
    listening = state.runs[run].listening
    return listening.types if listening else ()


def _view(world: Simulation, all_: list[Folded]) -> Iterator[str]:
    for each in all_:
        row = world.data.status.get((each.partition, each.orchestration))
        if row != row_of(each.partition, each.orchestration, each.state):
            yield f"{each.state.id}: the status view says {row}"
    if len(world.data.status) != len(all_):
        yield f"the status view has {len(world.data.status)} rows for {len(all_)} orchestrations"


def _memory(world: Simulation, all_: list[Folded]) -> Iterator[str]:
    for each in all_:
        live = world.node.cache.peek_at(each.orchestration)
        if live is None:
            continue
        if live.deciding:
            yield f"{each.state.id} is being decided for ever"
        if live.state != each.state:
            yield f"{each.state.id}: memory and log differ"


def _snapshots(world: Simulation, all_: list[Folded]) -> Iterator[str]:
    """A fold from a snapshot is a fold from the start."""
    for each in all_:
        record = world.data.snapshots.get((each.partition, each.orchestration))
        if record is None:
            continue
        state = _CODEC.states.unpack(record.state)
        for ev in each.events[state.version :]:
            evolve(state, ev)
        if state != each.state:
            yield f"{each.state.id}: another state from the snapshot of version {record.version}"
