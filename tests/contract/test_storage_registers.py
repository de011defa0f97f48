"""The contract of requests, keys and held events: of any number of callers at one moment, one wins."""

from __future__ import annotations

import asyncio

import pytest

from application.registers import HeldEvent, RequestRecord
from tests.contract.storages import PARTITIONS, minutes
from tests.support.owning import own

pytestmark = pytest.mark.anyio


def held(number: int, event_type: str = "paid", source: str = "/shop") -> HeldEvent:
    return HeldEvent(source, f"e{number}", event_type, b"digest", b'{"n":\x00}', minutes(number))


# Requests -----------------------------------------------------------------------------------------


async def test_a_request_is_in_progress_then_answered(storage):
    assert await storage.requests.begin("ann", "k", b"f", minutes(0)) is None
    in_progress = RequestRecord(b"f", None, {}, b"", minutes(0))
    assert await storage.requests.begin("ann", "k", b"other", minutes(1)) == in_progress
    await storage.requests.finish("ann", "k", 201, {"Location": "/ö"}, b"\x00body")
    answered = RequestRecord(b"f", 201, {"Location": "/ö"}, b"\x00body", minutes(0))
    assert await storage.requests.begin("ann", "k", b"f", minutes(2)) == answered


async def test_requests_are_the_callers_own(storage):
    assert await storage.requests.begin("ann", "bk", b"f", minutes(0)) is None
    assert await storage.requests.begin("annb", "k", b"f", minutes(0)) is None
    assert await storage.requests.begin("bob", "bk", b"f", minutes(0)) is None


async def test_one_of_many_requests_begins(storage):
    found = await asyncio.gather(*[storage.requests.begin("ann", "k", bytes([n]), minutes(n)) for n in range(20)])
    assert found.count(None) == 1
    winner = found.index(None)
    assert {each.fingerprint for each in found if each is not None} == {bytes([winner])}


async def test_an_abandoned_request_may_begin_again_but_an_answer_stays(storage):
    await storage.requests.begin("ann", "k", b"f", minutes(0))
    await storage.requests.abandon("ann", "k")
    await storage.requests.abandon("ann", "never begun")
    assert await storage.requests.begin("ann", "k", b"g", minutes(1)) is None
    await storage.requests.finish("ann", "k", 200, {}, b"")
    await storage.requests.abandon("ann", "k")
    assert (await storage.requests.begin("ann", "k", b"g", minutes(2))).status == 200


async def test_a_dead_request_is_taken_over_once(storage):
    await storage.requests.begin("ann", "k", b"f", minutes(0))
    takers = [storage.requests.take_over("ann", "k", minutes(0), minutes(each)) for each in range(1, 21)]
    assert (await asyncio.gather(*takers)).count(True) == 1
    assert not await storage.requests.take_over("ann", "unknown", minutes(0), minutes(1))
    [taken_at] = [(await storage.requests.begin("ann", "k", b"f", minutes(0))).started_at]
    await storage.requests.finish("ann", "k", 200, {}, b"")
    assert not await storage.requests.take_over("ann", "k", taken_at, minutes(30))


async def test_requests_expire_by_age(storage):
    for each in range(10):
        await storage.requests.begin("ann", f"k{each}", b"f", minutes(each))
    assert await storage.requests.expire(minutes(7)) == 7
    assert await storage.requests.expire(minutes(7)) == 0
    assert await storage.requests.begin("ann", "k6", b"f", minutes(20)) is None
    assert await storage.requests.begin("ann", "k7", b"f", minutes(20)) is not None


# Keys ---------------------------------------------------------------------------------------------


async def test_one_of_many_reserves_a_key(storage):
    holders = await asyncio.gather(*[storage.keys.reserve("shop/order", "7", f"o{each}") for each in range(20)])
    assert len(set(holders)) == 1
    assert await storage.keys.reserve("shop/order", "7", "late") == holders[0]
    assert await storage.keys.reserve("shop/refund", "7", "late") == "late"


async def test_a_key_is_taken_over_from_its_holder_once(storage):
    await storage.keys.reserve("shop/order", "7", "old")
    assert not await storage.keys.take_over("shop/order", "7", "someone else", "new", contended=False)
    takers = [storage.keys.take_over("shop/order", "7", "old", f"new{each}", contended=False) for each in range(20)]
    done = await asyncio.gather(*takers)
    assert done.count(True) == 1
    assert await storage.keys.reserve("shop/order", "7", "late") == f"new{done.index(True)}"
    assert not await storage.keys.take_over("shop/order", "unknown", "old", "new", contended=False)


