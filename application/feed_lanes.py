"""One lane of the feed: the events of a partition, or of one orchestration, in their order, those that are wanted kept ready.

A lane knows how far everything has been looked at, so a reader that stops at any moment goes on without a gap: its place is
right before the first event that it has ready, or, with none, where it stopped looking.
"""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime
from typing import Final, Protocol
from uuid import UUID

import msgspec

from application.feed_context import FeedContext
from application.feed_filter import FeedFilter
from application.storage import StoredRecord
from application.whole_log import WholeLog
from domain.events import Event

_SOUGHT_IN_DATABASE: Final = 20
"""Positions that the database steps over cost so many times less than those that are decoded here."""
_LOOK: Final = 10
"""What a look into another orchestration costs, in events."""
_NEVER: Final = datetime.min.replace(tzinfo=UTC)


class Ready(msgspec.Struct, frozen=True):
    """An event that is wanted. `first`: that of its decision, where it came by."""

    place: int
    record: StoredRecord
    event: Event | None
    first: Event | None
    at: datetime


class _Sieve:
    """Keeps the wanted events of a lane ready."""

    def __init__(self, log: WholeLog, context: FeedContext, wanted: FeedFilter, partition: int) -> None:
        self.partition = partition
        self.ready: deque[Ready] = deque()
        self.past = False
        """Everything that follows is later than what is wanted."""
        self._log = log
        self._context = context
        self._wanted = wanted
        self._topics = wanted.topics()
        self._ends_at = wanted.ends_at
        self._last: tuple[UUID, int, Event] | None = None
        """(orchestration, version, first event of the decision) of what was looked at last."""
        self._latest = _NEVER

    async def take(self, place: int, record: StoredRecord) -> int:
        """Keep an event if it is wanted; gives what it cost to find that out."""
        event, wanted = self._log.event(record), self._wanted
        self._context.learn(self.partition, record, event)
        first = self._first(record, event)
        if event is not None:
            self._latest = event.at
            self.past = self._ends_at is not None and event.at > self._ends_at
        if (self._topics is not None and record.topic not in self._topics) or not wanted.takes(event):
            return 0
        cost = 0
        if wanted.by_definition:
            cost = 0 if self._context.known(self.partition, record.orchestration) else _LOOK
            if not wanted.takes_from(await self._context.origin(self.partition, record.orchestration)):
                return cost
        self.ready.append(Ready(place, record, event, first, self._latest))
        return cost

    def _first(self, record: StoredRecord, event: Event | None) -> Event | None:
        """The first event of its decision, if that came by."""
        last, self._last = self._last, None
        if event is None:
            return None
        first = None
        if event.basis is not None or record.version == 1:
            first = event
        elif last is not None and last[:2] == (record.orchestration, record.version - 1):
            together = (last[2].at, last[2].cause) == (event.at, event.cause)
            first = last[2] if together else None
        if first is not None:
            self._last = (record.orchestration, record.version, first)
        return first


class Lane(Protocol):
    """Events in one order."""

    partition: int

    @property
    def ready(self) -> deque[Ready]: ...

    @property
    def place(self) -> int:
        """Where to go on."""
        ...

    @property
    def exhausted(self) -> bool:
        """Whether there is nothing more to look at, at present."""
        ...

    async def look(self, most: int) -> int:
        """Look at the next events, about `most` at most; gives what that cost."""
        ...

    def goes_on(self, head: int) -> None:
        """There may be more: the partition has come to `head`."""
        ...


class PartitionLane:
    """Events of one partition, by position."""

    def __init__(
        self, log: WholeLog, context: FeedContext, wanted: FeedFilter, partition: int, after: int, head: int
    ) -> None:
        self.partition = partition
        self._log = log
        self._sieve = _Sieve(log, context, wanted, partition)
        self._topics = wanted.topics()
        self._scanned = after
        self._head = head

    @property
    def ready(self) -> deque[Ready]:
        return self._sieve.ready

    @property
    def place(self) -> int:
        return self.ready[0].place - 1 if self.ready else self._scanned

    @property
    def exhausted(self) -> bool:
        return self._sieve.past or self._scanned >= self._head

    def goes_on(self, head: int) -> None:
        self._head = max(self._head, head)

    async def look(self, most: int) -> int:
        if self.exhausted:
            return 0
        if self._topics == ():  # no such type
            self._scanned = self._head
            return 0
        sought = most if self._topics is None else most * _SOUGHT_IN_DATABASE
        before, until = self._scanned, min(self._head, self._scanned + sought)
        records = await self._log.window(self.partition, before, until, most, self._topics or ())
        cost = len(records)
        for record in records:
            cost += await self._sieve.take(record.position, record)
            self._scanned = record.position
            if self._sieve.past:
                return cost
        if len(records) < most:
            self._scanned = until
        return cost + (self._scanned - before) // _SOUGHT_IN_DATABASE + 1


class OrchestrationLane:
    """Events of one orchestration, by version."""

    def __init__(
        self, log: WholeLog, context: FeedContext, wanted: FeedFilter, place: tuple[int, UUID], after: int
    ) -> None:
        self.partition, self._orchestration = place
        self._log = log
        self._sieve = _Sieve(log, context, wanted, self.partition)
        self._scanned = after
        self._ended = False

    @property
    def ready(self) -> deque[Ready]:
        return self._sieve.ready

    @property
    def place(self) -> int:
        return self.ready[0].place - 1 if self.ready else self._scanned

    @property
    def exhausted(self) -> bool:
        return self._sieve.past or self._ended

    def goes_on(self, head: int) -> None:
        self._ended = False

    async def look(self, most: int) -> int:
        if self.exhausted:
            return 0
        records = await self._log.stream(self.partition, self._orchestration, self._scanned, most)
        cost = len(records) + 1
        for record in records:
            cost += await self._sieve.take(record.version, record)
            self._scanned = record.version
            if self._sieve.past:
                return cost
        self._ended = len(records) < most
        return cost
