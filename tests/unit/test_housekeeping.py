"""What is old is forgotten, what is promised is kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

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
        await storage.held.put(HeldEvent("source", name, "type", b"", b"{}", NOW - age))
    await Housekeeping(
        storage.requests, storage.held, storage.inbox, storage.accesses, Clock(), hold_s=86_400.0 + 1
    ).clean()
    assert await storage.requests.begin("caller", "old", b"x", NOW) is None
    assert await storage.requests.begin("caller", "young", b"x", NOW) is not None
    assert [event.id for event in await storage.held.waiting(None)] == ["young"]
