"""The contract of the list of tasks for people: rows change with the events, filters, order, pages."""

from __future__ import annotations

from typing import Any

import pytest

from application.human_store import EVERYONE, HumanQuery
from application.storage import DropHuman, PutHuman
from tests.contract.storages import PARTITIONS, identity, minutes, written
from tests.support.owning import own

pytestmark = pytest.mark.anyio


def task(orchestration: int, number: int = 1, *people: str, **members: Any) -> PutHuman:
    fields: dict[str, Any] = {
        "orchestration": identity(orchestration),
        "number": number,
        "public_id": f"o_{orchestration}",
        "namespace": "bank",
        "name": "loan",
        "status": "claimed" if "assignee" in members else "open",
        "assignee": None,
        "people": people or (EVERYONE,),
        "rank": 0,
        "due_at": None,
        "created_at": minutes(0),
        "content": b"\x00\xff",
    }
    return PutHuman(**(fields | members))


async def change(storage, partition, *work):
    [head] = await storage.log.heads([partition])
    assert await storage.log.write([written(head, work=work)]) == [True]


async def found(storage, **query: Any) -> list[tuple[str, int]]:
    return [(row.public_id, row.number) for row in await storage.human_tasks.list(HumanQuery(**query))]


async def test_a_row_comes_changes_and_goes(storage):
    await change(storage, 1, task(1, due_at=minutes(3)))
    [row] = await storage.human_tasks.list(HumanQuery())
    assert (row.status, row.assignee, row.due_at, row.created_at) == ("open", None, minutes(3), minutes(0))
    assert row.content == b"\x00\xff"
    await change(storage, 1, task(1, assignee="ann", rank=-7, content=b"{}"))
    [row] = await storage.human_tasks.list(HumanQuery())
    assert (row.status, row.assignee, row.rank, row.due_at, row.content) == ("claimed", "ann", -7, None, b"{}")
    await change(storage, 1, DropHuman(identity(1), 1), DropHuman(identity(2), 9))
    assert await found(storage) == []


async def test_within_a_transaction_the_last_word_counts(storage):
    await change(
        storage, 0, task(1), DropHuman(identity(1), 1), task(2), task(2, assignee="ann"), DropHuman(identity(3), 1)
    )
    assert await found(storage) == [("o_2", 1)]
    assert await found(storage, assignee="ann") == [("o_2", 1)]


async def test_the_most_urgent_come_first_then_the_oldest_over_all_partitions(storage):
    await change(storage, 0, task(1), task(2, rank=-5, created_at=minutes(2)), task(3, created_at=minutes(-1)))
    await change(storage, 3, task(4, rank=-5, created_at=minutes(1)), task(5, 2), task(5, 1))
    order = [("o_4", 1), ("o_2", 1), ("o_3", 1), ("o_1", 1), ("o_5", 1), ("o_5", 2)]
    assert await found(storage) == order
    pages, after = [], None
    while page := await storage.human_tasks.list(HumanQuery(limit=2, after=after)):
        pages.append([(row.public_id, row.number) for row in page])
        after = (page[-1].rank, page[-1].created_at, page[-1].public_id, page[-1].number)
    assert pages == [order[:2], order[2:4], order[4:]]


async def test_filters(storage):
    await change(storage, 0, task(1, 1, "u:ann", "g:clerks"), task(2, 1, "g:managers", due_at=minutes(1)))
    await change(
        storage, 2, task(3, name="other", assignee="bob", due_at=minutes(9)), task(4, 1, 'u:o"x', namespace="shop")
    )
    assert await found(storage, people=["u:ann", EVERYONE]) == [("o_1", 1), ("o_3", 1)]
    assert await found(storage, people=["g:managers", "g:clerks"]) == [("o_1", 1), ("o_2", 1)]
    assert await found(storage, people=['u:o"x']) == [("o_4", 1)]
    assert await found(storage, people=["u:nobody"]) == []
    assert await found(storage, status="open", namespace="bank") == [("o_1", 1), ("o_2", 1)]
    assert await found(storage, name="other", status="claimed") == [("o_3", 1)]
    assert await found(storage, public_id="o_2") == [("o_2", 1)]
    assert await found(storage, overdue=(minutes(1), True)) == [("o_2", 1)]
    assert await found(storage, overdue=(minutes(1), False)) == [("o_1", 1), ("o_3", 1), ("o_4", 1)]


async def test_they_survive_a_restart(place):
    first = place()
    await own(first, "first", PARTITIONS)
    await change(first, 0, task(1))
    await first.log.close()
    second = place()
    await own(second, "second", PARTITIONS)
    assert await found(second) == [("o_1", 1)]
    await second.log.close()
