"""Open tasks for people in memory."""

from __future__ import annotations

from application.human_store import HumanQuery, HumanRow
from application.storage import PutHuman
from tests.simulation.memory_data import Calls, MemoryData


class MemoryHumanTasks:
    """`HumanStore` in memory."""

    def __init__(self, data: MemoryData, calls: Calls) -> None:
        self._data = data
        self._calls = calls

    async def list(self, query: HumanQuery) -> list[HumanRow]:
        async with self._calls.call("human tasks"):
            every = [put for partition in self._data.partitions for put in partition.people.values()]
            found = sorted((_row(put) for put in every if _fits(put, query)), key=_place)
            return [row for row in found if query.after is None or _place(row) > query.after][: query.limit]


def _fits(put: PutHuman, query: HumanQuery) -> bool:
    for name in ("assignee", "status", "namespace", "name", "public_id"):
        if getattr(query, name) not in (None, getattr(put, name)):
            return False
    if query.people is not None and not set(query.people) & set(put.people):
        return False
    if query.overdue is None:
        return True
    at, wanted = query.overdue
    return (put.due_at is not None and put.due_at <= at) is wanted


def _row(put: PutHuman) -> HumanRow:
    return HumanRow(**{name: getattr(put, name) for name in HumanRow.__struct_fields__})


def _place(row: HumanRow) -> tuple[object, ...]:
    return row.rank, row.created_at, row.public_id, row.number
