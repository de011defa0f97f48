"""The orchestrations in memory: a bounded cache over the log, one lock per family.

A parked orchestration costs disk, not memory: what is evicted is folded from the log again when it is needed. A family
(an orchestration and all its descendants) shares a lock, because a child's start, result and undo are one transaction with
its parent's events.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from uuid import UUID

import msgspec

from application.chain import GENESIS
from application.identity import Identity
from application.journal import Codec
from application.locks import Hold, Locks
from application.storage import Head, LogStore, StoredRecord
from domain.errors import NotFoundError, OwnershipLostError
from domain.evolve import evolve
from domain.plan import Plan
from domain.state import State

_PAGE = 1000


class Live(msgspec.Struct):
    """One orchestration in memory. `agenda` and `subscribed` are what the work tables say of it. While `deciding`, its
    state runs ahead of the log: whoever wants to read it waits for the lock of its family, and it cannot be forgotten.
    """

    id: str
    partition: int
    orchestration: UUID
    state: State
    plan: Plan | None = None
    event_hash: bytes = GENESIS
    agenda: tuple[bool, datetime | None] = (False, None)
    subscribed: set[str] = set()
    deciding: bool = False
    epoch: int | None = None
    """The epoch of the partition under which this was read; None: the partition was not ours."""

    @property
    def family(self) -> str:
        return self.state.root or self.id


def agenda_of(state: State) -> tuple[bool, datetime | None]:
    """(whether a callout is in flight, when a timer is next due): what has to be looked after."""
    if state.final and not state.flying:
        return False, None
    return state.calls > 0, state.next_due()


def listening_runs(state: State) -> set[str]:
    """Runs that wait for events."""
    return {name for name in state.watched if (found := state.runs[name].listening) is not None and not found.done}


class _Loading(msgspec.Struct):
    """Loads of one orchestration under way. `stale`: it was forgotten meanwhile, so what they read may be old."""

    count: int = 0
    stale: bool = False


class LiveCache:
    """Loads, keeps and forgets. At most `capacity` orchestrations stay, a tenth of them ended; the least recently used go
    first.

    Of each orchestration there is at most one `Live` here, and one that is not `deciding` is what the log says.
    """

    def __init__(
        self,
        log: LogStore,
        codec: Codec,
        identity: Identity,
        epoch_of: Callable[[int], int | None],
        *,
        capacity: int = 10_000,
    ) -> None:
        """`epoch_of`: the epoch under which a partition is ours, if it is."""
        self._epoch_of = epoch_of
        self._log = log
        self._codec = codec
        self._identity = identity
        self._capacity = capacity
        self._ended_capacity = max(1, capacity // 10)
        self._entries: OrderedDict[UUID, Live] = OrderedDict()
        self._ended: OrderedDict[UUID, None] = OrderedDict()
        self._locks = Locks()
        self._loading: dict[UUID, _Loading] = {}

    def peek(self, public_id: str) -> Live | None:
        """What is in memory, if anything."""
        return self._entries.get(self._identity.locate(public_id)[1])

    def peek_at(self, orchestration: UUID) -> Live | None:
        """The same by the aggregate's own id."""
        return self._entries.get(orchestration)

    def new(self, public_id: str) -> Live:
        """An orchestration that has no event yet. Nobody finds it here before `keep`."""
        partition, orchestration = self._identity.locate(public_id)
        epoch = self._epoch_of(partition)
        return Live(public_id, partition, orchestration, State(), subscribed=set(), epoch=epoch)

    async def load(self, public_id: str) -> Live:
        """From memory or from the log. Raises NotFoundError."""
        partition, orchestration = self._identity.locate(public_id)
        return await self.load_at(partition, orchestration)

    async def settled(self, public_id: str) -> Live:
        """Loaded, and between two decisions: what is in memory is committed. Raises NotFoundError."""
        return await self.settled_at(*self._identity.locate(public_id))

    async def settled_at(self, partition: int, orchestration: UUID) -> Live:
        """The same by the aggregate's own id."""
        live = await self.load_at(partition, orchestration)
        if not live.deciding:
            return live
        async with self.family(live.family):
            return await self.load_at(partition, orchestration)

    async def load_at(self, partition: int, orchestration: UUID) -> Live:
        """The same by the aggregate's own id, as the work tables name it. Raises OwnershipLostError when the partition is not
        ours.
        """
        while True:
            epoch = self._epoch_of(partition)
            if epoch is None:
                raise OwnershipLostError
            live = self._entries.get(orchestration)
            if live is not None:
                self._entries.move_to_end(orchestration)
                return live
            loading = self._loading.setdefault(orchestration, _Loading())
            loading.count += 1
            try:
                state, last = await self.fold(partition, orchestration)
            finally:
                loading.count -= 1
                if not loading.count:
                    self._loading.pop(orchestration, None)
            if orchestration in self._entries:
                continue  # someone else was quicker
            if loading.stale or self._epoch_of(partition) != epoch:
                # It was here meanwhile, may have moved, and was forgotten again: what was read may be old.
                self._loading.pop(orchestration, None)
                continue
            live = Live(state.id, partition, orchestration, state, event_hash=last.event_hash, epoch=epoch)
            live.agenda = agenda_of(state)
            live.subscribed = listening_runs(state)
            self.keep(live)
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
        event (so far).
        """
        state = State()
        last: StoredRecord | None = None
        while True:
            records = await self._log.stream(partition, orchestration, state.version, _PAGE)
            for record in records:
                event = self._codec.decode(record.topic, record.state)
                if (version is not None and record.version > version) or (at is not None and event.at > at):
                    records = []
                    break
                evolve(state, event)
                last = record
            if len(records) < _PAGE:
                break
        if last is None:
            raise NotFoundError("There is no orchestration with this id.")
        return state, last

    def evict(self, live: Live) -> None:
        """Forget; it is folded from the log when it is needed again."""
        if self._entries.get(live.orchestration) is live:
            self._drop(live.orchestration)

    def gained(self, head: Head) -> None:
        """Nothing is known of it yet."""

    def lost(self, partition: int) -> None:
        """Forget everything of a partition that is no longer ours."""
        for live in [entry for entry in self._entries.values() if entry.partition == partition]:
            self._drop(live.orchestration)

    def keep(self, live: Live) -> None:
        """Everyone finds it from now on, unless its partition was lost meanwhile."""
        if live.epoch is None or live.epoch != self._epoch_of(live.partition):
            return
        self._entries[live.orchestration] = live
        self._entries.move_to_end(live.orchestration)
        if live.state.final:
            self._ended[live.orchestration] = None
            self._ended.move_to_end(live.orchestration)
            while len(self._ended) > self._ended_capacity:
                ended, _ = self._ended.popitem(last=False)
                if not self._entries[ended].deciding:
                    self._drop(ended)
        while len(self._entries) > self._capacity:
            oldest = next((u for u, entry in self._entries.items() if not entry.deciding), None)
            if oldest is None or oldest == live.orchestration:
                break
            self._drop(oldest)

    def _drop(self, orchestration: UUID) -> None:
        del self._entries[orchestration]
        self._ended.pop(orchestration, None)
        if orchestration in self._loading:
            self._loading[orchestration].stale = True

    def family(self, name: str) -> Hold:
        """The lock of a family, to be held with ``async with``."""
        return self._locks.of(name)
