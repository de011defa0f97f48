"""Events between orchestrations and the world: *write, then look* (storage.md).

A published event lies in the partition of its source and id, and the owner of that partition decides who gets it: it stores
the event, reads the subscriptions of all partitions and delivers to each; one event at a time under a lock of its own. A
subscriber commits its subscription, then reads what is held and asks the owners of those events for them. Whichever comes
second sees the other, so no event is lost between them. Looks that were not finished are repeated by the next owner, and
each orchestration drops repeats by source and id.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import msgspec
import structlog

from application.engine import Engine, Place
from application.forwarding import NOBODY, Offer, Publish, Sender
from application.live import Live, types_of
from application.locks import Locks
from application.ownership import Ownership
from application.reader import Reader
from application.registers import HeldEvent, HeldEventStore, register_partition
from application.routing import Router
from application.service import EventOutcome, Json
from application.storage import Head, LogStore, canonical
from domain import commands as c
from domain import events as e
from domain.errors import (
    EventIdReusedError,
    InvalidInputError,
    NodeUnavailableError,
    NotFoundError,
    OrchestrationEndedError,
    OverloadedError,
    OwnershipLostError,
    StorageError,
)

_log = structlog.get_logger(__name__)
Outcome = Literal["matched", "started", "held", "parked", "duplicate", "late"]
_BEST_FIRST: Final[tuple[Outcome, ...]] = ("matched", "started", "held", "parked", "duplicate", "late")
_ANEW: Final = (e.OrchestrationResumed, e.OrchestrationForked, e.StreamOpened)
_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 5.0


class EventExchange:
    """Delivers published events to whoever waits, and held events to whoever begins to wait."""

    def __init__(
        self,
        engine: Engine,
        held: HeldEventStore,
        log: LogStore,
        router: Router,
        reader: Reader,
        ownership: Ownership,
        partitions: int,
        *,
        hold_s: float,
    ) -> None:
        self._engine = engine
        self._held = held
        self._log = log
        self._router = router
        self._reader = reader
        self._ownership = ownership
        self._partitions = partitions
        self._hold = timedelta(seconds=hold_s)
        self._starts: Callable[[Json, datetime, str | None], Awaitable[bool]] | None = None
        self._locks = Locks()
        self._new: dict[Place, set[str | None]] = {}
        """Subscribers that have not looked at what is held, with the types that they wait for."""
        self._looking: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        engine.follow(
            self, e.ListenStarted, e.OrchestrationResumed, e.OrchestrationForked, e.StreamOpened, e.EventConsumed
        )

    # Ownership --------------------------------------------------------------------------------------------------------

    def gained(self, head: Head) -> None:
        """Repeat every look of this partition, beside the work of the day: whether those of subscribers were finished is
        not recorded.
        """
        self._keep(self._patiently(lambda: self._look_again(head.partition)))

    def lost(self, partition: int) -> None:
        """The next owner looks again."""
        for place in [place for place in self._new if place[0] == partition]:
            del self._new[place]

    async def start(self) -> None:
        """Forget what is too old."""
        await self._held.expire(self._engine.clock.now() - self._hold)

    async def stop(self) -> None:
        tasks = [*self._tasks, *([self._looking] if self._looking else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _patiently(self, work: Callable[[], Awaitable[object]]) -> None:
        pause = _PAUSE_S
        while True:
            try:
                await work()
                return
            except OwnershipLostError:
                return
            except (StorageError, NodeUnavailableError) as error:
                _log.warning("events.not_delivered", detail=error.detail)
            except Exception:
                _log.exception("events.broken")
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_S)

    # Publishing -------------------------------------------------------------------------------------------------------

    def partition_of(self, source: str, id_: str) -> int:
        """Where an event lies."""
        return register_partition(source, id_, partitions=self._partitions)

    async def publish(self, event: Json, sender: Sender) -> EventOutcome:
        """Commit the event, then deliver it. Raises EventIdReusedError for the same id with other content."""
        partition = self.partition_of(event["source"], event["id"])
        return EventOutcome(
            await self._router.publish(partition, Publish(event, sender.actor, sender.trace, sender.request_id))
        )

    async def arrived(self, event: Json, sender: Sender) -> str:
        """The same on the node that owns the event's partition; gives the outcome."""
        digest = hashlib.sha256(canonical(event)).digest()
        held = HeldEvent(
            event["source"], event["id"], event["type"], digest, msgspec.json.encode(event), self._engine.clock.now()
        )
        async with self._locks.of(f"{held.source} {held.id}"):
            known = await self._held.put(held)
            if known is not None:
                if known.digest != digest:
                    raise EventIdReusedError
                if known.looked:
                    return "duplicate"
            try:
                taken = await self._offer_to_all(held, sender)
            except (StorageError, NodeUnavailableError):
                # The event is stored, so somebody has to look; the publisher is told to try again, but need not.
                self._keep(self._patiently(lambda: self._resume_look(held.source, held.id)))
                raise
        return taken or "held"

    def start_with(self, starts: Callable[[Json, datetime, str | None], Awaitable[bool]]) -> None:
        """Have this called with each event that arrives, until it returns: whether it started something."""
        self._starts = starts

    async def _offer_to_all(self, held: HeldEvent, sender: Sender) -> Outcome | None:
        """Offer an event to every subscriber, or to the first that takes it when its arrival is over; at its arrival it also
        starts what it starts. The best that became of it; None: it is held for whoever waits later.
        """
        started = False
        if self._starts is not None and not held.looked:
            started = await self._starts(msgspec.json.decode(held.event), held.received_at, sender.actor)
        outcomes = await self._delivered(held, sender)
        if started:
            outcomes.add("started")
        if outcomes or not held.looked:
            await self._held.mark(held.source, held.id, taken=bool(outcomes) or None, looked=True)
        return next((each for each in _BEST_FIRST if each in outcomes), None)

    async def _delivered(self, held: HeldEvent, sender: Sender) -> set[Outcome]:
        """What became of it at those who took it."""
        outcomes: set[Outcome] = {"matched"} if held.taken else set()
        after: Place | None = None
        while (page := await self._log.subscribers(held.event_type, after)) and not (outcomes and held.looked):
            for place in page:
                if (outcome := await self._deliver(place, held, sender)) is not None:
                    outcomes.add(outcome)
                if outcomes and held.looked:
                    break
            after = page[-1]
        return outcomes

    async def _resume_look(self, source: str, id_: str) -> None:
        """An event whose arrival is not over, or for which somebody may have begun to wait."""
        if not self._ownership.holds(self.partition_of(source, id_)):
            return
        async with self._locks.of(f"{source} {id_}"):
            known = await self._held.get(source, id_)  # it may have been taken since it was read
            if known is not None and not (known.taken and known.looked):
                await self._offer_to_all(known, NOBODY)

    async def _look_again(self, partition: int) -> None:
        while page := await self._held.unlooked([partition]):
            for event in page:
                await self._resume_look(event.source, event.id)
            if not self._ownership.holds(partition):
                return
        async for held in self._waiting(None):
            if self.partition_of(held.source, held.id) == partition:
                await self._resume_look(held.source, held.id)
                continue
            after: Place | None = None
            while places := await self._log.subscribers(held.event_type, after, only=partition):
                for place in places:
                    await self._ask_for(held, place)
                after = places[-1]

    async def _waiting(self, kind: str | None) -> AsyncIterator[HeldEvent]:
        """Events that nobody has taken, oldest first."""
        after = None
        while page := await self._held.waiting(kind, after=after):
            for event in page:
                yield event
            after = (page[-1].received_at, page[-1].source, page[-1].id)

    # Subscribing ------------------------------------------------------------------------------------------------------

    def committed(self, live: Live, events: list[e.Event]) -> None:
        """A new subscription: look at what is held. All that began to wait during a look share the next one."""
        listening = [ev.run for ev in events if isinstance(ev, e.ListenStarted) and ev.run in live.subscribed]
        anew = any(isinstance(ev, _ANEW) for ev in events) or (listening and live.state.streams)
        if anew or self._has_room_again(live, events):
            # What came while it was suspended or full, or since its original was at this point, was left to others.
            listening = sorted(live.subscribed)
        if listening:
            types = {kind for run in listening for kind in types_of(live.state, run)}
            self._new.setdefault((live.partition, live.orchestration), set()).update(types)
            if self._looking is None or self._looking.done():
                self._looking = asyncio.get_running_loop().create_task(self._look(), name="held events")

    def _has_room_again(self, live: Live, events: list[e.Event]) -> bool:
        """Whether events of its streams may have been turned away, and would be taken now."""
        if not live.state.streams:
            return False
        kept = len(live.state.held) + live.state.parked
        left = sum(isinstance(ev, e.EventConsumed) for ev in events)
        return kept < self._engine.limits.max_held <= kept + left

    async def _look(self) -> None:
        while self._new:
            new, self._new = self._new, {}
            await self._patiently(lambda new=new: self._offer_held(new))  # type: ignore[misc]

    async def _offer_held(self, new: dict[Place, set[str | None]]) -> None:
        """Offer held events to new subscribers, oldest first."""
        kinds = {kind for types in new.values() for kind in types}
        for kind in [None] if None in kinds else sorted(kind for kind in kinds if kind is not None):
            async for held in self._waiting(kind):
                for place, types in new.items():
                    if (None in types or held.event_type in types) and await self._ask_for(held, place):
                        break

    async def _ask_for(self, held: HeldEvent, to: Place) -> bool:
        """Ask the owner of an event to give it to one that waits; whether it is taken now, by this one or another."""
        partition = self.partition_of(held.source, held.id)
        return await self._router.offer(partition, Offer(held.source, held.id, to))

    async def offered(self, source: str, id_: str, to: Place) -> bool:
        """On the node that owns the event's partition: the first that takes it has it; whether it is taken."""
        async with self._locks.of(f"{source} {id_}"):
            held = await self._held.get(source, id_)
            if held is None or (held.taken and held.looked):
                return True
            if not held.looked:  # its arrival is not over
                return await self._offer_to_all(held, NOBODY) is not None
            taken = await self._deliver(to, held, NOBODY) is not None
            if taken:
                await self._held.mark(source, id_, taken=True)
            return taken

    # Delivering -------------------------------------------------------------------------------------------------------

    async def _deliver(self, to: Place, held: HeldEvent, sender: Sender) -> Outcome | None:
        """What one subscriber makes of an event; None: it does not take it."""
        event: dict[str, Any] = msgspec.json.decode(held.event)
        try:
            live = await self._reader.settled_at(to)
            if live.state.seen.get(f"{held.source} {held.id}") == held.digest:
                return "matched"  # delivered before, in a look that was not finished
            members = {**msgspec.structs.asdict(sender), "event": event, "digest": held.digest, "hold": False}
            return (await self._router.execute(to, c.ReceiveEvent, members)).received  # type: ignore[return-value]
        except NodeUnavailableError:
            raise
        except (OrchestrationEndedError, EventIdReusedError, NotFoundError, OverloadedError, InvalidInputError):
            return None
        except StorageError:
            raise
        except Exception as error:  # a defect in one that waits must not keep the event from the others
            _log.exception("event.poison")
            if self._ownership.holds(to[0]):
                await self._engine.report_poison(*to, f"an event could not be handled: {error!r}")
            return None
