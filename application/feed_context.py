"""What an event alone does not tell: whose it is, and what led to it. Looked up in the log, remembered for a while.

Both are found on the way when a partition is read in order; else a short look into the orchestration's own history helps. The
events of one decision have one instant and stand one after the other, so that look ends where the decision began.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final
from uuid import UUID

from application.feed_items import Origin
from application.storage import ArchiveStore, StoredRecord
from application.tracing import own_trace, trace_of_start
from application.whole_log import WholeLog
from domain.events import Event, OrchestrationStarted

_KEPT: Final = 20_000
_BACK: Final = 32


class FeedContext:
    """Shared by all readers of a node."""

    def __init__(self, log: WholeLog, archive: ArchiveStore) -> None:
        self._log = log
        self._archive = archive
        self._origins: OrderedDict[tuple[int, UUID], Origin] = OrderedDict()

    def learn(self, partition: int, record: StoredRecord, event: Event | None) -> None:
        """A first event came by."""
        if isinstance(event, OrchestrationStarted):
            self._keep((partition, record.orchestration), _told(event))

    def known(self, partition: int, orchestration: UUID) -> bool:
        """Whether `origin` needs no look."""
        return (partition, orchestration) in self._origins

    async def origin(self, partition: int, orchestration: UUID) -> Origin:
        """Whose events these are."""
        key = (partition, orchestration)
        if (known := self._origins.get(key)) is not None:
            self._origins.move_to_end(key)
            return known
        records = await self._log.stream(partition, orchestration, 0, 1)
        event = self._log.event(records[0]) if records else None
        if isinstance(event, OrchestrationStarted):
            found = _told(event)
        else:
            # Its beginning is damaged; the archive may still know whose it is.
            archived = await self._archive.get(partition, orchestration)
            found = Origin(None, None, None)
            if archived is not None:
                found = Origin(archived.public_id, archived.definition, own_trace(archived.public_id))
        self._keep(key, found)
        return found

    async def first(self, partition: int, record: StoredRecord, event: Event) -> Event:
        """The first event of the decision that an event belongs to."""
        first, version = event, record.version
        while first.basis is None and version > 1:
            after = max(0, version - 1 - _BACK)
            page = await self._log.stream(partition, record.orchestration, after, version - 1 - after)
            for earlier in reversed(page):
                found = self._log.event(earlier)
                if found is None or found.at != event.at or found.cause != event.cause:
                    return first
                first = found
                if found.basis is not None:
                    return first
            version = after + 1
        return first

    def _keep(self, key: tuple[int, UUID], origin: Origin) -> None:
        self._origins[key] = origin
        if len(self._origins) > _KEPT:
            self._origins.popitem(last=False)


def _told(event: OrchestrationStarted) -> Origin:
    return Origin(event.id, event.definition, trace_of_start(event))
