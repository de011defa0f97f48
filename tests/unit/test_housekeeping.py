"""What is old is forgotten, what is promised is kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from application.accesses import Access
from application.housekeeping import REQUESTS_KEPT, Housekeeping
from application.registers import HeldEvent
from tests.simulation.memory_storage import MemoryStorage
from tests.support.owning import own

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 1, 10, tzinfo=UTC)


class Clock:
    def now(self) -> datetime:
        return NOW


async def test_answers_and_events_that_are_old_are_forgotten() -> None:
    storage = MemoryStorage()
    await own(storage, "node", 4)
    for name, age in (("old", REQUESTS_KEPT + timedelta(seconds=1)), ("young", timedelta(hours=24))):
        await storage.requests.begin("caller", name, b"x", NOW - age)
        await storage.held.put(HeldEvent("source", name, "type", b"", b"{}", NOW - age, looked=True))
    unasked = HeldEvent("source", "nobody was asked yet", "type", b"", b"{}", NOW - timedelta(days=9))
    await storage.held.put(unasked)
    housekeeping = Housekeeping(
        storage.requests,
        storage.held,
        storage.inbox,
        storage.operations,
        storage.accesses,
        storage.tasks,
        Clock(),
        hold_s=86_400.0 + 1,
    )
    await housekeeping.clean()
    assert await storage.requests.begin("caller", "old", b"x", NOW) is None
    assert await storage.requests.begin("caller", "young", b"x", NOW) is not None
    assert {event.id for event in await storage.held.waiting(None)} == {"young", unasked.id}


async def test_who_read_what_is_forgotten_only_where_there_is_a_retention() -> None:
    storage = MemoryStorage()
    await own(storage, "node", 4)
    read = [Access(id=f"a_{age}", at=NOW - timedelta(days=age), actor="ada", what="feed") for age in (9, 8, 1)]
    await storage.accesses.append(1, read)

    def keeping(retention_s: float | None) -> Housekeeping:
        return Housekeeping(
            storage.requests,
            storage.held,
            storage.inbox,
            storage.operations,
            storage.accesses,
            storage.tasks,
            Clock(),
            hold_s=60,
            retention_s=retention_s,
        )

    await keeping(None).clean()
    assert len(await storage.accesses.chain(1)) == 3
    await keeping(7 * 86_400.0).clean()
    assert [each.number for each in await storage.accesses.chain(1)] == [3]
