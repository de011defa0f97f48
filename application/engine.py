"""The engine loop: command in, events committed, effects out.

`execute` decides one command for one orchestration, and in the same transaction every message that it causes in the
family (children, parents). Nothing is acknowledged and no callout is made before the commit. When a commit fails, what was
decided is forgotten and the truth is read from the log again.

The engine knows the world only through its ports and its event loop, so it runs unchanged in a simulation.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar
from uuid import UUID

import msgspec
import structlog

from application.facts import FactFinder, Plans
from application.human_changes import human_changes
from application.identity import Chance, Identity
from application.journal import Appended, Journal
from application.live import Live, LiveCache, agenda_of, subscribers_in, types_of
from application.ports import Clock
from application.remote_changes import Known, attempts_again, task_changes
from application.storage import (
    DropAgenda,
    DropSubscriptions,
    EndTask,
    PutAgenda,
    PutEmitted,
    PutSubscription,
    WorkChange,
)
from domain import commands as c
from domain import events as e
from domain.basis import record_basis
from domain.decision import Limits
from domain.errors import (
    ArchivedError,
    InvalidInputError,
    NotFoundError,
    OrchestrationEndedError,
    OwnershipLostError,
    PastPivotError,
    Problem,
    RetraceError,
    StorageError,
    VersionMismatchError,
)
from domain.lifecycle import IllegalTransitionError
from domain.orchestration import opened, step
from domain.remote import Attempt
from domain.state import State

T = TypeVar("T", bound=c.Command)
_log = structlog.get_logger(__name__)


Place = tuple[int, UUID]
"""(partition, the aggregate's own id)."""


class Outcome(msgspec.Struct, frozen=True):
    """What a command led to, after the commit. `events`: those of the orchestration itself."""

    id: str
    status: str
    version: int
    events: list[e.Event]


Answering = Callable[[Outcome], WorkChange]
"""Makes the reply that is written in the transaction of the events."""


class Follower(Protocol):
    """Is told of every commit, in the order of commits of a family."""

    def committed(self, live: Live, events: list[e.Event]) -> None: ...


class _Part(msgspec.Struct):
    """What a command has decided for one orchestration so far. `version`: that of its last event before."""

    live: Live
    version: int
    events: list[e.Event]


class _Unit:
    """What one command has decided so far, over all orchestrations it holds. They are `deciding`."""

    __slots__ = ("parts",)

    def __init__(self) -> None:
        self.parts: dict[str, _Part] = {}

    def hold(self, live: Live) -> _Part:
        """From here to the end of the unit nobody reads it and it stays in memory."""
        part = self.parts.get(live.id)
        if part is None:
            part = self.parts[live.id] = _Part(live, live.state.version, [])
            live.deciding = True
        return part


class Engine:
    """One per process and database."""

    def __init__(
        self,
        *,
        journal: Journal,
        cache: LiveCache,
        facts: FactFinder,
        plans: Plans,
        identity: Identity,
        clock: Clock,
        chance: Chance,
        limits: Limits,
        known: Known = lambda _function: True,
    ) -> None:
        """`known`: whether a function is in the process; calls of others are work for remote workers."""
        self.cache = cache
        self.identity = identity
        self.clock = clock
        self._journal = journal
        self._facts = facts
        self._plans = plans
        self._chance = chance
        self.limits = limits
        self._known = known
        self._followers: list[Follower] = []
        self._interested: dict[type[e.Event], list[Follower]] = {}
        self._latest: datetime | None = None

    def follow(self, follower: Follower, *kinds: type[e.Event]) -> None:
        """Have it told of every commit, or, with `kinds`, of those that hold such an event."""
        if not kinds:
            self._followers.append(follower)
        for kind in kinds:
            self._interested.setdefault(kind, []).append(follower)

    def now(self) -> datetime:
        """Never runs backwards, so neither do the times of events."""
        now = self.clock.now()
        self._latest = now if self._latest is None else max(now, self._latest)
        return self._latest

    def command(self, cls: type[T], **members: Any) -> T:
        """A command with the instant and the seed that the domain must not make itself."""
        return cls(at=self.now(), seed=self._chance.random_bytes(16), **members)

    def converted(self, cls: type[T], members: dict[str, Any]) -> T:
        """The same from plain members, as they come through an inbox."""
        return msgspec.convert({"at": self.now(), "seed": self._chance.random_bytes(16), **members}, cls)

    # Deciding ---------------------------------------------------------------------------------------------------------

    async def start(
        self,
        digest: str,
        public_id: str,
        make: Callable[[], c.Start | c.Fork],
        *,
        drawn: bool = False,
        allowed: Callable[[], Awaitable[None]] | None = None,
        answering: Callable[[Outcome, bool], WorkChange] | None = None,
    ) -> tuple[Outcome, bool]:
        """Begin an orchestration; (outcome, whether it is new). One that exists already is left as it is; an id that was
        just `drawn` cannot. `allowed` is asked right before and raises if it may not begin.
        """
        async with self.cache.family(public_id):
            try:
                live = self.cache.new(public_id) if drawn else await self.cache.load(public_id)
            except ArchivedError:
                raise  # it has been: it must not begin again
            except NotFoundError:
                live = self.cache.new(public_id)
            known = live.state.version > 0
            reply = None if answering is None else lambda outcome: answering(outcome, not known)
            if known:
                outcome = Outcome(live.id, live.state.status, live.state.version, [])
                await self._reply(live, outcome, reply)
                return outcome, False
            if allowed is not None:
                await allowed()
            live.plan = await self._plans.by_digest(digest)
            return await self._carry_out(live, make(), reply), True

    async def execute(
        self,
        place: Place,
        make: Callable[[State], c.Command],
        *,
        if_match: int | None = None,
        answering: Answering | None = None,
    ) -> Outcome:
        """Carry out a command. `make` gets the state as it is when the turn comes. Raises RetraceError; OwnershipLostError
        when the partition is not ours, and then nothing was done.
        """
        live = self.cache.peek_at(place[1]) or await self.cache.load_at(*place)
        # The family of a child is known only once it is loaded.
        async with self.cache.family(live.family):
            # Again: it may have been forgotten, or forgotten and loaded, while this waited.
            live = self.cache.peek_at(place[1]) or await self.cache.load_at(*place)
            if if_match is not None and live.state.version != if_match:
                raise VersionMismatchError(f"It has version {live.state.version}, not {if_match}.")
            return await self._carry_out(live, make(live.state), answering)

    async def exists(self, public_id: str) -> bool:
        """Whether it exists and is unfinished; no start of it is under way when this answers."""
        async with self.cache.family(public_id):
            try:
                return not (await self.cache.load(public_id)).state.final
            except NotFoundError:
                return False

    async def report_poison(self, partition: int, orchestration: UUID, detail: str) -> None:
        """Something could not be decided because of a defect: an incident, so that somebody looks."""
        try:
            await self.execute((partition, orchestration), lambda _: self.command(c.ReportPoison, detail=detail))
        except Exception:
            _log.exception("poison.not_recorded")

    async def _carry_out(self, live: Live, command: c.Command, answering: Answering | None = None) -> Outcome:
        """Decide, commit, tell. The caller holds the family's lock."""
        unit = _Unit()
        own = unit.hold(live)
        try:
            await self._decide(unit, own, command)
            outcome = Outcome(live.id, live.state.status, live.state.version, own.events)
            touched = [part for part in unit.parts.values() if part.events]
            if touched:
                await self._commit(touched, [answering(outcome)] if answering else [])
            else:
                await self._reply(live, outcome, answering)
        except BaseException as error:
            self._forget(unit, error)
            raise
        for part in unit.parts.values():
            part.live.deciding = False
        return outcome

    async def _reply(self, live: Live, outcome: Outcome, answering: Answering | None) -> None:
        """A reply to a command that changed nothing."""
        if answering is not None:
            await self.reply(live.partition, live.epoch, answering(outcome))

    async def reply(self, partition: int, epoch: int | None, reply: WorkChange) -> None:
        """Write a reply without events, under the epoch in which it was found out."""
        if epoch is None:
            raise OwnershipLostError
        await self._journal.append(partition, epoch, [], [reply])

    async def mend(self, partition: int, orchestration: UUID, *, taken_in: Sequence[Attempt] = ()) -> Live:
        """Write what the work tables should say of its attempts in flight, where functions may have come into the process
        or left it since; `taken_in`: those that are no longer work for others.
        """
        live = await self.cache.load_at(partition, orchestration)
        async with self.cache.family(live.family):
            live = await self.cache.load_at(partition, orchestration)
            work = attempts_again(live)
            work += [EndTask(orchestration, *attempt, self.now()) for attempt in taken_in]
            idle = live.agenda == (False, None)
            work.append(DropAgenda(orchestration) if idle else PutAgenda(orchestration, *live.agenda))
            if live.epoch is None:
                raise OwnershipLostError
            await self._journal.append(partition, live.epoch, [], work)
            return live

    def _forget(self, unit: _Unit, error: BaseException) -> None:
        """What was decided did not happen. A command that was merely refused has changed nothing."""
        refused = isinstance(error, RetraceError) and not isinstance(
            error, StorageError | OwnershipLostError | IllegalTransitionError
        )
        for part in unit.parts.values():
            part.live.deciding = False
            if not refused or part.live.state.version != part.version:
                self.cache.evict(part.live)

    async def _decide(self, unit: _Unit, first: _Part, command: c.Command) -> None:
        """One command and all the messages it causes, in the order in which they are sent."""
        pending: deque[tuple[_Part, c.Command]] = deque([(first, command)])
        asked = True
        while pending:
            part, current = pending.popleft()
            live = part.live
            if live.plan is None:
                live.plan = await self._plans.by_digest(live.state.digest)
            to = None if (digest := c.target_of(current)) is None else await self._plans.by_digest(digest)
            before = live.state.version
            at = live.state.updated_at
            if at is not None and current.at < at:  # a clock that was set back since the last event
                current = msgspec.structs.replace(current, at=at)
            facts: list[Any] = []
            try:
                decision = opened(live.plan, live.state, current, self.limits, to=to)
                questions = step(decision)
                while questions:
                    answers = await self._facts.answer(questions, live.partition)
                    facts += answers
                    questions = step(decision, answers)
            except (PastPivotError, OrchestrationEndedError):
                if asked or live.state.version != before:
                    raise
                continue  # a child that cannot be cancelled goes on; its parent awaits it
            asked, live.plan = False, decision.plan
            if decision.events:
                limits = None if live.limits_recorded else self.limits
                record_basis(current, decision.events, facts, limits)
                live.limits_recorded = True
                part.events += decision.events
            for message in decision.messages:
                addressee = await self._addressee(unit, message)
                pending.append((addressee, message.command))

    async def _addressee(self, unit: _Unit, message: c.Message) -> _Part:
        if message.to in unit.parts:
            return unit.parts[message.to]
        if message.digest is None:
            found = await self.cache.load(message.to)
        else:
            found = self.cache.new(message.to)
            found.plan = await self._plans.by_digest(message.digest)
        return unit.hold(found)

    # Committing -------------------------------------------------------------------------------------------------------

    async def _commit(self, touched: list[_Part], work: list[WorkChange]) -> None:
        streams: list[Appended] = []
        for part in touched:
            live = part.live
            streams.append(Appended(live.orchestration, part.version, live.event_hash, part.events))
            _put_work(work, live, part.events, self._known)
        partition, epoch = touched[0].live.partition, touched[0].live.epoch
        if epoch is None:
            raise OwnershipLostError
        hashes = await self._journal.append(partition, epoch, streams, work)
        for part, stream, last in zip(touched, streams, hashes, strict=True):
            part.live.event_hash = last
            part.live.large_bytes += stream.large_bytes
            part.live.deciding = False
            self.cache.keep(part.live)
        if self._journal.epoch(partition) != epoch:
            return  # committed, and then lost: the next owner goes on from there
        for part in touched:
            self._tell(part.live, part.events)

    def _tell(self, live: Live, events: list[e.Event]) -> None:
        for follower in self._followers:
            follower.committed(live, events)
        told: list[Follower] = []
        for event in events:
            for follower in self._interested.get(type(event), ()):
                if follower not in told:
                    told.append(follower)
                    follower.committed(live, events)


def _put_work(work: list[WorkChange], live: Live, events: list[e.Event], known: Known) -> None:
    """How the work tables change with these events. From here on `live` tells what they will say; if that cannot be
    committed, it is forgotten.
    """
    state, orchestration = live.state, live.orchestration
    work += task_changes(live, events, known)
    agenda = agenda_of(state, len(live.remote))
    if live.agenda != agenda:
        idle = agenda == (False, None)
        work.append(DropAgenda(orchestration) if idle else PutAgenda(orchestration, *agenda))
    subscribed = subscribers_in(state)
    if subscribed != live.subscribed:
        work += [DropSubscriptions(orchestration, name) for name in live.subscribed - subscribed]
        for name in subscribed - live.subscribed:
            types = types_of(state, name)
            work += [PutSubscription(orchestration, name, slot, kind) for slot, kind in enumerate(types)]
    live.agenda, live.subscribed = agenda, subscribed
    if state.people:
        work += human_changes(live, events)
    if not state.emitted:
        return
    sent = (event.event for event in events if isinstance(event, e.EventEmitted | e.TaskEscalated))
    emitted = [event for event in sent if event is not None]
    first = state.emitted - len(emitted)
    for offset, event in enumerate(emitted):
        work.append(PutEmitted(orchestration, first + offset, msgspec.json.encode(event)))


def invalid_input(violations: list[tuple[str, str]]) -> InvalidInputError:
    """The refusal of a start whose input does not fit."""
    return InvalidInputError([Problem(pointer, message, "schema") for pointer, message in violations])
