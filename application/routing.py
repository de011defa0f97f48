"""Brings a request to the owner of its partition: straight to the engine where that is this node, else through the inbox.

A request that was refused because the partition is not ours was certainly not carried out, so it may go the other way. One
that was put into the inbox is carried out by whoever owns the partition, now or later; when no reply comes in time the
caller is told to repeat, under the same id where its request had a key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
import structlog

from application.callbacks import LATE
from application.engine import Engine, Outcome, Place
from application.forwarding import Begin, Done, Execute, Exists, Offer, Publish, Request, encoded, opened
from application.identity import Chance, Identity
from application.inbox import Inbox, InboxRow, Signals
from application.ownership import Ownership
from application.ports import Clock
from domain import commands as c
from domain import events as e
from domain.errors import NodeUnavailableError, OwnershipLostError, StorageError

_log = structlog.get_logger(__name__)
_PATIENCE_S: Final = 5.0
_POLL_S: Final = 0.5


class Router:
    """One per node; the edge and the exchange talk to orchestrations through it."""

    def __init__(
        self,
        engine: Engine,
        ownership: Ownership,
        inbox: Inbox,
        signals: Signals,
        identity: Identity,
        clock: Clock,
        chance: Chance,
    ) -> None:
        self._engine = engine
        self._ownership = ownership
        self._inbox = inbox
        self._identity = identity
        self._clock = clock
        self._chance = chance
        self._signals = signals
        self._waiting: dict[tuple[int, str], set[asyncio.Future[bytes]]] = {}
        self._wake = asyncio.Event()
        self._collector: asyncio.Task[None] | None = None
        self._local: Callable[[int, Request], Awaitable[Any]] | None = None
        signals.listen(self._hear)

    def carries_out(self, local: Callable[[int, Request], Awaitable[Any]]) -> None:
        """How requests other than commands are carried out here."""
        self._local = local

    def _hear(self, hint: str) -> None:
        if hint == "reply":
            self._wake.set()

    # What can be asked ------------------------------------------------------------------------------------------------

    async def execute(
        self,
        place: Place,
        command: type[c.Command],
        members: dict[str, Any],
        *,
        if_match: int | None = None,
        command_id: str | None = None,
    ) -> Done:
        """A command for one orchestration. Raises RetraceError. With a `command_id` it is carried out once, however often it
        is asked for and whoever owns the partition by then: so it always goes through the inbox.
        """
        if command_id is None and self._ownership.holds(place[0]):
            try:
                outcome = await self._engine.execute(
                    place, lambda _: self._engine.command(command, **members), if_match=if_match
                )
                return done(outcome)
            except OwnershipLostError:
                pass
        request = Execute(place[1], command.__name__, members, if_match)
        return msgspec.convert(await self._elsewhere(place[0], request, command_id), Done)

    async def begin(self, request: Begin) -> Done:
        """Start an orchestration whose id is known. May be repeated: it is begun once."""
        found = await self._ask(self._identity.locate(request.id)[0], request)
        return found if isinstance(found, Done) else msgspec.convert(found, Done)

    async def exists(self, public_id: str) -> bool:
        """Whether an orchestration is unfinished; no start of it is under way when this answers."""
        return bool(await self._ask(self._identity.locate(public_id)[0], Exists(public_id)))

    async def publish(self, partition: int, request: Publish) -> Any:
        """An event, to the owner of the partition where it is held."""
        return await self._ask(partition, request)

    async def offer(self, partition: int, request: Offer) -> bool:
        """A held event for one that waits, to the owner of the event's partition; whether somebody has it now."""
        return bool(await self._ask(partition, request))

    async def _ask(self, partition: int, request: Request) -> Any:
        if self._ownership.holds(partition) and self._local is not None:
            try:
                return await self._local(partition, request)
            except OwnershipLostError:
                pass
        return await self._elsewhere(partition, request, None)

    # Through the inbox ------------------------------------------------------------------------------------------------

    async def _elsewhere(self, partition: int, request: Request, command_id: str | None) -> Any:
        name = command_id or self._chance.random_bytes(16).hex()
        row = InboxRow(partition, name, encoded(request), kept=command_id is not None)
        reply = await self._inbox.put(row, self._clock.now())
        return opened(reply if reply is not None else await self._reply(row))

    async def _reply(self, row: InboxRow) -> bytes:
        loop = asyncio.get_running_loop()
        key = (row.partition, row.command_id)
        future: asyncio.Future[bytes] = loop.create_future()
        self._waiting.setdefault(key, set()).add(future)  # a repeat may come while the first still waits
        if self._collector is None or self._collector.done():
            self._collector = loop.create_task(self._collect(), name="replies")
        try:
            return await asyncio.wait_for(future, _PATIENCE_S)
        except TimeoutError:
            raise NodeUnavailableError from None
        finally:
            self._waiting[key].discard(future)
            if not self._waiting[key]:
                del self._waiting[key]

    async def _collect(self) -> None:
        """While anybody waits for a reply: one look for all, when a hint comes, else now and then."""
        while self._waiting:
            self._wake.clear()
            try:
                found = await self._inbox.replies(list(self._waiting))
            except StorageError:
                found = {}
            for key, futures in self._waiting.items():
                for future in futures if key[1] in found else ():
                    if not future.done():
                        future.set_result(found[key[1]])
            try:
                async with asyncio.timeout(_POLL_S):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def stop(self) -> None:
        """Nobody waits any more."""
        if self._collector is not None:
            self._collector.cancel()
            await asyncio.gather(self._collector, return_exceptions=True)


def done(outcome: Outcome, *, new: bool = False) -> Done:
    """The plain form of an outcome."""
    received: str | None = next((ev.outcome for ev in outcome.events if isinstance(ev, e.EventReceived)), None)
    if outcome.events and isinstance(outcome.events[0], e.ResultLate):
        received = LATE
    return Done(outcome.id, outcome.status, outcome.version, received, new)
