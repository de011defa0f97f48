"""What led to an event of the feed is found without walking over the same events again and again."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

from application.feed_context import FeedContext
from application.storage import StoredRecord

ONE = UUID(int=1)


class Log:
    """A history of decisions: lists of versions; only the first event of each has a basis."""

    def __init__(self, *sizes: int) -> None:
        self.read = 0
        self.events: list[Any] = []
        for number, size in enumerate(sizes):
            self.events += [
                SimpleNamespace(at=number, cause=None, basis=None if index else number) for index in range(size)
            ]

    def record(self, version: int) -> StoredRecord:
        return cast(StoredRecord, SimpleNamespace(orchestration=ONE, version=version))

    async def stream(self, _partition: int, _orchestration: UUID, after: int, limit: int) -> list[StoredRecord]:
        self.read += limit
        return [self.record(version) for version in range(after + 1, min(after + limit, len(self.events)) + 1)]

    def event(self, record: StoredRecord) -> Any:
        return self.events[record.version - 1]


def firsts(log: Log, versions: list[int]) -> list[int]:
    """The decision in which each of these versions was found to be."""
    context = FeedContext(cast(Any, log), cast(Any, None), cast(Any, None), cast(Any, None))

    async def found() -> list[int]:
        firsts: list[Any] = [await context.first(0, log.record(each), log.events[each - 1]) for each in versions]
        return [each.at for each in firsts]

    return asyncio.run(found())


def test_each_event_belongs_to_its_own_decision_in_whatever_order_they_are_asked_for():
    log = Log(1, 70, 3, 40, 1, 2)
    wanted = [event.at for event in log.events]
    versions = list(range(1, len(wanted) + 1))
    assert firsts(log, versions) == wanted
    assert firsts(log, versions[::-1]) == wanted[::-1]
    mixed = versions[::3] + versions[1::3] + versions[::-7]
    assert firsts(log, mixed) == [wanted[each - 1] for each in mixed]


def test_a_large_decision_is_walked_over_once():
    log = Log(1, 5000)
    firsts(log, list(range(3, 5000, 5)))
    assert log.read < 5000 * 10