async def test_a_key_that_is_contended_for_is_held_by_nobody(storage):
    keys, key = storage.keys, ("shop/order", "7")
    await keys.reserve(*key, "old")
    assert await keys.holds(*key, "old")
    assert not await keys.holds(*key, "other")
    await keys.contend(*key, "someone else", "new")
    assert await keys.holds(*key, "old"), "only whoever knows the holder can contend"
    await keys.contend(*key, "old", "new")
    assert not await keys.holds(*key, "old")
    assert not await keys.take_over(*key, "old", "third", contended=True)
    await keys.contend(*key, "old", "third")
    await keys.withdraw(*key, "new")
    assert not await keys.take_over(*key, "old", "new", contended=True), "the last that was announced contends"
    assert await keys.take_over(*key, "old", "third", contended=True)
    assert await keys.holds(*key, "third")


async def test_a_holder_that_insists_ends_the_contention(storage):
    keys, key = storage.keys, ("shop/order", "7")
    await keys.reserve(*key, "old")
    await keys.contend(*key, "old", "new")
    await keys.contend(*key, "old", None)
    assert await keys.holds(*key, "old")
    assert not await keys.take_over(*key, "old", "new", contended=True)
    await keys.contend(*key, "old", "new")
    await keys.withdraw(*key, "new")
    assert await keys.holds(*key, "old")


# Held events --------------------------------------------------------------------------------------


async def test_an_event_is_held_once_by_source_and_id(storage):
    assert await storage.held.put(held(1)) is None
    assert await storage.held.put(held(1, event_type="other")) == held(1)
    assert await storage.held.put(held(1, source="/other")) is None
    many = await asyncio.gather(*[storage.held.put(held(2)) for _ in range(20)])
    assert many.count(None) == 1


async def test_a_held_event_is_found_by_source_and_id(storage):
    await storage.held.put(held(1))
    assert await storage.held.get("/shop", "e1") == held(1)
    assert await storage.held.get("/shop", "unknown") is None
    await storage.held.mark("/shop", "e1", taken=True)
    assert (await storage.held.get("/shop", "e1")).taken


async def test_waiting_events_are_oldest_first_in_pages(storage):
    for each in (5, 3, 4, 1, 2):
        await storage.held.put(held(each, "paid" if each % 2 else "shipped"))
    await storage.held.put(held(3, source="/a"))
    await storage.held.mark("/shop", "e1", taken=True)
    paid = await storage.held.waiting("paid")
    assert [(each.source, each.id) for each in paid] == [("/a", "e3"), ("/shop", "e3"), ("/shop", "e5")]
    assert [each.id for each in await storage.held.waiting(None, limit=3)] == ["e2", "e3", "e3"]
    last = paid[0]
    assert await storage.held.waiting("paid", after=(last.received_at, last.source, last.id)) == paid[1:]
    assert await storage.held.waiting("refunded") == []
    sources = {each.source for each in await storage.held.waiting(None)}
    for source in sources:
        assert {each.source for each in await storage.held.waiting(None, source=source)} == {source}
    assert await storage.held.waiting(None, source="elsewhere") == []
    assert await storage.held.waiting("paid", after=(last.received_at, last.source, last.id), source="elsewhere") == []


async def test_marks_change_only_what_they_name(storage):
    await storage.held.put(held(1))
    await storage.held.put(held(2))
    await storage.held.mark("/shop", "e1", looked=True)
    await storage.held.mark("/shop", "unknown", looked=True)
    assert [each.id for each in await storage.held.unlooked(range(PARTITIONS))] == ["e2"]
    assert [each.id for each in await storage.held.waiting("paid")] == ["e1", "e2"]
    await storage.held.mark("/shop", "e1", taken=True)
    assert [each.id for each in await storage.held.waiting("paid")] == ["e2"]
    await storage.held.mark("/shop", "e1", taken=False, looked=False)
    assert [each.id for each in await storage.held.unlooked(range(PARTITIONS), limit=1)] == ["e1"]
    places = [[each.id for each in await storage.held.unlooked([partition])] for partition in range(PARTITIONS)]
    assert sorted(id_ for place in places for id_ in place) == ["e1", "e2"], "each in its partition only"


async def test_held_events_expire_by_age(storage):
    for each in range(6):
        await storage.held.put(held(each))
        await storage.held.mark("/shop", f"e{each}", looked=each != 2)
    await storage.held.mark("/shop", "e0", taken=True)
    assert await storage.held.expire(minutes(4)) == 3
    assert [each.id for each in await storage.held.waiting(None)] == ["e2", "e4", "e5"], "nobody was asked about e2 yet"


async def test_registers_survive_a_restart(place):
    first = place()
    await own(first, "first", PARTITIONS)
    await first.requests.begin("ann", "k", b"f", minutes(0))
    await first.keys.reserve("shop/order", "7", "o1")
    await first.held.put(held(1))
    await first.log.close()
    second = place()
    await own(second, "second", PARTITIONS)
    assert await second.requests.begin("ann", "k", b"f", minutes(1)) is not None
    assert await second.keys.reserve("shop/order", "7", "o2") == "o1"
    assert await second.held.put(held(1)) == held(1)
    await second.log.close()
