"""Hints on their way out: they do not queue up before the leases, with which they share a session."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from adapters.postgres.sessions import Sessions
from adapters.postgres.signals import PostgresSignals
from adapters.sql.database import Database

pytestmark = pytest.mark.anyio


class Busy:
    """A `Database` whose session for leases is busy until it is told otherwise."""

    def __init__(self) -> None:
        self.free = asyncio.Event()
        self.told: list[str] = []

    async def lease(self, work: Any) -> None:
        await self.free.wait()
        work(self)

    def run(self, name: str, params: dict[str, str]) -> None:
        self.told.append(params["hint"])


async def test_the_same_hint_is_in_the_queue_once() -> None:
    database = Busy()
    signals = PostgresSignals(cast(Sessions, None), cast(Database, database))
    for _ in range(100):
        await signals.tell("reply")
        await asyncio.sleep(0)
        await signals.tell("inbox")
    database.free.set()
    await signals.close()
    assert database.told == ["reply", "inbox", "reply"], "the first may have gone out before the last was told"
