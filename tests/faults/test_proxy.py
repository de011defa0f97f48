"""The proxy between a client and PostgreSQL does what it says: what happened, what did not, and what the client sees."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.faults.proxy import Mishap, PostgresProxy

pytestmark = pytest.mark.anyio


@pytest.fixture
async def proxy(fresh_postgres):
    with psycopg.connect(fresh_postgres, autocommit=True) as connection:
        connection.execute("CREATE TABLE written (n integer)")
    async with PostgresProxy(fresh_postgres).serving() as serving:
        yield serving


def simply(connection: psycopg.Connection, number: int) -> None:
    connection.execute("BEGIN")
    connection.execute("INSERT INTO written VALUES (%s)", [number])
    connection.execute("COMMIT")


def in_a_pipeline(connection: psycopg.Connection, number: int) -> None:
    with connection.pipeline():
        connection.execute("BEGIN")
        connection.execute("INSERT INTO written VALUES (%s)", [number])
        connection.execute("COMMIT")


def prepared(connection: psycopg.Connection, number: int) -> None:
    with connection.pipeline():
        connection.execute("BEGIN", prepare=True)
        connection.execute("INSERT INTO written VALUES (%s)", [number], prepare=True)
        connection.execute("COMMIT", prepare=True)


WAYS = [simply, in_a_pipeline, prepared]


async def write(proxy: PostgresProxy, way: Callable[..., None], *numbers: int) -> None:
    def work() -> None:
        with psycopg.connect(proxy.url, autocommit=True) as connection:
            for number in numbers:
                way(connection, number)

    await asyncio.to_thread(work)


def written(url: str) -> list[Any]:
    with psycopg.connect(url) as connection:
        return [number for (number,) in connection.execute("SELECT n FROM written ORDER BY n")]


@pytest.mark.parametrize("way", WAYS)
async def test_nothing_happens_to_what_passes(proxy, fresh_postgres, way):
    await write(proxy, way, 1, 2, 3)
    assert (written(fresh_postgres), proxy.commits, proxy.unheard) == ([1, 2, 3], 3, 0)


@pytest.mark.parametrize("way", WAYS)
async def test_a_commit_that_never_arrives_does_not_happen(proxy, fresh_postgres, way):
    proxy.next_commits(None, Mishap.NEVER_ARRIVES)
    with pytest.raises(psycopg.OperationalError):
        await write(proxy, way, 1, 2)
    assert (written(fresh_postgres), proxy.unheard) == ([1], 0)


@pytest.mark.parametrize("way", WAYS)
async def test_a_commit_happens_and_its_answer_is_lost(proxy, fresh_postgres, way):
    proxy.next_commits(None, Mishap.ANSWER_LOST)
    with pytest.raises(psycopg.OperationalError):
        await write(proxy, way, 1, 2)
    assert (written(fresh_postgres), proxy.unheard) == ([1, 2], 1)


@pytest.mark.parametrize("way", WAYS)
async def test_a_commit_happens_and_is_never_answered(proxy, fresh_postgres, way):
    proxy.next_commits(Mishap.NO_ANSWER)
    writing = asyncio.ensure_future(write(proxy, way, 1))
    async with asyncio.timeout(30):
        await proxy.until(unheard=1)
    assert written(fresh_postgres) == [1]
    assert not writing.done()
    proxy.cut()
    with pytest.raises(psycopg.OperationalError):
        await writing


@pytest.mark.parametrize("way", WAYS)
async def test_after_a_link_that_broke_at_once_the_next_one_works(proxy, fresh_postgres, way):
    proxy.next_commits(Mishap.NOBODY_KNOWS)
    with pytest.raises(psycopg.OperationalError):
        await write(proxy, way, 1)
    await write(proxy, way, 2)
    assert 2 in written(fresh_postgres)


async def test_what_was_stalled_arrives(proxy, fresh_postgres):
    proxy.stall()
    writing = asyncio.ensure_future(write(proxy, simply, 1))
    assert await asyncio.to_thread(written, fresh_postgres) == []
    proxy.go_on()
    await writing
    assert written(fresh_postgres) == [1]


async def test_a_server_that_is_away_looks_like_one(proxy):
    elsewhere = PostgresProxy("postgresql:///x?host=/nowhere")
    async with elsewhere.serving():
        with pytest.raises(psycopg.OperationalError):
            await write(elsewhere, simply, 1)
