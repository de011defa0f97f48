"""The contract of work for remote workers: handed out once, fenced by its token, ended with the events."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import msgspec
import pytest

from application.storage import EndTask, GiveUpTask, HoldTask, PutTask
from application.task_store import Claim, FunctionControl, TaskKey
from tests.contract.storages import NOON, PARTITIONS, identity, minutes, written

pytestmark = pytest.mark.anyio

MINUTE_US = 60_000_000


def put(number, function="pack", definition="shop/order", at=0, attempt=1):
    return PutTask(identity(number), f"/do/0/{function}#1", attempt, function, definition, 10 * MINUTE_US, minutes(at))


def key(number, partition=0, function="pack", attempt=1):
    return TaskKey(partition, identity(number), f"/do/0/{function}#1", attempt)


def hold(number, held=True, function="pack"):
    return HoldTask(identity(number), key(number, function=function).run, 1, held)


async def change(storage, partition, *work):
    [head] = await storage.log.heads([partition])
    assert await storage.log.write([written(head, work=work)]) == [True]


async def claim(
    storage, token=b"t", *, partition=0, function="pack", after="", limit=1, at=0, lease_s=60, limited=False
):
    return await storage.tasks.claim(
        Claim(
            partition=partition,
            function=function,
            after=after,
            worker="w1",
            token=token,
            at=minutes(at),
            lease_s=lease_s,
            limit=limit,
            limited=limited,
        )
    )


async def status(storage, task):
    row = await storage.tasks.get(task)
    return row and row.status


async def test_it_is_handed_out_by_age_and_once(storage):
    await change(storage, 0, put(1, at=2), put(2, at=1), put(3, "other"))
    await change(storage, 1, put(4))
    assert sorted(await storage.tasks.waiting(["pack", "none"])) == [(0, "pack"), (1, "pack")]
    [first] = await claim(storage)
    assert first.key == key(2)
    assert first.definition == "shop/order"
    assert first.lease_until == minutes(1)
    assert first.deadline == minutes(10)
    assert [each.key for each in await claim(storage, limit=9)] == [key(1)]
    assert await claim(storage, limit=9) == []
    assert await storage.tasks.waiting(["pack"]) == [(1, "pack")]


async def test_the_lease_ends_with_the_deadline_at_the_latest(storage):
    await change(storage, 0, put(1))
    [one] = await claim(storage, lease_s=3600)
    assert one.lease_until == one.deadline == minutes(10)
    assert await storage.tasks.extend(key(1), b"t", minutes(5)) == (minutes(5), minutes(10))
    assert await storage.tasks.extend(key(1), b"t", minutes(50)) == (minutes(10), minutes(10))
    assert await storage.tasks.extend(key(1), b"x", minutes(5)) is None
    assert await storage.tasks.extend(key(2), b"t", minutes(5)) is None


async def test_definitions_take_turns_by_the_name_after_which_one_asks(storage):
    await change(storage, 0, *[put(each, definition="a/a", at=each) for each in range(1, 6)], put(9, definition="b/b"))
    assert [each.definition for each in await claim(storage, after="a/a")] == ["b/b"]
    assert [each.definition for each in await claim(storage, after="")] == ["a/a"]
    assert [each.definition for each in await claim(storage, after="a/a")] == ["a/a"]  # round to those before


async def test_half_of_the_room_is_for_those_whose_turn_it_is(storage):
    ours, theirs = range(1, 7), range(11, 17)
    await change(storage, 0, *[put(each, definition="a/a", at=each) for each in ours])
    await change(storage, 0, *[put(each, definition="b/b", at=each) for each in theirs])
    got = await claim(storage, after="a/a", limit=6)
    assert [each.key for each in got] == [key(each) for each in (11, 12, 13, 1, 2, 3)]
    assert {await status(storage, each.key) for each in got} == {"claimed"}
    rest = await claim(storage, after="b/b", limit=9)
    assert [each.key for each in rest] == [key(each) for each in (4, 5, 6, 14, 15, 16)]
    assert await claim(storage, after="a/a", limit=9) == []


async def test_callers_at_once_never_get_the_same(storage):
    for partition in range(PARTITIONS):
        await change(storage, partition, *[put(100 * partition + each, at=each) for each in range(1, 21)])
    claims = [
        claim(storage, bytes([turn]), partition=turn % PARTITIONS, limit=3, at=1) for turn in range(10 * PARTITIONS)
    ]
    handed_out = [each.key for page in await asyncio.gather(*claims) for each in page]
    assert len(handed_out) == len(set(handed_out)) == 20 * PARTITIONS


async def test_a_report_counts_once_and_only_with_the_token(storage):
    await change(storage, 0, put(1))
    assert not await storage.tasks.report(key(1), b"t", b"early")
    await claim(storage)
    assert not await storage.tasks.report(key(1), b"x", b"stale")
    assert await storage.tasks.report(key(1), b"t", b"done")
    assert not await storage.tasks.report(key(1), b"t", b"again")
    assert await storage.tasks.extend(key(1), b"t", minutes(5)) is None
    [row] = await storage.tasks.reported(range(PARTITIONS))
    assert (row.key, row.function, row.token, row.worker, row.report) == (key(1), "pack", b"t", "w1", b"done")
    assert await storage.tasks.reported([1]) == []
    await change(storage, 0, EndTask(identity(1), key(1).run, 1, minutes(3)))
    assert await storage.tasks.reported(range(PARTITIONS)) == []
    ended = await storage.tasks.get(key(1))
    assert (ended.status, ended.report) == ("ended", b"done")


async def test_a_lease_that_is_over_is_seen_and_voided_once(storage):
    await change(storage, 0, put(1), put(2))
    await claim(storage, limit=2)
    await storage.tasks.extend(key(2), b"t", minutes(4))
    assert await storage.tasks.overdue(range(PARTITIONS), minutes(1) - timedelta(microseconds=1)) == []
    assert [each.key for each in await storage.tasks.overdue(range(PARTITIONS), minutes(1))] == [key(1)]
    assert await storage.tasks.overdue([2], minutes(1)) == []
    assert not await storage.tasks.void(key(1), b"t", NOON, b"lost")
    assert await storage.tasks.void(key(1), b"t", minutes(1), b"lost")
    assert not await storage.tasks.void(key(1), b"t", minutes(1), b"lost")
    assert not await storage.tasks.report(key(1), b"t", b"done")
    assert [each.report for each in await storage.tasks.reported([0])] == [b"lost"]


async def test_nobody_wants_it_any_more(storage):
    await change(storage, 0, *[put(each, at=each) for each in range(1, 5)])
    await claim(storage, limit=2)
    await storage.tasks.report(key(2), b"t", b"done")
    run = key(1).run
    await change(storage, 0, *[GiveUpTask(identity(each), run, 1, b"unsent", b"lost") for each in range(1, 4)])
    await change(
        storage, 0, GiveUpTask(identity(4), run, 1, b"unsent", None), GiveUpTask(identity(7), run, 1, b"u", b"l")
    )
    reports = {each.key.orchestration: each.report for each in await storage.tasks.reported([0])}
    assert reports == {identity(1): b"lost", identity(2): b"done", identity(3): b"unsent", identity(4): b"unsent"}
    assert not await storage.tasks.report(key(1), b"t", b"done")
    assert await claim(storage) == []


async def test_what_is_claimed_may_end_where_only_the_unclaimed_is_dropped(storage):
    await change(storage, 0, put(1))
    await claim(storage)
    await change(storage, 0, GiveUpTask(identity(1), key(1).run, 1, b"unsent", None))
    assert await status(storage, key(1)) == "claimed"
    assert await storage.tasks.report(key(1), b"t", b"done")


async def test_within_a_transaction_it_comes_is_given_up_and_ends(storage):
    run = key(1).run
    await change(storage, 0, put(1), GiveUpTask(identity(1), run, 1, b"u", b"l"), EndTask(identity(1), run, 1, NOON))
    row = await storage.tasks.get(key(1))
    assert (row.status, row.report) == ("ended", b"u")


async def test_what_was_not_handed_out_waits_again(storage):
    await change(storage, 0, put(1))
    await claim(storage)
    await storage.tasks.give_back(key(1), b"x")
    assert await claim(storage, b"u") == []
    await storage.tasks.give_back(key(1), b"t")
    [again] = await claim(storage, b"u", at=3)
    assert again.deadline == minutes(13)
    assert not await storage.tasks.report(key(1), b"t", b"done")
    await storage.tasks.discard(key(1), minutes(4))
    await storage.tasks.discard(key(1), minutes(5))
    assert not await storage.tasks.report(key(1), b"u", b"done")


async def test_functions_with_open_work_are_found(storage):
    await change(storage, 0, put(1), put(2, "ship"), put(3, "bill"))
    await claim(storage)
    await storage.tasks.discard(key(3, function="bill"), NOON)
    assert await storage.tasks.open_functions(0) == ["pack", "ship"]
    assert await storage.tasks.open_functions(1) == []
    assert [each.key for each in await storage.tasks.open_of(0, "pack")] == [key(1)]


async def test_ended_rows_are_forgotten_and_others_are_not(storage):
    await change(storage, 0, put(1), put(2), put(3))
    await storage.tasks.discard(key(1), minutes(1))
    await storage.tasks.discard(key(2), minutes(5))
    assert await storage.tasks.expire(minutes(5)) == 1
    assert await storage.tasks.get(key(1)) is None
    assert await status(storage, key(2)) == "ended"
    assert await status(storage, key(3)) == "waiting"


async def test_loads_tell_what_waits_and_who_has_what(storage):
    await change(storage, 0, put(1), put(2))
    await change(storage, 3, put(3), put(4, "ship"))
    await claim(storage, partition=3)
    loads = {each.function: (each.waiting, each.claimed) for each in await storage.tasks.loads()}
    assert loads == {"pack": (2, {"w1": 1}), "ship": (1, {})}


async def test_controls_are_changed_by_what_is_given(storage):
    await storage.tasks.note("pack", minutes(1), claimed=False)
    await storage.tasks.control("pack", paused=True)
    await storage.tasks.control("ship", draining=True)
    await storage.tasks.limit("pack", 3, 2.5)
    await storage.tasks.note("pack", minutes(2), claimed=True)
    await storage.tasks.note("pack", minutes(3), claimed=False)
    pack = FunctionControl("pack", True, False, 3, 2.5, minutes(3), minutes(2))
    assert await storage.tasks.controls() == [pack, FunctionControl("ship", draining=True)]
    await storage.tasks.control("pack", paused=False)
    await storage.tasks.limit("pack", None, None)
    assert (await storage.tasks.controls())[0] == FunctionControl(
        "pack", asked_at=minutes(3), last_claimed_at=minutes(2)
    )


async def test_a_limit_of_concurrency_holds_over_all_partitions(storage):
    for partition in range(PARTITIONS):
        await change(storage, partition, *[put(10 * partition + each) for each in range(5)])
    await storage.tasks.limit("pack", 3, None)
    claims = [claim(storage, bytes([each]), partition=each, limit=2, limited=True) for each in range(PARTITIONS)]
    handed_out = [each for page in await asyncio.gather(*claims) for each in page]
    assert len(handed_out) == 3
    await storage.tasks.discard(handed_out[0].key, NOON)
    assert len(await claim(storage, partition=2, limit=5, limited=True)) == 1


async def test_a_limit_of_rate_lets_so_many_through_each_second(storage):
    await change(storage, 0, *[put(each) for each in range(1, 30)])
    await storage.tasks.limit("pack", None, 2.0)
    assert len(await claim(storage, limit=9, limited=True)) == 2
    assert await claim(storage, limit=9, limited=True) == []
    assert len(await claim(storage, limit=9, at=1 / 60, limited=True)) == 2
    assert len(await claim(storage, limit=9, at=60, limited=True)) == 2


async def test_nothing_of_a_paused_function_is_handed_out(storage):
    await change(storage, 0, put(1))
    await storage.tasks.control("pack", paused=True)
    assert await claim(storage, limited=True) == []
    await storage.tasks.control("pack", paused=False)
    assert len(await claim(storage, limited=True)) == 1


async def test_what_is_held_is_not_handed_out_until_it_is_not(storage):
    await change(storage, 0, put(1), put(2), put(3, "other"), put(1, "other"))
    await change(storage, 0, hold(1), hold(1, function="other"))
    assert [each.key for each in await claim(storage, limit=9)] == [key(2)]
    assert [each.key for each in await claim(storage, function="other", limit=9)] == [key(3, function="other")]
    assert await storage.tasks.waiting(["pack", "other"]) == []
    loads = {each.function: (each.waiting, each.held) for each in await storage.tasks.loads()}
    assert loads == {"pack": (0, 1), "other": (0, 1)}
    await change(storage, 0, hold(1, held=False))
    assert [each.key for each in await claim(storage, limit=9)] == [key(1)]


async def test_what_comes_while_held_and_what_is_given_back_stays_held(storage):
    held = msgspec.structs.replace(put(2), held=True)
    await change(storage, 0, put(1), held)
    assert [each.key for each in await claim(storage, limit=9)] == [key(1)]
    await change(storage, 0, hold(1))
    assert await storage.tasks.extend(key(1), b"t", minutes(2)) is not None
    await storage.tasks.give_back(key(1), b"t")
    assert await claim(storage, limit=9) == []
    await change(storage, 0, hold(1, held=False), hold(2), hold(2, held=False))
    assert {each.key for each in await claim(storage, limit=9)} == {key(1), key(2)}


async def test_what_is_held_is_given_up_and_ends_like_any_other(storage):
    await change(storage, 0, put(1), put(2), hold(1), hold(2))
    await change(storage, 0, GiveUpTask(identity(1), key(1).run, 1, b"unsent", b"lost"))
    [row] = await storage.tasks.reported(range(PARTITIONS))
    assert (row.key, row.report) == (key(1), b"unsent")
    await change(storage, 0, EndTask(identity(2), key(2).run, 1, NOON))
    assert await status(storage, key(2)) == "ended"


async def test_what_had_ended_for_workers_may_be_theirs_again(storage):
    await change(storage, 0, put(1), put(2))
    await claim(storage, limit=2)
    await storage.tasks.report(key(2), b"t", b"done")
    await change(storage, 0, EndTask(identity(1), key(1).run, 1, NOON))
    await change(storage, 0, put(1), put(1), put(2))
    row = await storage.tasks.get(key(1))
    assert (row.status, row.token, row.worker, row.report) == ("waiting", None, None, None)
    assert await status(storage, key(2)) == "reported"
    assert not await storage.tasks.report(key(1), b"t", b"late")
    assert [each.key for each in await claim(storage, b"u", limit=9)] == [key(1)]


async def test_what_a_process_may_have_begun_is_not_unsent(storage):
    begun = msgspec.structs.replace(put(1), begun=True)
    await change(storage, 0, begun, put(2))
    await change(storage, 0, GiveUpTask(identity(1), key(1).run, 1, b"unsent", None))
    assert await status(storage, key(1)) == "waiting"
    gone = [GiveUpTask(identity(each), key(each).run, 1, b"unsent", b"lost") for each in (1, 2)]
    await change(storage, 0, *gone)
    assert [row.report for row in await storage.tasks.reported([0])] == [b"lost", b"unsent"]


async def test_a_claim_that_looked_before_a_pause_gets_nothing_after_it(storage):
    await change(storage, 0, put(1))
    for held_back in ({"paused": True}, {"paused": False, "draining": True}):
        await storage.tasks.control("pack", **held_back)
        assert await claim(storage) == []
    await storage.tasks.control("pack", draining=False)
    assert len(await claim(storage)) == 1
