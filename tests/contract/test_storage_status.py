"""The contract of StatusView: each event counts once; lists are stable, filtered and in one order."""

from __future__ import annotations

import msgspec
import pytest

from application.views import Move, StatusQuery, StatusRow
from tests.contract.storages import PARTITIONS, identity, minutes

pytestmark = pytest.mark.anyio
replace = msgspec.structs.replace


def row(number: int, **fields) -> StatusRow:
    return StatusRow(
        **{
            "partition": number % PARTITIONS,
            "orchestration": identity(number),
            "public_id": f"o{number:03}",
            "namespace": "shop",
            "name": "order",
            "definition_version": "1.0.0",
            "status": "running",
            "version": 1,
            "business_key": None,
            "tags": {},
            "incidents": 0,
            "started_at": minutes(number),
            "updated_at": minutes(number),
            "summary": b"{}",
            **fields,
        }
    )


async def project(storage, *rows):
    """Put rows into the view, whatever was tracked so far."""
    for each in rows:
        at = (await storage.view.tracked("status")).get(each.partition, 0)
        assert await storage.view.apply("status", [Move(each.partition, at, at + 1, [each])])


async def ids(storage, **query) -> list[str]:
    return [each.public_id for each in await storage.view.list(StatusQuery(**query))]


async def test_rows_come_back_as_they_were(storage):
    full = row(1, business_key="no. 7 — ü", tags={"é": "✓", "b": ""}, incidents=2, summary=b"\x00{}", status="faulted")
    await project(storage, full)
    assert await storage.view.list(StatusQuery()) == [full]


async def test_one_row_is_found_by_its_place(storage):
    await project(storage, row(1), row(2, tags={"a": "b"}))
    assert await storage.view.row(2, identity(2)) == row(2, tags={"a": "b"})
    assert await storage.view.row(1, identity(2)) is None


async def test_a_step_is_projected_exactly_once(storage):
    assert await storage.view.tracked("status") == {}
    assert await storage.view.apply("status", [Move(1, 0, 5, [row(1)])])
    assert not await storage.view.apply("status", [Move(1, 0, 5, [row(1, status="twice")])])
    assert not await storage.view.apply("status", [Move(1, 4, 6, [row(1, status="overlapping")])])
    assert not await storage.view.apply("status", [Move(2, 3, 6, [row(2, status="with a gap")])])
    assert await storage.view.apply("status", [Move(1, 5, 6, [row(1, status="completed"), row(5)])])
    assert await storage.view.apply("other", [Move(1, 0, 2, [])])
    assert await storage.view.tracked("status") == {1: 6}
    assert [each.status for each in await storage.view.list(StatusQuery())] == ["running", "completed"]


async def test_partitions_move_together_and_each_only_from_where_it_was(storage):
    moves = [Move(1, 0, 5, [row(1)]), Move(2, 3, 4, [row(2, partition=2)]), Move(3, 0, 1, [row(3, partition=3)])]
    assert await storage.view.apply("status", moves) == {1, 3}
    assert await storage.view.tracked("status") == {1: 5, 3: 1}
    assert await storage.view.apply("status", [Move(3, 1, 2, []), Move(1, 0, 5, [row(4)])]) == {3}
    assert await storage.view.apply("status", []) == set()
    assert sorted(await ids(storage)) == sorted([row(1).public_id, row(3, partition=3).public_id])


async def test_the_last_row_of_an_orchestration_wins_within_a_step(storage):
    rows = [row(1, tags={"a": "1"}), row(1, version=2, tags={"b": "2"})]
    await storage.view.apply("status", [Move(1, 0, 2, rows)])
    assert await storage.view.list(StatusQuery()) == rows[1:]
    assert await ids(storage, tags=(("a", "1"),)) == []


async def test_newest_first_and_ties_by_id(storage):
    await project(storage, row(1), row(2, started_at=minutes(1)), row(3, started_at=minutes(9)), row(4))
    await project(storage, row(5, public_id="O9", started_at=minutes(1)), row(6, public_id="á", started_at=minutes(1)))
    assert await ids(storage) == ["o003", "o004", "O9", "o001", "o002", "á"]


async def test_pages_neither_miss_nor_repeat_while_others_arrive(storage):
    await project(storage, *[row(each, started_at=minutes(each // 4)) for each in range(20)])
    expected = await ids(storage)
    seen: list[str] = []
    after = None
    while page := await storage.view.list(StatusQuery(after=after, limit=3)):
        seen += [each.public_id for each in page]
        after = (page[-1].started_at, page[-1].public_id)
        # What starts now is newer than the cursor; what changes keeps its place.
        await project(storage, row(100 + len(seen)), replace(row(0, started_at=minutes(0)), version=len(seen)))
    assert seen == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"statuses": ("completed", "faulted")}, ["o003", "o001"]),
        ({"namespace": "bank"}, ["o002"]),
        ({"name": "refund"}, ["o003"]),
        ({"definition_version": "2.0.0"}, ["o002"]),
        ({"business_key": "k"}, ["o001"]),
        ({"tags": (("city", "Köln"),)}, ["o002", "o001"]),
        ({"tags": (("city", "Köln"), ("vip", ""))}, ["o001"]),
        ({"tags": (("city", "Köln"), ("city", "Bonn"))}, []),
        ({"tags": (("vip", "Köln"),)}, []),
        ({"started_after": minutes(1)}, ["o003", "o002"]),
        ({"started_before": minutes(3)}, ["o002", "o001"]),
        ({"has_incident": True}, ["o003"]),
        ({"has_incident": False}, ["o002", "o001"]),
        ({"namespace": "shop", "has_incident": False, "statuses": ("completed",), "limit": 1}, ["o001"]),
        ({"limit": 2}, ["o003", "o002"]),
    ],
)
async def test_filters(storage, query, expected):
    await project(
        storage,
        row(1, status="completed", business_key="k", tags={"city": "Köln", "vip": ""}),
        row(2, namespace="bank", definition_version="2.0.0", tags={"city": "Köln"}),
        row(3, status="faulted", name="refund", incidents=1),
    )
    assert await ids(storage, **query) == expected


async def test_a_changed_row_is_found_by_what_it_is_now(storage):
    await project(storage, row(1, tags={"step": "1"}, incidents=1), row(1, tags={"step": "2"}))
    assert await ids(storage, tags=(("step", "1"),)) == []
    assert await ids(storage, tags=(("step", "2"),)) == ["o001"]
    assert await ids(storage, has_incident=True) == []


async def test_reset_forgets_rows_and_positions_so_that_all_can_be_built_again(storage):
    await project(storage, row(1, tags={"a": "b"}), row(2))
    await storage.view.apply("other", [Move(1, 0, 3, [])])
    for partition in range(PARTITIONS):
        await storage.view.reset("status", partition)
    assert await storage.view.list(StatusQuery()) == []
    assert await storage.view.tracked("status") == {}
    assert await storage.view.tracked("other") == {1: 3}
    await project(storage, row(1, tags={"a": "b"}))
    assert await ids(storage, tags=(("a", "b"),)) == ["o001"]
