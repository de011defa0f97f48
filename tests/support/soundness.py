"""What must be true of a database and of the world outside, whatever happened to the service before.

Each check is a function that gives the sentences that do not hold. They look at what was stored and at the ledger of
the participants, never at what a node believes of itself. The simulation and the fault tests ask the same questions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import cache
from typing import Protocol
from uuid import UUID

import msgspec

from adapters.documents import compile_plan
from adapters.stored_events import EventMapper
from application.chain import GENESIS, event_hash, log_hash
from application.live import agenda_of, subscribers_in, types_of
from application.projector import row_of
from application.replay import divergences
from domain import events as e
from domain.plan import Plan
from domain.state import State
from tests.support.stored import Folded, Stored, fold_all

_CODEC = EventMapper()
_FINAL = {f"orchestration.{status}" for status in ("completed", "faulted", "compensated", "cancelled", "terminated")}
_HANDLED_WITHIN = timedelta(seconds=90)


class Effect(Protocol):
    """A line of a participant's ledger. `compensates`: the key of the effect that it undoes."""

    @property
    def key(self) -> str | None: ...
    @property
    def compensates(self) -> str | None: ...


def log_complaints(stored: Stored) -> Iterator[str]:
    """Positions and versions without a gap, hashes that chain, time that never runs backwards, heads that fit."""
    for partition in stored.partitions:
        number, chain = partition.head.partition, GENESIS
        last: dict[UUID, tuple[int, bytes]] = {}
        at: dict[UUID, datetime] = {}
        for position, record in enumerate(partition.log, 1):
            version, previous = last.get(record.orchestration, (0, GENESIS))
            raw = stored.bytes_of(number, record)
            wanted = event_hash(previous, number, position, record.orchestration, version + 1, record.topic, raw)
            chain = log_hash(chain, wanted)
            if (record.position, record.version) != (position, version + 1):
                yield f"position {record.position}, version {record.version} where {position}, {version + 1} must be"
            if (record.event_hash, record.log_hash) != (wanted, chain):
                yield f"the chain breaks at {number}:{position}"
            last[record.orchestration] = (record.version, record.event_hash)
            moment = _CODEC.shown(record.topic, raw, stored.blobs.get((number, record.orchestration))).at
            if moment < at.get(record.orchestration, moment):
                yield f"time ran backwards at {number}:{position}"
            at[record.orchestration] = moment
        if (partition.head.position, partition.head.log_hash) != (len(partition.log), chain):
            yield f"the head of partition {number} is not that of its log"


def start_complaints(all_: list[Folded], acknowledged: Mapping[str, str]) -> Iterator[str]:
    """Every acknowledged start (name -> public id) exists exactly once, and nothing else was started by a client."""
    ids = Counter(each.state.id for each in all_)
    for name, id_ in acknowledged.items():
        if ids[id_] != 1:
            yield f"{name} was acknowledged as {id_}, which exists {ids[id_]} times"
    roots = sum(each.state.depth == 0 for each in all_)
    if roots != len(acknowledged):
        yield f"{len(acknowledged)} starts gave {roots} orchestrations"


def ending_complaints(all_: list[Folded]) -> Iterator[str]:
    """One final state each."""
    for each in all_:
        state = each.state
        if not state.final:
            yield (
                f"{state.id} ({state.definition}) is {state.status}, flying {state.flying}, "
                f"incidents {[i.kind for i in state.open_incidents()]}, open {list(state.open)}"
            )
        finals = [ev.topic for ev in each.events if ev.topic in _FINAL]
        if len(finals) > 1 + state.undone_by_parent:
            yield f"{state.id} ended more than once: {finals}"


def effect_complaints(all_: list[Folded], ledger: Iterable[Effect], arrived: Iterable[str]) -> Iterator[str]:
    """One key for each run; nothing sent that was not recorded (`arrived`: keys of all requests); and what the
    histories say was done and undone is what the participants know.
    """
    recorded: dict[str, tuple[str, str]] = {}
    for each in all_:
        for ev in each.events:
            if isinstance(ev, e.AttemptStarted) and ev.child is None:
                owner = (each.state.runs[ev.run].origin or each.state.id, ev.run)
                if recorded.setdefault(ev.key, owner) != owner:
                    yield f"key {ev.key} belongs to {recorded[ev.key]} and to {owner}"
    keys: dict[tuple[str, str], str] = {}
    for key, owner in recorded.items():
        if keys.setdefault(owner, key) != key:
            yield f"{owner} was sent under two keys"
    for key in dict.fromkeys(arrived):
        if key not in recorded:
            yield f"{key} was sent without being recorded"
    done, undos = Counter[str | None](), dict[str, int]()
    for effect in ledger:
        done[effect.key] += 1
        if effect.compensates is not None:
            undos[effect.compensates] = undos.get(effect.compensates, 0) + 1
    for done_under, times in done.items():
        if times > 1:
            yield f"what was sent under {done_under} happened {times} times"
    # What a fork has from its original either may undo, if that was accepted.
    shared = {run.key for each in all_ for run in each.state.runs.values() if run.origin is not None}
    undos = {key: times for key, times in undos.items() if key not in shared}
    for each in all_:
        yield from _effects_of(each, done.keys(), undos, shared)


