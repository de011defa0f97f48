"""What auditors ask for, as the edge sees it: the feed, its exports, and who has read what."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from application.access_book import AccessBook
from application.accesses import AccessQuery, AccessRecord, AccessStore
from application.cursors import Seal
from application.exporting import Exporter
from application.feed import AuditFeed
from application.identity import Identity
from application.status import instant

Json = dict[str, Any]


class Audit:
    """`book` is where whoever reads is written down; the edge does that, since it knows the caller."""

    def __init__(
        self, feed: AuditFeed, exporter: Exporter, book: AccessBook, store: AccessStore, identity: Identity
    ) -> None:
        self.feed = feed
        self.exporter = exporter
        self.book = book
        self._store = store
        self._seal = Seal(identity.sealing_key(), "accesses")

    async def accesses(self, query: AccessQuery, cursor: str | None = None) -> Json:
        """A page of accesses, newest first: ``{"items", "next"}``."""
        await self.book.flush()  # what was answered before should be listed
        after = None if cursor is None else self._seal.opened(cursor, tuple[datetime, int, int])
        found = await self._store.newest(msgspec.structs.replace(query, after=after, limit=query.limit + 1))
        page = found[: query.limit]
        last = page[-1] if len(found) > query.limit else None
        following = None if last is None else self._seal.sealed((last.access.at, last.partition, last.number))
        return {"items": [_item(each) for each in page], "next": following}

    async def chain(self, partition: int, after: int, limit: int) -> list[Json]:
        """The accesses of one chain in order of their numbers, those above `after`."""
        return [_item(each) for each in await self._store.chain(partition, after, limit)]


def _item(record: AccessRecord) -> Json:
    access = msgspec.structs.asdict(record.access)
    return {
        **access,
        "at": instant(record.access.at),
        "chain": record.partition,
        "number": record.number,
        "previous": record.previous.hex(),
        "hash": record.hash.hex(),
    }
