"""The contract of the work tables: they change with the events, and tell the owner what to look after."""

from __future__ import annotations

from uuid import UUID

import pytest

from application.storage import DropAgenda, DropSubscriptions, PutAgenda, PutEmitted, PutSubscription
from domain.errors import StorageError
from tests.contract.storages import PARTITIONS, heads, identity, minutes, written

pytestmark = pytest.mark.anyio


async def change(storage, partition, *work):
    [head] = await storage.log.heads([partition])
    assert await storage.log.write([written(head, work=work)]) == [True]


async def test_in_flight_goes_by_id_in_pages(storage):
    ids = [identity(each) for each in (9, 1, 5, 2**127)]
    await change(storage, 0, *[PutAgenda(each, True, None) for each in ids], PutAgenda(identity(3), False, minutes(1)))
    await change(storage, 1, PutAgenda(identity(4), True, None))
    assert await storage.log.in_flight(0) == sorted(ids)
    assert await storage.log.in_flight(0, limit=2) == [identity(1), identity(5)]
    assert await storage.log.in_flight(0, after=identity(5)) == [identity(9), identity(2**127)]


async def test_agenda_is_replaced_and_dropped(storage):
    await change(storage, 0, PutAgenda(identity(1), True, minutes(1)), PutAgenda(identity(2), True, minutes(2)))
    await change(storage, 0, PutAgenda(identity(1), False, minutes(7)), DropAgenda(identity(2)))
    assert await storage.log.in_flight(0) == []
    assert await storage.log.due(range(PARTITIONS), minutes(10)) == [(0, identity(1), minutes(7))]
    await change(storage, 0, DropAgenda(identity(1)), DropAgenda(identity(77)))


async def test_within_a_transaction_the_last_word_counts(storage):
    put, drop = PutAgenda(identity(1), True, minutes(1)), DropAgenda(identity(1))
    await change(storage, 0, put, drop)
    assert await storage.log.in_flight(0) == []
    await change(storage, 0, drop, put, PutAgenda(identity(1), True, minutes(3)))
    assert await storage.log.due(range(PARTITIONS), minutes(9)) == [(0, identity(1), minutes(3))]
    subscribe = PutSubscription(identity(1), "r", 0, "paid")
    await change(storage, 0, subscribe, DropSubscriptions(identity(1), "r"))
    assert await storage.log.subscribers("paid") == []
    await change(storage, 0, DropSubscriptions(identity(1), "r"), subscribe)
    assert await storage.log.subscribers("paid") == [(0, identity(1))]


async def test_due_is_earliest_first_over_all_partitions(storage):
    await change(storage, 3, PutAgenda(identity(1), False, minutes(2)), PutAgenda(identity(2), True, minutes(5)))
    await change(storage, 1, PutAgenda(identity(3), False, minutes(2)), PutAgenda(identity(4), False, minutes(1)))
    await change(storage, 0, PutAgenda(identity(5), True, None))
    assert await storage.log.due(range(PARTITIONS), minutes(2)) == [
        (1, identity(4), minutes(1)),
        (1, identity(3), minutes(2)),
        (3, identity(1), minutes(2)),
    ]
    assert await storage.log.due(range(PARTITIONS), minutes(2), limit=1) == [(1, identity(4), minutes(1))]
    assert await storage.log.due(range(PARTITIONS), minutes(0)) == []


async def test_emitted_events_leave_in_order_and_once(storage):
    await change(storage, 0, PutEmitted(identity(2), 1, b"c"), PutEmitted(identity(1), 10, b"b"))
    await change(storage, 0, PutEmitted(identity(1), 9, b"a\x00"))
    everything = [(identity(1), 9, b"a\x00"), (identity(1), 10, b"b"), (identity(2), 1, b"c")]
    assert await storage.log.emitted(0) == everything
    assert await storage.log.emitted(0, limit=1) == everything[:1]
    assert await storage.log.emitted(0, after=(identity(1), 9)) == everything[1:]
    assert await storage.log.emitted(0, limit=1, after=(identity(1), 9)) == everything[1:2]
    assert await storage.log.emitted(0, after=(identity(1), 99)) == everything[2:]
    assert await storage.log.emitted(0, after=(identity(2), 1)) == []
    for _ in range(2):
        await storage.log.published(0, [(identity(1), 9), (identity(2), 1)])
    await storage.log.published(1, [(identity(1), 10)])
    await storage.log.published(0, [])
    assert await storage.log.emitted(0) == [(identity(1), 10, b"b")]


async def test_an_emitted_number_is_not_written_over(storage):
    await change(storage, 0, PutEmitted(identity(1), 1, b"first"))
    [head] = await storage.log.heads([0])
    with pytest.raises(StorageError):
        await storage.log.write([written(head, work=(PutEmitted(identity(1), 1, b"second"),))])
    assert await storage.log.emitted(0) == [(identity(1), 1, b"first")]


async def test_subscribers_of_a_type_and_of_any_type_are_found_once_each(storage):
    await change(
        storage,
        1,
        PutSubscription(identity(1), "a", 0, "paid"),
        PutSubscription(identity(1), "a", 1, None),
        PutSubscription(identity(1), "b", 0, "paid"),
        PutSubscription(identity(2), "a", 0, "shipped"),
    )
    await change(storage, 0, PutSubscription(identity(3), "a", 0, None), PutSubscription(identity(4), "a", 0, "paid"))
    found = [(0, identity(3)), (0, identity(4)), (1, identity(1))]
    assert await storage.log.subscribers("paid") == found
    assert await storage.log.subscribers("paid", limit=2) == found[:2]
    assert await storage.log.subscribers("paid", after=found[0]) == found[1:]
    assert await storage.log.subscribers("paid", after=found[1]) == found[2:]
    assert await storage.log.subscribers("refunded") == [(0, identity(3)), (1, identity(1))]


async def test_a_subscription_is_replaced_by_slot_and_dropped_by_run(storage):
    one, other = PutSubscription(identity(1), "a", 0, "paid"), PutSubscription(identity(1), "b", 0, "paid")
    await change(storage, 0, one, other)
    await change(storage, 0, PutSubscription(identity(1), "a", 0, "shipped"), DropSubscriptions(identity(1), "b"))
    assert await storage.log.subscribers("paid") == []
    assert await storage.log.subscribers("shipped") == [(0, identity(1))]


async def test_work_of_several_partitions_in_one_transaction(storage):
    before = await heads(storage)
    everything = (
        PutAgenda(identity(1), True, minutes(1)),
        PutEmitted(identity(1), 1, b"e"),
        PutSubscription(identity(1), "a", 0, "paid"),
    )
    assert (
        await storage.log.write([written(each, (identity(1), 1), work=everything) for each in before[:2]]) == [True] * 2
    )
    for partition in (0, 1):
        assert await storage.log.in_flight(partition) == [identity(1)]
        assert await storage.log.emitted(partition) == [(identity(1), 1, b"e")]
    drops = (DropAgenda(identity(1)), DropSubscriptions(identity(1), "a"))
    [head] = await storage.log.heads([0])
    await storage.log.write([written(head, work=drops)])
    assert await storage.log.subscribers("paid") == [(1, identity(1))]
    assert await storage.log.due(range(PARTITIONS), minutes(1)) == [(1, identity(1), minutes(1))]


async def test_the_first_id_of_all_is_an_id_like_any_other(storage):
    await change(storage, 0, PutAgenda(UUID(int=0), True, None))
    assert await storage.log.in_flight(0) == [UUID(int=0)]