def _effects_of(
    each: Folded, done: Collection[str | None], undos: Mapping[str, int], shared: Collection[str | None]
) -> Iterator[str]:
    state = each.state
    left = {entry.run for rollback in state.rollbacks.values() for entry in rollback.left_behind}
    for run in state.runs.values():
        if run.key is None or run.child is not None or state.undoing(run.scope) is not None:
            continue
        if run.key in shared:
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
        if undos.get(run.key, 0) > 1 and not by_hand:
            yield f"{name}: undone {undos[run.key]} times"
        rolled_back = state.status in ("faulted", "compensated", "cancelled")
        excused = by_hand or undone or run.id in left or run.undo.status == "skipped" or _replaced(state, run.scope)
        if rolled_back and happened and not excused:
            yield f"{name}: still there although {state.status}, and not left behind"


def _replaced(state: State, scope: str) -> bool:
    """Whether a composite around it has a compensation of its own, which stands for all that is inside."""
    owners = (state.runs[s.owner] for s in state.scope_chain(scope) if s.owner)
    return any(owner.undoable is not None and owner.effect == "completed" for owner in owners)


def work_complaints(stored: Stored, all_: list[Folded], now: datetime) -> Iterator[str]:
    """The work tables are what the states say, and nothing that is due was left lying."""
    for each in all_:
        partition = stored.partitions[each.partition]
        found = partition.agenda.get(each.orchestration, (False, None))
        if found != agenda_of(each.state):
            yield f"{each.state.id}: the agenda says {found}, the state {agenda_of(each.state)}"
        if found[1] is not None and found[1] < now - _HANDLED_WITHIN:
            yield f"{each.state.id}: a timer of {found[1]} was not handled by {now}"
        listening = {run for orchestration, run in partition.subscriptions if orchestration == each.orchestration}
        wanted = {name for name in subscribers_in(each.state) if types_of(each.state, name)}
        if listening != wanted:
            yield f"{each.state.id}: subscribed by {listening}, listening are {wanted}"
    for partition in stored.partitions:
        if partition.emitted:
            yield f"{partition.emitted} emitted events were not published"
        if partition.commands:
            yield f"{partition.commands} commands of other nodes were not carried out"


def histories_complaints(stored: Stored) -> list[str]:
    """What must hold of every history, however a service was used and ended."""
    all_ = fold_all(stored)
    return [*log_complaints(stored), *decision_complaints(stored, all_), *_view_so_far(stored, all_)]


def _view_so_far(stored: Stored, all_: list[Folded]) -> Iterator[str]:
    """The rows of partitions whose events the view has all seen are what the histories fold to."""
    for each in all_:
        partition = stored.partitions[each.partition]
        if partition.seen == partition.head.position and not each.archived:
            row = stored.status.get((each.partition, each.orchestration))
            if row != row_of(each.partition, each.orchestration, each.state):
                yield f"{each.state.id}: the status view says {row}"


def decision_complaints(stored: Stored, all_: list[Folded]) -> Iterator[str]:
    """Every decision, made again from what was recorded of it, leads to the events that were recorded."""
    for each in all_:
        for found in divergences(lambda digest: _plan(digest, stored.definitions[digest]), each.events):
            yield f"{each.state.id} ({each.state.definition}): {found.text()}"


@cache
def _plan(digest: str, value: bytes) -> Plan:
    return compile_plan(msgspec.json.decode(value), digest)[0]


def view_complaints(stored: Stored, all_: list[Folded]) -> Iterator[str]:
    """Status rows made from the log are those of the view, and there are no others."""
    for each in all_:
        row = stored.status.get((each.partition, each.orchestration))
        if each.archived:
            if row is not None:
                yield f"{each.state.id} is archived and still in the view"
        elif row != row_of(each.partition, each.orchestration, each.state):
            yield f"{each.state.id}: the status view says {row}"
    listed = sum(not each.archived for each in all_)
    if len(stored.status) != listed:
        yield f"the status view has {len(stored.status)} rows for {listed} orchestrations"
