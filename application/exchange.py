"""Events between orchestrations and the world: *write, then look* (storage.md).

A publisher commits the event, then reads the subscriptions; a subscriber commits its subscription, then reads the held
events. Whichever comes second sees the other, so no event is lost between them; looks that were not finished are repeated
after a restart. Each orchestration drops repeats by source and id.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import structlog

from application.engine import Engine
from application.live import Live
from application.service import EventOutcome, Json
from application.storage import HeldEvent, HeldEventStore, LogStore, canonical
from domain import commands as c
from domain import events as e
from domain.errors import (
    EventIdReusedError,
    OrchestrationEndedError,
    OverloadedError,
    OwnershipLostError,
    StorageError,
)

_log = structlog.get_logger(__name__)
_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 5.0


class EventExchange:
    """Delivers published events to whoever waits, and held events to whoever begins to wait."""

    def __init__(self, engine: Engine, held: HeldEventStore, log: LogStore, *, hold_s: float) -> None:
        self._engine = engine
        self._held = held
        self._log = log
        self._hold = timedelta(seconds=hold_s)
        self._any_held = True
        """False: subscribers need not look, for nothing is held."""
        self._puts = 0
        self._watching_own = True
        self._own: set[tuple[str, str]] = set()
        """Events published by this process, until what the last owner left behind has been looked after."""
        self._lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        engine.follow(self)

    def committed(self, live: Live, events: list[e.Event]) -> None:
        """A new subscription: look at what is held."""
        if not self._any_held:
            return
        listening = [ev.run for ev in events if isinstance(ev, e.ListenStarted) and ev.run in live.subscribed]
        if any(isinstance(ev, e.OrchestrationResumed) for ev in events):
            listening = sorted(live.subscribed)  # what came while it was suspended was left to others
        if listening:
            types = {kind for run in listening for kind in _types(live, run)}
            self._keep(self._offer(live.partition, live.orchestration, types))

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def start(self) -> None:
        """Forget what is too old, and repeat every look beside the work of the day: whether those of subscribers were
        finished is not recorded.
        """
        await self._held.expire(self._engine.clock.now() - self._hold)
        self._any_held = True
        self._keep(self._patiently(self._look_everywhere))

    async def _look_everywhere(self) -> None:
        while page := [
            each for each in await self._held.unlooked(100 + len(self._own)) if (each.source, each.id) not in self._own
        ]:
            for event in page:
                await self._resume_look(event)
        async for event in self._waiting(None):
            if (event.source, event.id) not in self._own:
                await self._resume_look(event)
        self._watching_own = False
        self._own.clear()
        puts = self._puts
        if not await self._held.waiting(None, limit=1) and puts == self._puts:
            self._any_held = False

    async def _resume_look(self, event: HeldEvent) -> None:
        """An event that the last owner left behind; those of this process are looked after by their publishers."""
        async with self._lock:
            known = await self._held.put(event)  # it may have been taken since it was read
            if known is not None and not (known.taken and known.looked):
                await self._offer_to_all(known, None)

    async def _waiting(self, kind: str | None) -> AsyncIterator[HeldEvent]:
        """Events that nobody has taken, oldest first."""
        after = None
        while page := await self._held.waiting(kind, after=after):
            for event in page:
                yield event
            after = (page[-1].received_at, page[-1].source, page[-1].id)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def publish(self, event: Json, actor: str | None) -> EventOutcome:
        """Commit the event, then deliver it. Raises EventIdReusedError for the same id with other content."""
        digest = hashlib.sha256(canonical(event)).digest()
        held = HeldEvent(
            event["source"], event["id"], event["type"], digest, msgspec.json.encode(event), self._engine.clock.now()
        )
        self._puts += 1
        if self._watching_own:
            self._own.add((held.source, held.id))
        known = await self._held.put(held)
        if known is not None:
            if known.digest != digest:
                raise EventIdReusedError
            if known.looked:
                return EventOutcome("duplicate")
        self._any_held = True
        try:
            taken = await self._look(held, actor)
        except StorageError:
            self._keep(self._look_again(held, actor))
            raise
        return EventOutcome("matched" if taken else "held")

    async def _look_again(self, held: HeldEvent, actor: str | None) -> None:
        """The event is stored, so somebody has to look; the publisher was told to try again, but need not."""
        await self._patiently(lambda: self._look(held, actor))

    async def _patiently(self, work: Callable[[], Awaitable[object]]) -> None:
        pause = _PAUSE_S
        while True:
            try:
                await work()
                return
            except OwnershipLostError:
                return
            except StorageError as error:
                _log.warning("events.not_delivered", detail=error.detail)
            except Exception:
                _log.exception("events.broken")
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_S)

    async def _look(self, held: HeldEvent, actor: str | None) -> bool:
        async with self._lock:
            return await self._offer_to_all(held, actor)

    async def _offer_to_all(self, held: HeldEvent, actor: str | None) -> bool:
        """Offer an event to every subscriber, or to the first that takes it when its arrival is over; whether one did."""
        taken = False
        after: tuple[int, UUID] | None = None
        while (page := await self._log.subscribers(held.event_type, after)) and not (taken and held.looked):
            for partition, orchestration in page:
                taken = await self._deliver(partition, orchestration, held, actor) or taken
                if taken and held.looked:
                    break
            after = page[-1]
        if taken or not held.looked:
            await self._held.mark(held.source, held.id, taken=taken or None, looked=True)
        return taken

    async def _offer(self, partition: int, orchestration: UUID, types: set[str | None]) -> None:
        """Offer held events to a new subscriber, oldest first; the first taker has them."""

        async def offer() -> None:
            async with self._lock:
                for kind in [None] if None in types else sorted(kind for kind in types if kind is not None):
                    async for held in self._waiting(kind):
                        if await self._deliver(partition, orchestration, held, None):
                            await self._held.take(held.source, held.id)

        await self._patiently(offer)

    async def _deliver(self, partition: int, orchestration: UUID, held: HeldEvent, actor: str | None) -> bool:
        event: dict[str, Any] = msgspec.json.decode(held.event)
        try:
            live = await self._engine.cache.settled_at(partition, orchestration)
            if live.state.seen.get(f"{held.source} {held.id}") == held.digest:
                return True  # delivered before, in a look that was not finished
            outcome = await self._engine.execute(
                live.id,
                lambda _: self._engine.command(
                    c.ReceiveEvent, actor=actor, event=event, digest=held.digest, hold=False
                ),
            )
        except (OrchestrationEndedError, EventIdReusedError, OverloadedError):
            return False
        return any(isinstance(ev, e.EventReceived) for ev in outcome.events)


def _types(live: Live, run: str) -> tuple[str | None, ...]:
    listening = live.state.runs[run].listening
    return listening.types if listening else ()
