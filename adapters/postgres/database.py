"""A PostgreSQL database as a `Database`: batches go out in one pipeline, rows of a batch as arrays by column."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any
from urllib.parse import urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict

from adapters.postgres.arrays import columns
from adapters.postgres.commits import ERRORS, Commits
from adapters.postgres.sessions import Sessions
from adapters.sql.changes import Changes
from adapters.sql.database import Fence, Order, Params, Result, Row, Transaction
from adapters.sql.migration import migrate
from adapters.sql.statements import Fragment, Statements
from adapters.sql.threads import Threads, unusable

_STATEMENTS = Statements("adapters.postgres")


class PostgresDatabase:
    """`Database` over the URL of a PostgreSQL database."""

    def __init__(self, url: str, *, readers: int = 4) -> None:
        self.partitions = 0
        self._url = url
        self.sessions = Sessions(url)
        self._threads = Threads[psycopg.Connection](
            lambda _writing: self.sessions.connect(), readers=readers, errors=ERRORS, died=_died
        )
        self._leases = Threads[psycopg.Connection](
            lambda _writing: self.sessions.connect(), readers=1, errors=ERRORS, died=_died
        )
        self._commits = Commits(self.sessions)
        self._changes = Changes[psycopg.Connection](
            self._threads, begin="BEGIN", execute=_control, transaction=_PostgresTransaction, errors=ERRORS
        )

    async def open(self, lease_s: float) -> None:
        self.sessions.lease_s = lease_s
        try:
            # yoyo passes what follows the question mark to the driver as it is.
            uri = f"postgresql+psycopg:///?{urlencode(conninfo_to_dict(self._url))}"
            await asyncio.to_thread(migrate, uri, "adapters.postgres")
        except ERRORS as error:
            raise unusable(error) from error

    async def close(self) -> None:
        await self._commits.close()
        await self._leases.close()
        await self._threads.close()

    async def commit(self, fences: Sequence[Fence], changes: Sequence[tuple[str, Sequence[Row]]]) -> bool:
        if not fences:
            return True
        held = [(each.partition, each.epoch, each.position, each.until, each.until_hash) for each in fences]
        return await self._commits.commit([(_text(name), rows) for name, rows in (("fence", held), *changes)])

    async def change(self, work: Callable[[Transaction], Result], order: Order = ()) -> Result:
        return await self._changes.change(work, order)

    async def reshape(self, work: Callable[[Transaction], Result]) -> Result:
        return await asyncio.to_thread(self._reshape, work)

    def _reshape(self, work: Callable[[Transaction], Result]) -> Result:
        # A session of its own: a table that somebody reads cannot be dropped, and the writer must not wait for that.
        try:
            with self.sessions.connect() as connection, connection.transaction():
                connection.execute(b"SET LOCAL lock_timeout = '200ms'")
                return work(_PostgresTransaction(connection))
        except ERRORS as error:
            raise unusable(error) from error

    async def select(self, statement: str, params: Params) -> list[Row]:
        return await self._threads.read(lambda connection: _made_rows(connection, statement, params))

    async def read(self, name: str, params: Params, *where: Fragment) -> list[Row]:
        return await self._threads.read(lambda connection: _rows(connection, name, params, *where))

    def read_now(self, name: str, params: Params, *where: Fragment) -> list[Row]:
        return self._threads.read_now(lambda connection: _rows(connection, name, params, *where))

    async def across(
        self,
        name: str,
        params: Params,
        *where: Fragment,
        order: Callable[[Row], Any],
        limit: int,
        partitions: Sequence[int] | None = None,
    ) -> list[Row]:
        chosen = list(range(self.partitions) if partitions is None else partitions)
        return await self.read(name, {**params, "partitions": chosen}, *where)

    async def lease(self, work: Callable[[Transaction], Result]) -> Result:
        return await self._leases.write(lambda connection: work(_PostgresTransaction(connection)))


class _PostgresTransaction:
    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def run(self, name: str, params: Params) -> list[Row]:
        return _rows(self._connection, name, params)

    def each(self, name: str, rows: Sequence[Row]) -> None:
        self._connection.execute(_statement(name), columns(_text(name), rows), prepare=True)

    def perform(self, statement: str, params: Params) -> list[Row]:
        return _made_rows(self._connection, statement, params)

    def perform_each(self, statement: str, rows: Sequence[Row]) -> None:
        self._connection.execute(statement.encode(), columns(statement, rows))


@cache
def _statement(name: str, *where: Fragment) -> bytes:
    return _text(name, *where).encode()


def _text(name: str, *where: Fragment) -> str:
    return _STATEMENTS.text(name, *where)


def _rows(connection: psycopg.Connection, name: str, params: Params, *where: Fragment) -> list[Row]:
    cursor = connection.execute(_statement(name, *where), params, prepare=True, binary=True)
    return cursor.fetchall() if cursor.description else []


def _made_rows(connection: psycopg.Connection, statement: str, params: Params) -> list[Row]:
    cursor = connection.execute(statement.encode(), params, binary=True)
    return cursor.fetchall() if cursor.description else []


def _control(connection: psycopg.Connection, statement: str) -> None:
    connection.execute(statement.encode())


def _died(connection: psycopg.Connection) -> bool:
    return connection.closed
