"""SIGKILL at every commit boundary of a trip, one by one: wherever the node dies, the trip ends as if it had not.

The boundaries are enumerated, not drawn: the node dies right before its first write, right after it, right before its
second, and so on until it lives through the whole trip. Each time another process goes on with the same database.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import msgspec
import psycopg
import pytest
from aiohttp import web
from psycopg import sql

from examples.participants import Participants
from tests.faults.conftest import LONG
from tests.faults.mortal_node import Life, Moment, live
from tests.faults.processes import PROCESSES
from tests.support.soundness import effect_complaints, ending_complaints, log_complaints, work_complaints
from tests.support.stored import fold_all, read_stored

pytestmark = pytest.mark.anyio


class Witness(Participants):
    """Participants who also remember under which key each request came."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: dict[tuple[str, str], set[str]] = {}

    def app(self) -> web.Application:
        @web.middleware
        async def remember(request: web.Request, handler: Any) -> web.StreamResponse:
            self.keys.setdefault((request.method, request.path), set()).add(request.headers["Idempotency-Key"])
            response: web.StreamResponse = await handler(request)
            return response

        app = super().app()
        app.middlewares.append(remember)
        return app


class Ending(msgspec.Struct, frozen=True):
    """How a trip ended, without what may differ from one to the next."""

    status: str
    undone: tuple[str, ...]
    left_behind: tuple[str, ...]
    effects: tuple[tuple[str, str], ...]
    attempts: tuple[tuple[str, int], ...]


async def lived(life: Life) -> int:
    """Exit code of one life."""
    process = PROCESSES.Process(target=live, args=(life,))
    process.start()
    await asyncio.to_thread(process.join, 60)
    assert process.exitcode is not None, "the node hangs"
    return process.exitcode


async def ending(database: str, participants: Witness) -> Ending:
    """Read from the database after the end; checks on the way what must hold in any case."""
    stored = await asyncio.to_thread(read_stored, database)
    all_ = fold_all(stored)
    asked = (key for keys in participants.keys.values() for key in keys)
    assert len(all_) == 1, "one start, one orchestration"
    assert [
        *log_complaints(stored),
        *ending_complaints(all_),
        *effect_complaints(all_, participants.ledger, asked),
        *work_complaints(stored, all_, datetime.now(UTC)),
    ] == []
    assert all(len(keys) == 1 for keys in participants.keys.values()), "the same thing was asked under two keys"
    assert len(participants.effects()) == len(set(participants.effects())), "something happened twice"
    state = all_[0].state
    rollback = state.rollbacks.get("")
    return Ending(
        state.status,
        tuple(state.runs[step.run].name for step in rollback.steps) if rollback else (),
        tuple(state.runs[left.run].name for left in rollback.left_behind) if rollback else (),
        tuple(participants.effects()),
        tuple((run.id, run.attempts) for run in state.runs.values()),
    )


class Places:
    """A fresh database for every life story."""

    def __init__(self, make: Callable[[int], str]) -> None:
        self._make = make
        self._count = 0

    def fresh(self) -> str:
        self._count += 1
        return self._make(self._count)


@pytest.fixture
def sqlite(tmp_path) -> Places:
    return Places(lambda number: f"sqlite:///{tmp_path}/{number}.db")


async def undisturbed(places: Places, city: str) -> Ending:
    database = places.fresh()
    participants = Witness()
    async with participants.serving():
        assert await lived(Life(database, participants.url, city, 0, "after")) == 0
        return await ending(database, participants)


async def deaths(places: Places, city: str, moment: Moment) -> AsyncIterator[tuple[int, Ending]]:
    """(boundary, ending) for every boundary at which the node can die."""
    boundary = 0
    while True:
        boundary += 1
        database = places.fresh()
        participants = Witness()
        async with participants.serving():
            code = await lived(Life(database, participants.url, city, boundary, moment))
            if code == 0:
                return
            assert code == -signal.SIGKILL
            assert await lived(Life(database, participants.url, city, 0, "after")) == 0
            yield boundary, await ending(database, participants)


TRIPS = {
    # city: (status, undone, how many writes at least)
    "Rome": ("completed", (), 5),
    "Nowhere": ("compensated", ("bookHotel", "reserveCar"), 6),
}


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("city", TRIPS)
async def test_a_death_at_any_commit_changes_nothing(sqlite, city, moment):
    status, undone, writes = TRIPS[city]
    wanted = await undisturbed(sqlite, city)
    assert (wanted.status, wanted.undone) == (status, undone)
    endings = {boundary: found async for boundary, found in deaths(sqlite, city, moment)}
    assert len(endings) >= writes
    assert {boundary: found for boundary, found in endings.items() if found != wanted} == {}


@pytest.mark.parametrize("city", TRIPS)
async def test_a_node_that_dies_after_every_single_commit_arrives(sqlite, city):
    wanted = await undisturbed(sqlite, city)
    database = sqlite.fresh()
    lives = 1
    participants = Witness()
    async with participants.serving():
        while await lived(Life(database, participants.url, city, 1, "after")) != 0:
            lives += 1
        assert await ending(database, participants) == wanted
    assert lives > TRIPS[city][2]


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("city", TRIPS if LONG else ["Nowhere"])
async def test_postgresql_survives_the_same(databases, city, moment):
    places = Places(databases)
    status, undone, writes = TRIPS[city]
    wanted = await undisturbed(places, city)
    assert (wanted.status, wanted.undone) == (status, undone)
    endings = {boundary: found async for boundary, found in deaths(places, city, moment)}
    assert len(endings) >= writes
    assert {boundary: found for boundary, found in endings.items() if found != wanted} == {}


@pytest.fixture
def databases(postgres_url):
    """Makes databases of one server; dropped afterwards."""
    made = []

    def make(number: int) -> str:
        name = f"retrace_crash_{uuid4().hex}"
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        made.append(name)
        return str(urlsplit(postgres_url)._replace(path=f"/{name}").geturl())

    yield make
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        for name in made:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
