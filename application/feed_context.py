"""What an event alone does not tell: whose it is, and what led to it. Looked up in the log, remembered for a while.

Both are found on the way when a partition is read in order; else a short look into the orchestration's own history helps. The
events of one decision have one instant and stand one after the other, so that look ends where the decision began. A public id
is believed only when it leads to where the events lie, so what was tampered with names nobody else.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final
from uuid import UUID

from application.feed_items import Origin
from application.identity import Identity
from application.storage import ArchiveStore, StoredRecord
from application.tracing import own_trace, trace_of_start
from application.views import StatusView
from application.whole_log import WholeLog
from domain.events import Beginning, Event

_KEPT: Final = 20_000
_KEPT_FIRSTS: Final = 256
"""Events may be large."""
_BACK: Final = 32


class FeedContext:
    """Shared by all readers of a node."""

    def __init__(self, log: WholeLog, archive: ArchiveStore, view: StatusView, identity: Identity) -> None:
        self._log = log
        self._archive = archive
        self._view = view
        self._identity = identity
        self._origins: OrderedDict[tuple[int, UUID], Origin] = OrderedDict()
        self._firsts: OrderedDict[tuple[int, UUID], tuple[int, int, Event]] = OrderedDict()
        """Of a decision looked up lately: its first version as far as is known, the last one seen, its first event."""

    def learn(self, partition: int, record: StoredRecord, event: Event | None) -> None:
        """A first event came by."""
        if isinstance(event, Beginning) and self._leads_to((partition, record.orchestration), event.id):
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
        if isinstance(event, Beginning) and self._leads_to(key, event.id):
            found = _told(event)
        else:
            found = await self._told_elsewhere(key)
        self._keep(key, found)
        return found

    async def _told_elsewhere(self, key: tuple[int, UUID]) -> Origin:
        """Its beginning is damaged; the status view or the archive may still know whose it is."""
        if (row := await self._view.row(*key)) is not None and self._leads_to(key, row.public_id):
            definition = f"{row.namespace}/{row.name}@{row.definition_version}"
            return Origin(row.public_id, definition, own_trace(row.public_id))
        if (archived := await self._archive.get(*key)) is not None and self._leads_to(key, archived.public_id):
            return Origin(archived.public_id, archived.definition, own_trace(archived.public_id))
        return Origin(None, None, None)

    def _leads_to(self, key: tuple[int, UUID], public_id: str) -> bool:
        return self._identity.well_formed(public_id) and self._identity.locate(public_id) == key

    async def first(self, partition: int, record: StoredRecord, event: Event) -> Event:
        """The first event of the decision that an event belongs to. What was found is remembered: a decision of thousands of
        events is not walked back over for each of them.
        """
        key = (partition, record.orchestration)
        begin, first = await self._walked_back(key, record.version, event)
        self._firsts[key] = (begin, record.version, first)
        self._firsts.move_to_end(key)
        if len(self._firsts) > _KEPT_FIRSTS:
            self._firsts.popitem(last=False)
        return first

    async def _walked_back(self, key: tuple[int, UUID], version: int, event: Event) -> tuple[int, Event]:
        """(version, event) where the decision begins, as far as that can be read."""
        first, known = event, self._firsts.get(key)
        while first.basis is None and version > 1:
            if known is not None and known[0] <= version <= known[1]:
                return known[0], known[2]
            after = max(0, version - 1 - _BACK)
            for earlier in reversed(await self._log.stream(*key, after, version - 1 - after)):
                found = self._log.event(earlier)
                if found is None or found.at != event.at or found.cause != event.cause:
                    return version, first
                version, first = earlier.version, found
                if first.basis is not None or (known is not None and known[0] <= version <= known[1]):
                    break
            else:
                version = min(version, after + 1)
        return version, first

    def _keep(self, key: tuple[int, UUID], origin: Origin) -> None:
        self._origins[key] = origin
        if len(self._origins) > _KEPT:
            self._origins.popitem(last=False)


def _told(event: Beginning) -> Origin:
    return Origin(event.id, event.definition, trace_of_start(event))
