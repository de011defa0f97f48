"""While the database is away clients are told to come back; a defect is not mistaken for that."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import psycopg
import pytest

from adapters.bootstrap import open_service
from adapters.settings import Settings
from adapters.sql.threads import unusable
from domain.errors import StorageAwayError
from tests.faults.proxy import PostgresProxy

pytestmark = pytest.mark.anyio
DEFINITION = """
document: {dsl: '1.0.3', namespace: shop, name: parcel, version: '1.0.0'}
do:
  - label: {set: {text: hello}}
"""
LIST = "/v1/orchestrations"


def sqlite_error(statement: str, path: str = ":memory:") -> Exception:
    connection = sqlite3.connect(path)
    try:
        connection.execute(statement)
    except sqlite3.Error as error:
        return error
    finally:
        connection.close()
    raise AssertionError("it works")


@pytest.mark.parametrize(
    ("error", "away"),
    [
        (psycopg.OperationalError("the connection is closed"), True),
        (psycopg.errors.AdminShutdown(), True),
        (psycopg.errors.DiskFull(), True),
        (psycopg.errors.QueryCanceled(), True),
        (ConnectionResetError(), True),
        (psycopg.errors.UndefinedTable(), False),
        (psycopg.errors.CheckViolation(), False),
        (OverflowError(), False),
        (UnicodeEncodeError("utf-8", "x", 0, 1, "no"), False),
        (sqlite_error("SELECT 1 FROM nothing"), False),
        (sqlite3.IntegrityError(), False),
    ],
)
def test_an_outage_is_told_from_a_defect(error, away):
    assert isinstance(unusable(error), StorageAwayError) is away


def test_a_database_that_is_locked_or_read_only_is_away(tmp_path):
    path = str(tmp_path / "x.db")
    locking = sqlite3.connect(path, isolation_level=None, timeout=0)
    locking.execute("BEGIN EXCLUSIVE")
    other = sqlite3.connect(path, timeout=0)
    with pytest.raises(sqlite3.OperationalError) as locked:
        other.execute("CREATE TABLE t (a)")
    assert isinstance(unusable(locked.value), StorageAwayError)
    for connection in (other, locking):
        connection.close()


async def refused(http: httpx2.AsyncClient, method: str, url: str, **request: object) -> None:
    answer = await http.request(method, url, **request)  # type: ignore[arg-type]
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["Retry-After"]) >= 1
    found = answer.json()
    assert (found["type"], found["retryable"]) == ("/problems/overloaded", True)
    assert "database" in found["detail"]


@asynccontextmanager
async def serving(database: str) -> AsyncIterator[httpx2.AsyncClient]:
    service = await open_service(Settings(database=database, partitions=2, grace=0.1), functions={}, development=True)
    try:
        transport = httpx2.ASGITransport(app=service.app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080", timeout=30) as http:
            yield http
    finally:
        await service.close()


async def test_clients_are_told_to_come_back_until_it_is_there_again(fresh_postgres: str):
    headers = {"Content-Type": "application/yaml"}
    keyed = headers | {"Idempotency-Key": "k"}
    async with PostgresProxy(fresh_postgres).serving() as proxy, serving(proxy.url) as http:
        assert (await http.get(LIST)).status_code == 200
        proxy.away = True
        proxy.cut()
        await refused(http, "GET", LIST)
        await refused(http, "POST", "/v1/definitions", content=DEFINITION, headers=headers)
        await refused(http, "POST", "/v1/definitions", content=DEFINITION, headers=keyed)
        proxy.away = False
        assert (await http.get(LIST)).status_code == 200
        assert (await http.post("/v1/definitions", content=DEFINITION, headers=keyed)).status_code == 201
