"""The feed of everything that happened: the events of all orchestrations, merged by the time at which they happened.

Within an orchestration they come in their order, and none is missed or doubled, however many nodes write meanwhile: positions
of a partition are committed in order, and a cursor says for each partition up to where everything was given. Across
partitions the order is that of the times on the owners' clocks, as far as they have come. The work of one page is bounded in
events looked at, so a filter that takes almost nothing gives an empty page and a cursor to go on with.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from application.cursors import MalformedCursorError, Seal
from application.feed_context import FeedContext
from application.feed_filter import FeedFilter
from application.feed_items import feed_item
from application.feed_lanes import Lane, OrchestrationLane, PartitionLane, Ready
from application.heads import HeadWatch
from application.identity import Identity
from application.ports import Clock
from application.whole_log import WholeLog

Json = dict[str, Any]
_PAGE_BYTES: Final = 1_048_576
_PAGE_COST: Final = 20_000
"""Events that are looked at for one page."""
_FEWEST, _MOST = 16, 500
"""Events that are looked at together in a partition."""


class FeedPage(msgspec.Struct, frozen=True):
    """`more`: whether there is more at present. `cursor`: where to go on, now or later."""

    items: list[Json]
    more: bool
    cursor: str


class AuditFeed:
    """Any node serves it: it reads what is committed."""

    def __init__(self, log: WholeLog, context: FeedContext, heads: HeadWatch, identity: Identity, clock: Clock) -> None:
        self._log = log
        self._context = context
        self._heads = heads
        self._identity = identity
        self._clock = clock
        self._seal = Seal(identity.sealing_key(), "feed")

    def check(self, wanted: FeedFilter, cursor: str | None) -> None:
        """Raises MalformedCursorError where the other calls would, before anything is promised."""
        self._places(wanted, cursor)

    async def page(self, wanted: FeedFilter, cursor: str | None = None, limit: int = 100) -> FeedPage:
        """At most `limit` items after a cursor. Raises MalformedCursorError."""
        return await (await self._begin(wanted, cursor)).page(limit)

    async def pages(self, wanted: FeedFilter, cursor: str | None = None) -> AsyncIterator[FeedPage]:
        """Everything up to where the log was when it began."""
        walk = await self._begin(wanted, cursor)
        more = True
        while more:
            page = await walk.page(_MOST)
            more = page.more
            yield page

    async def live(
        self, wanted: FeedFilter, cursor: str | None = None, alive_s: float = 15.0
    ) -> AsyncIterator[tuple[Json, str] | None]:
        """(item, cursor after it), those that there are and those to come; None when nothing came for a while. It ends when
        the service stops, or when nothing more can come before `until`.
        """
        walk = await self._begin(wanted, cursor)
        seen = await self._heads.now()
        walk.goes_on(seen)
        loop = asyncio.get_running_loop()
        silent_at = loop.time() + alive_s
        while not self._heads.closed:
            while (given := await walk.next()) is not None:
                yield given
                silent_at = loop.time() + alive_s
            if not walk.more:
                if wanted.ends_at is not None and self._clock.now() > wanted.ends_at:
                    return
                moved = await self._heads.beyond(seen, silent_at - loop.time())
                if moved is not None:
                    seen = moved
                    walk.goes_on(moved)
            if loop.time() >= silent_at:
                yield None
                silent_at = loop.time() + alive_s

    async def _begin(self, wanted: FeedFilter, cursor: str | None) -> _Walk:
        places = self._places(wanted, cursor)
        if wanted.orchestration is not None:
            place = self._identity.locate(wanted.orchestration)
            lane = OrchestrationLane(self._log, self._context, wanted, place, places[0] if places else 0)
            return _Walk([lane], self._context, lambda places: self._seal.sealed((wanted.orchestration, places)))
        heads = await self._log.heads(self._identity.partitions)
        if places is None and (since := wanted.begins_at) is not None:
            places = list(await asyncio.gather(*(self._before(p, head, since) for p, head in enumerate(heads))))
        lanes = [
            PartitionLane(self._log, self._context, wanted, partition, after, heads[partition])
            for partition, after in enumerate(places or [0] * len(heads))
        ]
        return _Walk(lanes, self._context, lambda places: self._seal.sealed((None, places)))

    def _places(self, wanted: FeedFilter, cursor: str | None) -> list[int] | None:
        """Where each lane goes on; None: at its beginning."""
        if cursor is None:
            return None
        of, places = self._seal.opened(cursor, tuple[str | None, list[int]])
        lanes = self._identity.partitions if of is None else 1
        if of != wanted.orchestration or len(places) != lanes:
            raise MalformedCursorError("This cursor belongs to a feed with other filters; start again without it.")
        return places

    async def _before(self, partition: int, head: int, since: datetime) -> int:
        """A position before which nothing is as late as this; found by halving."""
        low, high = 0, head
        while low < high:
            middle = (low + high + 1) // 2
            records = await self._log.window(partition, middle - 1, middle, 1)
            event = self._log.event(records[0]) if records else None
            if event is not None and event.at < since:
                low = middle
            else:
                high = middle - 1
        return low


class _Walk:
    """One reader's way through its lanes."""

    def __init__(self, lanes: Sequence[Lane], context: FeedContext, sealed: Any) -> None:
        self._lanes = lanes
        self._context = context
        self._sealed = sealed
        self._look = max(_FEWEST, min(_MOST, _PAGE_COST // (4 * len(lanes))))
        self._cost = 0

    @property
    def more(self) -> bool:
        """Whether there is more at present."""
        return any(lane.ready or not lane.exhausted for lane in self._lanes)

    @property
    def cursor(self) -> str:
        found: str = self._sealed([lane.place for lane in self._lanes])
        return found

    def goes_on(self, heads: Sequence[int]) -> None:
        """There is more to look at."""
        for lane in self._lanes:
            lane.goes_on(heads[lane.partition])

    async def page(self, limit: int) -> FeedPage:
        items: list[Json] = []
        self._cost = size = 0
        if len(self._lanes) > 1:  # a page needs little more of each lane than its share
            self._look = min(self._look, max(_FEWEST, 2 * limit // len(self._lanes)))
        while len(items) < limit and size < _PAGE_BYTES and (ready := await self._earliest()) is not None:
            items.append(await self._item(*ready))
            size += len(ready[1].record.state)
        return FeedPage(items, self.more, self.cursor)

    async def next(self) -> tuple[Json, str] | None:
        """The next item and the cursor after it; None when nothing more is at hand: all is given, or it took much looking."""
        self._cost = 0
        ready = await self._earliest()
        return None if ready is None else (await self._item(*ready), self.cursor)

    async def _earliest(self) -> tuple[Lane, Ready] | None:
        """Takes the earliest event of all lanes, once each has one ready, or has none, or has been looked at enough."""
        while self._cost < _PAGE_COST:
            empty = [lane for lane in self._lanes if not lane.ready and not lane.exhausted]
            if not empty:
                break
            self._cost += sum(await asyncio.gather(*(lane.look(self._look) for lane in empty)))
        ready = [lane for lane in self._lanes if lane.ready]
        if not ready:
            return None
        lane = min(ready, key=_next_at)
        return lane, lane.ready.popleft()

    async def _item(self, lane: Lane, ready: Ready) -> Json:
        origin = await self._context.origin(lane.partition, ready.record.orchestration)
        first = ready.first
        if first is None and ready.event is not None:
            first = await self._context.first(lane.partition, ready.record, ready.event)
        return feed_item(ready.record, ready.event, origin, first)


def _next_at(lane: Lane) -> datetime:
    return lane.ready[0].at
