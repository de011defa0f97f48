"""The contract of long-running operations: only the node that runs one changes it, and only as long as it is alive."""

from __future__ import annotations

import asyncio

import pytest

from application.database import Storage
from tests.contract.storages import minutes

pytestmark = pytest.mark.anyio
LEASE_S = 600.0
DEAD_S = -1.0
"""A lease that is over when it begins."""


async def begin(storage: Storage, name: str, at: int = 0, kind: str = "audit.verify", lease_s: float = LEASE_S) -> None:
    await storage.operations.put(name, kind, "ann", b'{"n":1}', "node", minutes(at), lease_s)


async def end(storage: Storage, name: str, node: str = "node", status: str = "completed") -> bool:
    outcome = (b'{"ok":true}', None) if status == "completed" else (None, b'{"code":"x"}')
    return await storage.operations.end(name, node, status, (7, 9), outcome, minutes(5))  # type: ignore[arg-type]


async def test_an_operation_runs_then_has_ended(storage):
    assert await storage.operations.get("p_1") is None
    await begin(storage, "p_1")
    record = await storage.operations.get("p_1")
    assert (record.kind, record.actor, record.request, record.node) == ("audit.verify", "ann", b'{"n":1}', "node")
    assert (record.status, record.done, record.total, record.alive) == ("running", 0, None, True)
    assert (record.result, record.error, record.ended_at, record.cancel_requested) == (None, None, None, False)
    assert record.started_at == record.updated_at == minutes(0)
    assert await storage.operations.beat("p_1", "node", 3, 9, minutes(1), LEASE_S) is False
    record = await storage.operations.get("p_1")
    assert (record.done, record.total, record.updated_at) == (3, 9, minutes(1))
    assert await end(storage, "p_1")
    record = await storage.operations.get("p_1")
    assert (record.status, record.done, record.total) == ("completed", 7, 9)
    assert (record.result, record.error, record.ended_at) == (b'{"ok":true}', None, minutes(5))


async def test_what_has_ended_stays_as_it_is(storage):
    await begin(storage, "p_1")
    assert await end(storage, "p_1", status="failed")
    assert not await end(storage, "p_1")
    assert await storage.operations.beat("p_1", "node", 3, 9, minutes(1), LEASE_S) is None
    await storage.operations.cancel("p_1")
    record = await storage.operations.get("p_1")
    assert (record.status, record.error, record.done, record.cancel_requested) == ("failed", b'{"code":"x"}', 7, False)


async def test_only_its_node_changes_it(storage):
    await begin(storage, "p_1")
    assert await storage.operations.beat("p_1", "other", 3, 9, minutes(1), LEASE_S) is None
    assert not await end(storage, "p_1", node="other")
    assert (await storage.operations.get("p_1")).status == "running"
    assert await storage.operations.beat("p_2", "node", 3, 9, minutes(1), LEASE_S) is None


async def test_a_silent_node_is_dead_for_everybody_itself_included(storage):
    await begin(storage, "p_1", lease_s=DEAD_S)
    assert not (await storage.operations.get("p_1")).alive
    assert [each.alive for each in await storage.operations.list()] == [False]
    assert await storage.operations.beat("p_1", "node", 3, 9, minutes(1), LEASE_S) is None
    assert not await end(storage, "p_1")
    record = await storage.operations.get("p_1")
    assert (record.status, record.done, record.alive) == ("running", 0, False)


async def test_a_cancel_is_told_at_the_next_sign_of_life(storage):
    await begin(storage, "p_1")
    await storage.operations.cancel("p_1")
    await storage.operations.cancel("p_unknown")
    assert (await storage.operations.get("p_1")).cancel_requested
    assert await storage.operations.beat("p_1", "node", 1, None, minutes(1), LEASE_S) is True
    assert await end(storage, "p_1", status="cancelled")
    assert (await storage.operations.get("p_1")).total == 9


async def test_operations_are_newest_first_in_pages_and_by_kind(storage):
    for name, at in (("p_c", 1), ("p_a", 2), ("p_b", 2), ("p_d", 3)):
        await begin(storage, name, at, "what-if" if name == "p_b" else "audit.verify")
    await end(storage, "p_d")
    everything = await storage.operations.list()
    assert [each.operation for each in everything] == ["p_d", "p_a", "p_b", "p_c"]
    assert everything[0].result is None
    assert [each.operation for each in await storage.operations.list("what-if")] == ["p_b"]
    first = await storage.operations.list(limit=2)
    after = (first[-1].started_at, first[-1].operation)
    assert [each.operation for each in await storage.operations.list(limit=2, after=after)] == ["p_b", "p_c"]
    assert [each.operation for each in await storage.operations.list("audit.verify", after=after)] == ["p_c"]


async def test_what_ended_or_died_is_forgotten_by_age(storage):
    await begin(storage, "p_runs", 0)
    await begin(storage, "p_died", 0, lease_s=DEAD_S)
    await begin(storage, "p_ended", 1)
    await begin(storage, "p_young", 8)
    await asyncio.gather(end(storage, "p_ended"), end(storage, "p_young"))
    assert await storage.operations.expire(minutes(5)) == 2
    assert [each.operation for each in await storage.operations.list()] == ["p_young", "p_runs"]
