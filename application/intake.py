"""Takes events from the queues of brokers into the service: acknowledged after the commit, deduplicated by source and id.

What becomes of a message is decided here, whatever the broker:

- *accepted*: the event is committed (or was before: a repeat), so the broker may forget the message.
- *rejected*: it will never be accepted (no CloudEvent, too large, its id has other content). It leaves the queue, to the
  place for dead letters where there is one, and holds up nobody.
- *not now*: the service is overloaded or its database away. The message stays unacknowledged and is tried again after a
  pause; since a source has a bounded number of messages in hand, the queue at the broker grows instead of our memory.
  Giving it back would be a hot loop, and brokers count that as failed deliveries.

A source that loses its connection begins again after a pause that grows; the broker then delivers what was not acknowledged
once more, here or to another node.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, Protocol

import structlog

from application.ports import DeliveryError
from application.service import EventOutcome
from domain.errors import EventIdReusedError, OverloadedError, StorageError

_log = structlog.get_logger(__name__)
_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 15.0
_MOST_BROKEN: Final = 5
"""Attempts at a message whose handling fails in a way that nobody foresaw."""


class UnreadableMessageError(Exception):
    """A message is no CloudEvent that could be taken; the text says why and repeats nothing of the message."""


class SourceAwayError(Exception):
    """The connection to a broker is lost or cannot be made; the text says why, without credentials."""


class Delivery(Protocol):
    """A message that the broker waits to hear about. Each of these may fail silently: the broker delivers it again."""

    def event(self) -> dict[str, Any]:
        """The event in its JSON form. Raises UnreadableMessageError."""
        ...

    async def accept(self) -> None:
        """The broker may forget it."""
        ...

    async def reject(self, reason: str) -> None:
        """It goes to the dead letters, or is dropped. Raises DeliveryError where that has to be tried again."""
        ...

    async def keep(self) -> None:
        """Tell the broker that it is still being worked on."""
        ...


Settle = Callable[[Delivery], Awaitable[None]]


class EventSource(Protocol):
    """A queue of a broker, consumed by any number of nodes."""

    @property
    def name(self) -> str: ...

    async def consume(self, settle: Settle, connected: Callable[[], None]) -> None:
        """Connect, call `connected`, and hand each message to `settle`, a bounded number at a time, until the connection is
        lost (SourceAwayError). When cancelled it closes the connection; what is not settled then is delivered again.
        """
        ...


class Publish(Protocol):
    """The use case."""

    def __call__(self, event: dict[str, Any], *, actor: str) -> Coroutine[Any, Any, EventOutcome]: ...


class Intake:
    """One loop for each source of this process."""

    def __init__(self, publish: Publish, sources: Sequence[EventSource]) -> None:
        self._publish = publish
        self._sources = sources
        self._tasks: list[asyncio.Task[None]] = []
        self._publishing: set[asyncio.Task[EventOutcome]] = set()
        self.connected = {source.name: False for source in sources}
        self.outcomes = {(source.name, each): 0 for source in sources for each in ("accepted", "rejected", "delayed")}
        """(source, what became of it) -> how many; ``delayed`` counts the attempts that have to be repeated."""

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._run(source), name=f"source {source.name}") for source in self._sources]

    async def stop(self) -> None:
        """What is in hand is given back to the broker; what is just being committed ends first."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*self._publishing, return_exceptions=True)

    async def _run(self, source: EventSource) -> None:
        pause_s = _PAUSE_S

        def connected() -> None:
            nonlocal pause_s
            pause_s = _PAUSE_S
            self.connected[source.name] = True
            _log.info("source.connected", source=source.name)

        while True:
            try:
                await source.consume(lambda delivery: self._settle(source.name, delivery), connected)
            except SourceAwayError as error:
                _log.warning("source.away", source=source.name, detail=str(error))
            except Exception:
                _log.exception("source.broken", source=source.name)
            finally:
                self.connected[source.name] = False
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    async def _settle(self, source: str, delivery: Delivery) -> None:
        reason = await self._reason_against(source, delivery)
        if reason is None:
            self.outcomes[source, "accepted"] += 1
            await delivery.accept()
        else:
            self.outcomes[source, "rejected"] += 1
            _log.warning("source.rejected", source=source, detail=reason)
            await self._reject(source, delivery, reason)

    async def _committed(self, event: dict[str, Any], actor: str) -> None:
        """Goes on to its end when whoever waits for it is cancelled: a commit has no half."""
        task = asyncio.ensure_future(self._publish(event, actor=actor))
        self._publishing.add(task)
        task.add_done_callback(self._ended)
        await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[EventOutcome]) -> None:
        self._publishing.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited may be gone; the broker delivers it again

    async def _reject(self, source: str, delivery: Delivery, reason: str) -> None:
        """Until the dead letters have it: it must not be lost because their place is missing."""
        pause_s = _PAUSE_S
        while True:
            try:
                await delivery.reject(reason)
                return
            except DeliveryError as error:
                _log.error("source.not_buried", source=source, detail=str(error))
            await delivery.keep()
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    async def _reason_against(self, source: str, delivery: Delivery) -> str | None:
        """None: the event is committed. Returns only when that is decided."""
        try:
            event = delivery.event()
        except UnreadableMessageError as error:
            return str(error)
        pause_s = _PAUSE_S
        broken = 0
        while True:
            try:
                await self._committed(event, f"source:{source}")
            except EventIdReusedError as error:
                return error.detail
            except (OverloadedError, StorageError) as error:
                _log.warning("source.delayed", source=source, detail=error.detail)
            except Exception:
                broken += 1
                _log.exception("source.event_broken", source=source)
                if broken == _MOST_BROKEN:
                    return "its handling fails again and again"
            else:
                return None
            self.outcomes[source, "delayed"] += 1
            await delivery.keep()
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
