"""A SQLite file as a `Database`: write-ahead log, every commit synced to disk, one writer, two readers.

Readers see the last commit and never wait for the writer. What PostgreSQL reads over all partitions with one
statement is here one statement per partition, merged lazily, so that a page of a list steps over little more than its
own rows.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from datetime import datetime
from heapq import merge
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID

from adapters.sql.changes import Changes
from adapters.sql.database import Fence, Order, Params, Result, Row, Transaction
from adapters.sql.migration import migrate
from adapters.sql.rows import microseconds
from adapters.sql.statements import Fragment, Statements
from adapters.sql.threads import Threads, unusable
from adapters.sqlite.lock import DatabaseLock

# OverflowError: an integer too large; UnicodeError: text with a lone surrogate.
_ERRORS = (sqlite3.Error, OverflowError, UnicodeError, OSError)
_STATEMENTS = Statements("adapters.sqlite")
_PREPARED = 512
"""Statements kept ready on a connection: a list has one for each partition and choice of filters."""
_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA busy_timeout = 5000",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cache_size = -65536",
    # A checkpoint syncs the file and writes each page once, however often it changed since the last: 8 MiB.
    "PRAGMA wal_autocheckpoint = 2048",
)


class SqliteDatabase:
    """`Database` over one file."""

    def __init__(self, path: Path, *, readers: int = 2) -> None:
        self.partitions = 0
        self._path = path
        self._lock = DatabaseLock(path)
        self._threads = Threads[sqlite3.Connection](
            self._connect, readers=readers, errors=_ERRORS, died=lambda _connection: False
        )
        self._changes = Changes[sqlite3.Connection](
            self._threads,
            begin="BEGIN IMMEDIATE",
            execute=sqlite3.Connection.execute,
            transaction=_SqliteTransaction,
            errors=_ERRORS,
        )

    async def open(self, lease_s: float) -> None:
        try:
            self._lock.acquire()
            uri = f"sqlite:///{quote(str(self._path.absolute()))}"
            await asyncio.to_thread(migrate, uri, "adapters.sqlite", alone=True)
        except _ERRORS as error:
            raise unusable(error) from error

    async def close(self) -> None:
        try:
            await self._threads.close()
        finally:
            self._lock.release()

    def _connect(self, writing: bool) -> sqlite3.Connection:
        # Autocommit: transactions are begun by name. A reader's connection goes from thread to thread, one at a time.
        connection = sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=writing, cached_statements=_PREPARED
        )
        try:
            for pragma in _PRAGMAS:
                connection.execute(pragma)
        except BaseException:
            connection.close()
            raise
        return connection

    async def commit(self, fences: Sequence[Fence], changes: Sequence[tuple[str, Sequence[Row]]]) -> bool:
        return await self._threads.write(lambda connection: _commit(connection, fences, changes))

    async def lease(self, work: Callable[[Transaction], Result]) -> Result:
        return await self._changes.change(work)

    async def change(self, work: Callable[[Transaction], Result], order: Order = ()) -> Result:
        return await self._changes.change(work, order)

    async def reshape(self, work: Callable[[Transaction], Result]) -> Result:
        # Readers see the tables as they were when they began; nobody waits for them.
        return await self._changes.change(work)

    async def select(self, statement: str, params: Params) -> list[Row]:
        return await self._threads.read(lambda connection: connection.execute(statement, _encoded(params)).fetchall())

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
        statement, values = _STATEMENTS.text(name, *where), _encoded(params)
        chosen = range(self.partitions) if partitions is None else partitions

        def read(connection: sqlite3.Connection) -> list[Row]:
            with ExitStack() as cursors:
                ranges = []
                for partition in chosen:
                    # A text of its own: one that is open already would not come from the cache of prepared statements.
                    cursor = connection.execute(f"{statement} -- {partition}", {**values, "partition": partition})
                    ranges.append(cursors.enter_context(closing(cursor)))
                return list(islice(merge(*ranges, key=order), limit))

        return await self._threads.read(read)


class _SqliteTransaction:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def run(self, name: str, params: Params) -> list[Row]:
        return _rows(self._connection, name, params)

    def each(self, name: str, rows: Sequence[Row]) -> None:
        _each(self._connection, name, rows)

    def perform(self, statement: str, params: Params) -> list[Row]:
        return self._connection.execute(statement, _encoded(params)).fetchall()

    def perform_each(self, statement: str, rows: Sequence[Row]) -> None:
        self._connection.executemany(statement, [_encoded_row(row) for row in rows])


def _commit(
    connection: sqlite3.Connection, fences: Sequence[Fence], changes: Sequence[tuple[str, Sequence[Row]]]
) -> bool:
    connection.execute("BEGIN IMMEDIATE")
    for fence in fences:
        moved = connection.execute(
            _STATEMENTS.text("fence"),
            (fence.until, fence.until_hash, fence.partition, fence.epoch, fence.position),
        )
        if moved.rowcount == 0:
            connection.execute("ROLLBACK")
            return False
    for name, rows in changes:
        _each(connection, name, rows)
    connection.execute("COMMIT")
    return True


def _rows(connection: sqlite3.Connection, name: str, params: Params, *where: Fragment) -> list[Row]:
    return connection.execute(_STATEMENTS.text(name, *where), _encoded(params)).fetchall()


def _each(connection: sqlite3.Connection, name: str, rows: Sequence[Row]) -> None:
    connection.executemany(_STATEMENTS.text(name), [_encoded_row(row) for row in rows])


def _same(value: Any) -> Any:
    return value


def _uuid_bytes(value: UUID) -> bytes:
    return value.bytes


_ENCODERS: Mapping[type, Callable[[Any], Any]] = {UUID: _uuid_bytes, datetime: microseconds}


def _encoded(params: Params) -> dict[str, Any]:
    return {name: _ENCODERS.get(type(value), _same)(value) for name, value in params.items()}


def _encoded_row(row: Row) -> Row:
    return tuple([_ENCODERS.get(type(value), _same)(value) for value in row])
