"""Who read what, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from application.accesses import GENESIS, Access, AccessQuery, AccessRecord, chained
from tests.simulation.memory_data import Calls, MemoryData


class MemoryAccesses:
    """`AccessStore` in memory."""

    def __init__(self, data: MemoryData, calls: Calls) -> None:
        self._data = data
        self._calls = calls

    async def append(self, partition: int, accesses: Sequence[Access]) -> list[AccessRecord]:
        async with self._calls.call("append accesses"):
            known = self._data.accesses.setdefault(partition, [])
            last = (known[-1].number, known[-1].hash) if known else (0, GENESIS)
            made = list(chained(partition, last, accesses))
            known += made
            return made

    async def newest(self, query: AccessQuery) -> list[AccessRecord]:
        async with self._calls.call("list accesses"):
            found = [each for chain in self._data.accesses.values() for each in chain if _fits(each.access, query)]
            found.sort(key=_newest_first)
            if query.after is not None:
                at, partition, number = query.after
                found = [each for each in found if _newest_first(each) > (-at.timestamp(), partition, -number)]
            return found[: query.limit]

    async def chain(self, partition: int, after: int = 0, limit: int = 1000) -> list[AccessRecord]:
        async with self._calls.call("chain of accesses"):
            return [each for each in self._data.accesses.get(partition, []) if each.number > after][:limit]

    async def expire(self, before: datetime) -> int:
        async with self._calls.call("expire accesses"):
            removed = 0
            for chain in self._data.accesses.values():
                young = (index for index, each in enumerate(chain) if each.access.at >= before)
                kept = next(young, len(chain) - 1)
                del chain[:kept]
                removed += kept
            return removed


def _fits(access: Access, query: AccessQuery) -> bool:
    wanted = [(query.actor, access.actor), (query.what, access.what), (query.orchestration, access.orchestration)]
    since = query.since is None or access.at >= query.since
    until = query.until is None or access.at <= query.until
    return since and until and all(given in (None, found) for given, found in wanted)


def _newest_first(record: AccessRecord) -> Any:
    return -record.access.at.timestamp(), record.partition, -record.number
