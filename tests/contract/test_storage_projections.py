"""The contract of ProjectionStore: each event counts once, rows come back as they were, builds take each other's place."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from application.projection_store import KINDS, Column, Failure, Progress, ProjectionChangedError, Shape
from domain.errors import StorageError
from tests.contract.storages import NOON, PARTITIONS

pytestmark = pytest.mark.anyio

SHAPE = Shape("order", (Column("user", "text"), Column("n", "integer")))
"""Both databases have these names for words of their own."""
EVERYTHING = Shape("id", tuple(Column(kind, kind) for kind in KINDS))
FAILURE = Failure("o_1", 3, "task.completed", "ValueError: ünfit", NOON)


async def begun(storage, name="sales", version=1, shape=SHAPE, **more):
    build = await storage.projections.begin(name, version, shape, NOON, **more)
    assert build is not None
    return build


async def caught_up(storage, build, until=5):
    for partition in range(PARTITIONS):
        at = (await storage.projections.progress(build))[partition].position
        assert await storage.projections.apply(build, partition, at, until, {})


async def states(storage):
    return [(each.version, each.number, each.state) for each in await storage.projections.builds()]


async def everything(storage, build):
    return {(partition, key): row for partition, key, row in await storage.projections.page(build, [], limit=1000)}


async def test_a_build_begins_empty_and_begins_once(storage):
    build = await begun(storage)
    assert build == await begun(storage)
    assert (build.tracking, build.table, build.view) == ("sales@1.1", "projection_sales_v1", "projection_sales")
    assert await storage.projections.progress(build) == {each: Progress(0) for each in range(PARTITIONS)}
    assert await storage.projections.builds() == [build]
    assert await everything(storage, build) == {}


@pytest.mark.parametrize(
    "row",
    [
        ("Zürich ✓\n'\"", 2**63 - 1, 0.1, True, NOON, '{"a":[1,2.5,"\\u0000",null,1e+100,10.0]}'),
        ("", -(2**63), -1e300, False, datetime(2, 1, 1, tzinfo=UTC), "[]"),
        ("0", 0, 5.0, False, datetime(2030, 1, 1, tzinfo=UTC), '"x"'),
        (None,) * 6,
    ],
)
async def test_rows_come_back_as_they_were(storage, row):
    build = await begun(storage, shape=EVERYTHING)
    assert await storage.projections.apply(build, 2, 0, 1, {"o_ü": row})
    (found,) = (await storage.projections.rows(build, 2, ["o_ü", "o_other"])).values()
    assert found == row
    assert [type(value) for value in found] == [type(value) for value in row]
    assert await storage.projections.page(build, []) == [(2, "o_ü", row)]


async def test_rows_are_put_changed_and_removed_in_one_step(storage):
    build = await begun(storage)
    await storage.projections.apply(build, 1, 0, 2, {"a": ("x", 1), "b": ("y", 2), "gone": None})
    await storage.projections.apply(build, 1, 2, 3, {"a": ("z", 3), "b": None, "c": (None, None)})
    assert await everything(storage, build) == {(1, "a"): ("z", 3), (1, "c"): (None, None)}


async def test_a_key_has_a_row_in_each_partition(storage):
    build = await begun(storage)
    for partition in range(PARTITIONS):
        await storage.projections.apply(build, partition, 0, 1, {"k": ("x", partition)})
    assert await storage.projections.rows(build, 2, ["k"]) == {"k": ("x", 2)}
    assert len(await everything(storage, build)) == PARTITIONS


async def test_a_step_counts_exactly_once(storage):
    build = await begun(storage)
    apply = storage.projections.apply
    assert await apply(build, 1, 0, 5, {"a": ("x", 1)})
    assert not await apply(build, 1, 0, 5, {"a": ("twice", 1)})
    assert not await apply(build, 1, 4, 6, {"a": ("overlapping", 1)})
    assert not await apply(build, 1, 6, 7, {"a": ("with a gap", 1)})
    assert await apply(build, 1, 5, 7, {"b": ("y", 2)})
    assert (await storage.projections.progress(build))[1] == Progress(7)
    assert await everything(storage, build) == {(1, "a"): ("x", 1), (1, "b"): ("y", 2)}


async def test_after_a_failure_nothing_moves_before_it_is_tried_again(storage):
    build = await begun(storage)
    assert await storage.projections.apply(build, 1, 0, 4, {"a": ("before", 1)}, FAILURE)
    assert (await storage.projections.progress(build))[1] == Progress(4, FAILURE)
    assert not await storage.projections.apply(build, 1, 4, 5, {"a": ("after", 2)})
    assert await storage.projections.apply(build, 2, 0, 4, {})
    assert await storage.projections.retry(build) == 1
    assert await storage.projections.retry(build) == 0
    assert await storage.projections.apply(build, 1, 4, 4, {}, FAILURE), "it may fail again at once"
    await storage.projections.retry(build)
    assert await storage.projections.apply(build, 1, 4, 5, {"a": ("after", 2)})
    assert await everything(storage, build) == {(1, "a"): ("after", 2)}


async def test_a_build_goes_live_once(storage):
    build = await begun(storage)
    assert await storage.projections.swap(build)
    assert not await storage.projections.swap(build)
    assert await states(storage) == [(1, 1, "live")]
    assert (await begun(storage)).state == "live"


async def test_a_new_version_takes_the_place_of_the_live_one_when_it_is_as_far(storage):
    old = await begun(storage)
    await storage.projections.swap(old)
    await caught_up(storage, old)
    wider = Shape("order", (*SHAPE.columns, Column("at", "instant")))
    new = await begun(storage, version=2, shape=wider)
    await caught_up(storage, new, 4)
    assert not await storage.projections.swap(new), "readers would go back"
    assert await states(storage) == [(1, 1, "live"), (2, 1, "building")]
    await caught_up(storage, new, 5)
    assert await storage.projections.swap(new)
    assert await states(storage) == [(1, 1, "retired"), (2, 1, "live")]
    assert await storage.projections.progress(old) == {}
    assert not await storage.projections.apply(old, 1, 5, 6, {"late": ("x", 1)})
    assert not await storage.projections.apply(old, 1, 0, 6, {"late": ("x", 1)})
    assert await storage.projections.apply(new, 1, 5, 6, {"a": ("x", 1, NOON)})


async def test_building_anew_is_another_build_beside_the_live_one(storage):
    live = await begun(storage)
    await storage.projections.swap(live)
    await storage.projections.apply(live, 1, 0, 3, {"a": ("old", 1)})
    given_up = await begun(storage, anew=True)
    await storage.projections.apply(given_up, 1, 0, 3, {"a": ("half", 1)})
    build = await begun(storage, anew=True)
    assert build.table == "projection_sales_v1_3"
    assert await states(storage) == [(1, 1, "live"), (1, 2, "retired"), (1, 3, "building")]
    assert await everything(storage, build) == {}
    assert await everything(storage, live) == {(1, "a"): ("old", 1)}
    await storage.projections.apply(build, 1, 0, 3, {"a": ("new", 1)})
    assert await storage.projections.swap(build)
    assert await states(storage) == [(1, 1, "retired"), (1, 2, "retired"), (1, 3, "live")]
    assert await everything(storage, build) == {(1, "a"): ("new", 1)}


async def test_what_ends_is_gone_and_may_begin_again(storage):
    live = await begun(storage)
    await storage.projections.swap(live)
    await storage.projections.apply(live, 1, 0, 3, {"a": ("old", 1)})
    building = await begun(storage, anew=True)
    assert await storage.projections.end(live)
    assert not await storage.projections.end(live)
    assert await storage.projections.end(building)
    assert not await storage.projections.apply(live, 1, 3, 4, {"a": ("late", 1)})
    assert await states(storage) == [(1, 1, "retired"), (1, 2, "retired")]
    again = await begun(storage)
    assert again.number == 3
    assert await everything(storage, again) == {}
    assert await storage.projections.swap(again)


async def test_an_older_version_is_left_alone(storage):
    await begun(storage, version=2)
    assert await storage.projections.begin("sales", 1, SHAPE, NOON) is None
    assert await storage.projections.begin("other", 1, SHAPE, NOON) is not None


async def test_other_columns_need_another_version(storage):
    await begun(storage)
    other = Shape("order", SHAPE.columns[:1])
    with pytest.raises(ProjectionChangedError):
        await storage.projections.begin("sales", 1, other, NOON)
    revised = await begun(storage, shape=other, revise=True)
    assert await states(storage) == [(1, 1, "retired"), (1, 2, "building")]
    await storage.projections.apply(revised, 1, 0, 3, {"a": ("x",)})


async def test_pages_and_filters(storage):
    build = await begun(storage, shape=EVERYTHING)
    texts = ["x", "y", None]
    for number in range(10):
        row = (texts[number % 3], number, number / 2, number % 2 == 0, NOON if number == 4 else None, None)
        at = (await storage.projections.progress(build))[number % PARTITIONS].position
        await storage.projections.apply(build, number % PARTITIONS, at, at + 1, {f"k{number}": row})
    page, after, seen = storage.projections.page, None, []
    while found := await page(build, [], after, 3):
        seen += found
        after = found[-1][:2]
    assert [each[:2] for each in seen] == sorted(each[:2] for each in seen)
    assert len(seen) == 10

    async def keys(*where):
        return sorted(key for _, key, _ in await page(build, where))

    assert await keys(("text", "x")) == ["k0", "k3", "k6", "k9"]
    assert await keys(("text", "x"), ("boolean", True)) == ["k0", "k6"]
    assert await keys(("integer", 7)) == ["k7"]
    assert await keys(("number", 0.5)) == ["k1"]
    assert await keys(("instant", NOON)) == ["k4"]
    assert await keys(("id", "k8")) == ["k8"]
    assert await keys(("text", "' OR 1=1 --")) == []


async def test_a_name_that_is_none_never_reaches_the_database(storage):
    if storage.kind == "memory":
        pytest.skip("there is no SQL")
    for shape in (Shape('id" text); DROP TABLE events; --', SHAPE.columns), Shape("id", (Column("a b", "text"),))):
        with pytest.raises(ValueError, match="cannot name"):
            await storage.projections.begin("evil", 1, shape, NOON)
    with pytest.raises(ValueError, match="cannot name"):
        await storage.projections.begin('x"; DROP TABLE events; --', 1, SHAPE, NOON)
    assert await storage.projections.builds() == []


async def test_what_was_begun_is_there_after_a_restart(place, storage):
    build = await begun(storage)
    await storage.projections.apply(build, 1, 0, 3, {"a": ("x", 1)}, FAILURE)
    await storage.log.close()
    again = place()
    await again.log.open(PARTITIONS, 10.0)
    assert await again.projections.builds() == [build]
    assert (await again.projections.progress(build))[1] == Progress(3, FAILURE)
    assert await everything(again, build) == {(1, "a"): ("x", 1)}
    await again.log.close()


async def test_the_rows_of_a_table_that_is_gone_cannot_be_read(storage):
    if storage.kind == "memory":
        pytest.skip("nothing is left to fail")
    build = await begun(storage)
    await begun(storage, anew=True)
    with pytest.raises(StorageError):
        await storage.projections.rows(build, 1, ["a"])
