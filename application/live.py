"""The orchestrations in memory: a bounded cache over the log, one lock per family.

A parked orchestration costs disk, not memory: what is evicted is folded from the log again when it is needed, from its
snapshot on where it has one. A family
(an orchestration and all its descendants) shares a lock, because a child's start, result and undo are one transaction with
its parent's events.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
import structlog

from application.chain import GENESIS
from application.identity import Identity
from application.journal import Codec
from application.locks import Hold, Locks
from application.storage import Head, LogStore, SnapshotStore, StoredRecord
from domain.errors import ArchivedError, NotFoundError, OwnershipLostError
from domain.evolve import evolve
from domain.plan import Plan
from domain.remote import Attempt, remote_attempts, unwanted
from domain.state import State

_FIRST_PAGE = 250
_PAGE = 1000
_NONE: frozenset[str] = frozenset()
_log = structlog.get_logger(__name__)


class Live(msgspec.Struct):
    """One orchestration in memory. `agenda`, `subscribed`, `remote` and `unwanted` (attempts that wait for a worker or are at
    one; those of them that were given up) are what the work tables say of it. While `deciding`, its
    state runs ahead of the log: whoever wants to read it waits for the lock of its family, and it cannot be forgotten.
    """

    id: str
    partition: int
    orchestration: UUID
    state: State
    plan: Plan | None = None
    event_hash: bytes = GENESIS
    agenda: tuple[bool, datetime | None] = (False, None)
    subscribed: frozenset[str] = frozenset()
    remote: set[Attempt] = msgspec.field(default_factory=set)
    unwanted: set[Attempt] = msgspec.field(default_factory=set)
    people: dict[str, int] = msgspec.field(default_factory=dict)
    """Runs that wait for a person, with the numbers that their rows have."""
    deciding: bool = False
    epoch: int | None = None
    """The epoch of the partition under which this was read; None: the partition was not ours."""
    snapshot: int = 0
    """Version of its latest snapshot."""
    large_bytes: int = 0
    """Of large values that its events brought, about."""
    limits_recorded: bool = False
    """Whether its history tells under which limits it is decided; before it was loaded they may have been others."""

    @property
    def family(self) -> str:
        return self.state.root or self.id


def agenda_of(state: State, remote: int = 0) -> tuple[bool, datetime | None]:
    """(whether a callout is in flight, when a timer is next due): what has to be looked after. `remote`: how many of the
    callouts are looked after elsewhere.
    """
    if not state.flights and state.final:
        return False, None
    return state.calls > remote, state.next_due()


def subscribers_in(state: State) -> frozenset[str]:
    """Who waits for events: runs, and the streams, which take theirs as long as it has not ended."""
    if not state.watched and not state.streams:
        return _NONE
    waiting = [name for name in state.watched if (found := state.runs[name].listening) is not None and not found.done]
    if state.streams and not state.final:
        waiting += [f"{_STREAM}{name}:{stream.type or ''}" for name, stream in state.streams.items()]
    return frozenset(waiting)


_STREAM: Final = "stream:"
"""Runs are named by pointers, so no run is called like this."""


def types_of(state: State, subscriber: str) -> tuple[str | None, ...]:
    """The types of event that a subscriber waits for (None: any)."""
    if subscriber.startswith(_STREAM):
        return (subscriber.split(":", 2)[2] or None,)
    found = state.runs[subscriber].listening
    return found.types if found is not None else ()


def asked_people(state: State) -> dict[str, int]:
    """Runs that wait for a person, with the numbers of what they ask."""
    if not state.people or state.final:
        return {}
    waiting = ((name, state.runs[name].human) for name in state.watched if state.runs[name].awaits_person)
    return {name: human.number for name, human in waiting if human is not None}


class _Folded(msgspec.Struct):
    """A state, its last event, and the version of the snapshot that it was folded from (0: from the start)."""

    state: State
    last: StoredRecord | None = None
    snapshot: int = 0
    large_bytes: int = 0


class _Loading(msgspec.Struct):
    """Loads of one orchestration under way. `stale`: it was forgotten meanwhile, so what they read may be old."""

    count: int = 0
    stale: bool = False


class LiveCache:
    """Loads, keeps and forgets. At most `capacity` orchestrations stay, a tenth of them ended, and about `large_bytes`
    of large values; the least recently used go first.

    Of each orchestration there is at most one `Live` here, and one that is not `deciding` is what the log says.
    """

    def __init__(
        self,
        log: LogStore,
        snapshots: SnapshotStore,
        codec: Codec,
        identity: Identity,
        epoch_of: Callable[[int], int | None],
        *,
        capacity: int = 10_000,
        large_bytes: int = 256 * 1_048_576,
        snapshot_after: int = 1000,
        known: Callable[[str], bool] = lambda _function: True,
    ) -> None:
        """`epoch_of`: the epoch under which a partition is ours, if it is. `snapshot_after`: histories shorter than this have
        no snapshot. `known`: whether a function is in the process; the others are work for remote workers.
        """
        self._known = known
        self._epoch_of = epoch_of
        self._log = log
        self._snapshots = snapshots
        self._codec = codec
        self._identity = identity
        self._capacity = capacity
        self._most_large_bytes = large_bytes
        self._large: dict[int, int] = {}
        """Bytes of large values of those that have some."""
        # Most histories are short: only where the first page is full is a snapshot looked for.
        self._first_page = min(snapshot_after, _FIRST_PAGE)
        self._ended_capacity = max(1, capacity // 10)
        self._entries: OrderedDict[int, Live] = OrderedDict()
        self._ended: OrderedDict[int, None] = OrderedDict()
        self._locks = Locks()
        self._loading: dict[int, _Loading] = {}
        self._listeners: list[Callable[[Live], None]] = []

    def __len__(self) -> int:
        """How many are in memory."""
        return len(self._entries)

    def on_load(self, listener: Callable[[Live], None]) -> None:
        """Called with everything that was folded from the log."""
        self._listeners.append(listener)

    def peek(self, public_id: str) -> Live | None:
        """What is in memory, if anything."""
        return self._entries.get(self._identity.locate(public_id)[1].int)

    def peek_at(self, orchestration: UUID) -> Live | None:
        """The same by the aggregate's own id."""
        return self._entries.get(orchestration.int)

    def new(self, public_id: str) -> Live:
        """An orchestration that has no event yet. Nobody finds it here before `keep`."""
        partition, orchestration = self._identity.locate(public_id)
        epoch = self._epoch_of(partition)
        return Live(public_id, partition, orchestration, State(), epoch=epoch)

    async def load(self, public_id: str) -> Live:
        """From memory or from the log. Raises NotFoundError."""
        partition, orchestration = self._identity.locate(public_id)
        return await self.load_at(partition, orchestration)

    async def settled(self, public_id: str) -> Live:
        """Loaded, and between two decisions: what is in memory is committed. Raises NotFoundError."""
        return await self.settled_at(*self._identity.locate(public_id))

    async def settled_at(self, partition: int, orchestration: UUID) -> Live:
        """The same by the aggregate's own id."""
        if (ready := self.ready_at(partition, orchestration)) is not None:
            return ready
        live = await self.load_at(partition, orchestration)
        if not live.deciding:
            return live
        async with self.family(live.family, first=True):
            return await self.load_at(partition, orchestration)

    def ready_at(self, partition: int, orchestration: UUID) -> Live | None:
        """What `settled_at` gives, where that can be had without waiting."""
        key = orchestration.int
        live = self._entries.get(key)
        if live is None or live.deciding or self._epoch_of(partition) is None:
            return None
        self._entries.move_to_end(key)
        return live

    async def load_at(self, partition: int, orchestration: UUID) -> Live:
        """The same by the aggregate's own id, as the work tables name it. Raises OwnershipLostError when the partition is not
        ours.
        """
        key = orchestration.int  # a UUID's own hash is computed in Python
        while True:
            epoch = self._epoch_of(partition)
            if epoch is None:
                raise OwnershipLostError
            live = self._entries.get(key)
            if live is not None:
                self._entries.move_to_end(key)
                return live
            loading = self._loading.setdefault(key, _Loading())
            loading.count += 1
            try:
                folded = await self._folded(partition, orchestration)
            finally:
                loading.count -= 1
                if not loading.count:
                    self._loading.pop(key, None)
            if key in self._entries:
                continue  # someone else was quicker
            if loading.stale or self._epoch_of(partition) != epoch:
                # It was here meanwhile, may have moved, and was forgotten again: what was read may be old.
                self._loading.pop(key, None)
                continue
            live = _live(partition, orchestration, folded, self._known)
            live.epoch = epoch
            self.keep(live)
            for listener in self._listeners:
                listener(live)
            return live

    async def fold(
        self,
        partition: int,
        orchestration: UUID,
        *,
        version: int | None = None,
        at: datetime | None = None,
    ) -> tuple[State, StoredRecord]:
        """The state after its last event, or as it was at a version or an instant. Raises NotFoundError when it has no
        event (so far), ArchivedError when it is archived.
        """
        folded = await self._folded(partition, orchestration, version=version, at=at)
        return folded.state, _last(folded)

    async def _folded(
        self, partition: int, orchestration: UUID, *, version: int | None = None, at: datetime | None = None
    ) -> _Folded:
        folded = _Folded(State())
        limit = self._first_page
        while True:
            records = await self._log.stream(partition, orchestration, folded.state.version, limit)
            for record in records:
                if record.state_hash is not None:
                    raise ArchivedError
                event = self._codec.decode(record.topic, record.state, record.blobs)
                if (version is not None and record.version > version) or (at is not None and event.at > at):
                    return folded
                evolve(folded.state, event)
                folded.last = record
                if record.blobs is not None:
                    folded.large_bytes += sum(map(len, record.blobs.values()))
            if len(records) < limit:
                return folded
            if not folded.snapshot:
                folded = await self._from_snapshot(partition, orchestration, version, at) or folded
                limit = _PAGE

    async def _from_snapshot(
        self, partition: int, orchestration: UUID, version: int | None, at: datetime | None
    ) -> _Folded | None:
        """The state of its snapshot, where that is not later than asked and the log has the event it was made after."""
        states = self._codec.states
        record = await self._snapshots.get(partition, orchestration, states.format)
        if record is None or (version is not None and record.version > version):
            return None
        for last in await self._log.stream(partition, orchestration, record.version - 1, 1):
            if last.state_hash is not None:
                raise ArchivedError
            if (last.version, last.event_hash) != (record.version, record.event_hash):
                break
            try:
                state = states.unpack(record.state)
            except ValueError as error:
                _log.warning("snapshot.damaged", partition=partition, detail=str(error))
                return None
            if at is not None and state.updated_at is not None and state.updated_at > at:
                return None
            return _Folded(state, last, record.version)
        _log.warning("snapshot.of_another_history", partition=partition)
        return None

    def evict(self, live: Live) -> None:
        """Forget; it is folded from the log when it is needed again."""
        if self._entries.get(live.orchestration.int) is live:
            self._drop(live.orchestration.int)

    def gained(self, head: Head) -> None:
        """Nothing is known of it yet."""

    def lost(self, partition: int) -> None:
        """Forget everything of a partition that is no longer ours."""
        for live in [entry for entry in self._entries.values() if entry.partition == partition]:
            self._drop(live.orchestration.int)

    def forget(self, orchestration: UUID) -> None:
        """What is known of it, and what is being read of it, is out of date."""
        if orchestration.int in self._entries:
            self._drop(orchestration.int)
        elif orchestration.int in self._loading:
            self._loading[orchestration.int].stale = True

    def keep(self, live: Live) -> None:
        """Everyone finds it from now on, unless its partition was lost meanwhile."""
        if live.epoch is None or live.epoch != self._epoch_of(live.partition):
            return
        key = live.orchestration.int
        self._entries[key] = live
        self._entries.move_to_end(key)
        if live.state.final:
            self._ended[key] = None
            self._ended.move_to_end(key)
            while len(self._ended) > self._ended_capacity:
                ended, _ = self._ended.popitem(last=False)
                if not self._entries[ended].deciding:
                    self._drop(ended)
        while len(self._entries) > self._capacity:
            oldest = next((u for u, entry in self._entries.items() if not entry.deciding), None)
            if oldest is None or oldest == key:
                break
            self._drop(oldest)
        if live.large_bytes:
            self._large[key] = live.large_bytes
            self._make_room(key)

    def _make_room(self, newest: int) -> None:
        """Those with large values go earlier than others, the least recently used first."""
        if sum(self._large.values()) <= self._most_large_bytes:
            return
        for key in [key for key in self._entries if key in self._large and key != newest]:
            if not self._entries[key].deciding:
                self._drop(key)
                if sum(self._large.values()) <= self._most_large_bytes:
                    return

    def _drop(self, key: int) -> None:
        del self._entries[key]
        self._large.pop(key, None)
        self._ended.pop(key, None)
        if key in self._loading:
            self._loading[key].stale = True

    def family(self, name: str, *, first: bool = False) -> Hold:
        """The lock of a family, to be held with ``async with``; `first`: by one who only looks, however many results wait."""
        return self._locks.of(name, first=first)


def _live(partition: int, orchestration: UUID, folded: _Folded, known: Callable[[str], bool]) -> Live:
    state = folded.state
    live = Live(
        state.id, partition, orchestration, state, event_hash=_last(folded).event_hash, snapshot=folded.snapshot
    )
    live.large_bytes = folded.large_bytes
    live.remote = remote_attempts(state, known)
    live.unwanted = {each for each in live.remote if unwanted(state, state.runs[each[0]]) == "claimed"}
    live.agenda = agenda_of(state, len(live.remote))
    live.subscribed = subscribers_in(state)
    live.people = asked_people(state)
    return live


def _last(folded: _Folded) -> StoredRecord:
    """The last event. Raises NotFoundError when there is none."""
    if folded.last is None:
        raise NotFoundError("There is no orchestration with this id.")
    return folded.last
