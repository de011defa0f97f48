"""The contract of Leases: who owns a partition, for how long, and who may take it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from application.leases import NodeIdentity
from application.storage import Head
from application.views import Move
from tests.contract.storages import PARTITIONS, heads, identity, written
from tests.support.owning import own

pytestmark = pytest.mark.anyio
LONG_S, OVER_S = 60.0, -1.0
"""A lease that outlasts the test, and one that is over when it begins."""


def node(name: str) -> NodeIdentity:
    return NodeIdentity(name, "host", 7, "a mark", "1.2", datetime(2030, 1, 1, tzinfo=UTC))


async def holding(storage, partition):
    return (await storage.leases.overview()).holdings[partition]


async def test_a_node_that_introduces_itself_is_seen(storage):
    await storage.leases.renew(node("a"), LONG_S, [], eligible=True)
    await storage.leases.renew(node("b"), OVER_S, [], eligible=False)
    members = {each.identity.node: each for each in (await storage.leases.overview()).members}
    assert members["a"].identity == node("a")
    assert (members["a"].alive, members["a"].eligible) == (True, True)
    assert 0 < members["a"].left_s <= LONG_S
    assert (members["b"].alive, members["b"].eligible) == (False, False)


async def test_a_new_partition_belongs_to_nobody(place):
    storage = place()
    assert await storage.log.open(PARTITIONS, LONG_S) == PARTITIONS
    overview = await storage.leases.overview()
    assert [
        (each.partition, each.epoch, each.owner, each.left_s, each.position, each.projected)
        for each in overview.holdings
    ] == [(partition, 0, None, 0, 0, 0) for partition in range(PARTITIONS)]
    await storage.log.close()


async def test_what_is_free_is_claimed_once(place):
    storage = place()
    await storage.log.open(PARTITIONS, LONG_S)
    assert await storage.leases.claim("a", 1, 0, LONG_S, forced=False) == Head(1, 1, 0, bytes(32))
    assert await storage.leases.claim("b", 1, 0, LONG_S, forced=False) is None, "the epoch has moved on"
    assert await storage.leases.claim("b", 1, 1, LONG_S, forced=False) is None, "the lease lasts"
    found = await holding(storage, 1)
    assert (found.owner, found.epoch) == ("a", 1)
    assert 0 < found.left_s <= LONG_S
    await storage.log.close()


async def test_a_lease_that_is_over_is_taken_and_fences_off_its_owner(storage):
    [head] = await storage.log.heads([2])
    write = written(head, (identity(1), 1))
    assert await storage.log.write([write]) == [True]
    await storage.leases.renew(node("first"), OVER_S, [(2, head.epoch)], eligible=True)
    taken = await storage.leases.claim("b", 2, head.epoch, LONG_S, forced=False)
    assert taken == Head(2, head.epoch + 1, 1, write.after.log_hash), "with the true head"
    assert await storage.log.write([written(write.after, (identity(1), 2))]) == [False]
    assert await storage.log.write([written(taken, (identity(1), 2))]) == [True]


async def test_a_node_that_is_certainly_gone_need_not_be_waited_for(storage):
    [head] = await storage.log.heads([0])
    assert await storage.leases.claim("b", 0, head.epoch, LONG_S, forced=False) is None
    assert await storage.leases.claim("b", 0, head.epoch, LONG_S, forced=True) is not None


async def test_a_renewal_prolongs_what_is_still_held_and_nothing_else(storage):
    [first, second] = await storage.log.heads([0, 1])
    await storage.leases.renew(node("first"), OVER_S, [(0, first.epoch), (1, second.epoch)], eligible=True)
    await storage.leases.claim("b", 1, second.epoch, OVER_S, forced=False)
    await storage.leases.renew(node("first"), LONG_S, [(0, first.epoch), (1, second.epoch)], eligible=True)
    assert (await holding(storage, 0)).left_s > 0
    assert (await holding(storage, 1)).left_s <= 0


async def test_what_was_let_go_is_free_at_once(storage):
    [first, second] = await storage.log.heads([0, 1])
    await storage.leases.release("first", 0, first.epoch)
    await storage.leases.release("first", 1, second.epoch - 1)
    await storage.leases.release("someone else", 1, second.epoch)
    assert (await holding(storage, 0)).owner is None
    assert (await holding(storage, 1)).owner == "first"
    # Its epoch has not changed, so what is being written may still be committed before somebody claims it.
    assert await storage.log.write([written(first, (identity(1), 1))]) == [True]
    taken = await storage.leases.claim("b", 0, first.epoch, LONG_S, forced=False)
    assert (taken.epoch, taken.position) == (first.epoch + 1, 1)


async def test_a_node_that_leaves_is_seen_no_more(storage):
    await storage.leases.renew(node("a"), LONG_S, [], eligible=True)
    await storage.leases.renew(node("long gone"), -4000.0, [], eligible=True)
    await storage.leases.leave("a")
    assert [each.identity.node for each in (await storage.leases.overview()).members] == ["first"]


async def test_an_overview_tells_how_far_log_and_view_are(storage):
    [head] = await storage.log.heads([3])
    await storage.log.write([written(head, (identity(1), 1), (identity(1), 2))])
    await storage.view.apply("status", [Move(3, 0, 1, [])])
    found = await holding(storage, 3)
    assert (found.position, found.projected) == (2, 1)


async def test_taking_everything_raises_every_epoch(storage):
    before = await heads(storage)
    after = await own(storage, "second", PARTITIONS)
    assert [head.epoch for head in after] == [head.epoch + 1 for head in before]
