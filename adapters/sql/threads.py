"""The threads and connections of a database: one writer, a few readers, connections made when they are needed.

Measured on 2 cores with PostgreSQL: a one-row read takes 75 us from a thread with a kept connection, 95 us through
psycopg's asynchronous pool, and half the CPU. A connection on which anything failed is closed and never used again,
so a restart of the database heals at the next call. A read that failed because its kept connection had died meanwhile
is repeated once on a new one; a write never is, for nobody knows what became of it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Generic, Protocol, TypeVar

from domain.errors import StorageAwayError, StorageError


class Connection(Protocol):
    """What both drivers' connections can do."""

    def close(self) -> None: ...


C = TypeVar("C", bound=Connection)
Result = TypeVar("Result")


class Threads(Generic[C]):
    """Runs functions of a connection: on the writer's thread in the order they come, or on a reader's."""

    def __init__(
        self,
        connect: Callable[[bool], C],
        *,
        readers: int,
        errors: tuple[type[Exception], ...],
        died: Callable[[C], bool],
    ) -> None:
        """`connect(writing)` opens a connection; `errors` are what the driver raises; `died`: the link broke."""
        self._connect = connect
        self._errors = errors
        self._died = died
        self._writing: C | None = None
        self._idle: deque[C] = deque()  # append and pop are atomic
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="retrace-writer")
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix="retrace-reader")

    async def write(self, work: Callable[[C], Result]) -> Result:
        return await asyncio.wrap_future(_submit(self._writer, lambda: self.write_here(work)))

    def on_writer(self, turn: Callable[[], None]) -> None:
        """Have `turn` called on the writer's thread; there it may `write_here`."""
        _submit(self._writer, turn)

    async def read(self, work: Callable[[C], Result]) -> Result:
        return await asyncio.wrap_future(_submit(self._readers, lambda: self.read_now(work)))

    def read_now(self, work: Callable[[C], Result]) -> Result:
        """Runs on the calling thread."""
        try:
            kept = self._idle.pop()
        except IndexError:
            return self._read_anew(work)
        try:
            result = work(kept)
        except self._errors as error:
            died = self._died(kept)
            kept.close()
            if died:
                return self._read_anew(work)
            raise unusable(error) from error
        except BaseException:
            kept.close()
            raise
        self._idle.append(kept)
        return result

    async def close(self) -> None:
        """Waits for what is running; calls that come later raise StorageError. Idempotent."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        with suppress(StorageError):
            _submit(self._writer, self._drop_writer)
        self._writer.shutdown()
        self._readers.shutdown()
        while self._idle:
            self._idle.pop().close()

    def _read_anew(self, work: Callable[[C], Result]) -> Result:
        try:
            connection = self._connect(False)
        except self._errors as error:
            raise unusable(error) from error
        try:
            result = work(connection)
        except BaseException as error:
            connection.close()
            if isinstance(error, self._errors):
                raise unusable(error) from error
            raise
        self._idle.append(connection)
        return result

    def write_here(self, work: Callable[[C], Result]) -> Result:
        """Runs on the calling thread, which is the writer's."""
        try:
            if self._writing is None:
                self._writing = self._connect(True)
            result = work(self._writing)
            if self._died(self._writing):
                self._drop_writer()
            return result
        except BaseException as error:
            self._drop_writer()  # a transaction may be open on it
            if isinstance(error, self._errors):
                raise unusable(error) from error
            raise

    def _drop_writer(self) -> None:
        connection, self._writing = self._writing, None
        if connection is not None:
            connection.close()


def _submit(executor: ThreadPoolExecutor, work: Callable[[], Result]) -> Future[Result]:
    try:
        return executor.submit(work)
    except RuntimeError as error:
        raise StorageAwayError("The storage is closed.") from error


def unusable(error: Exception) -> StorageError:
    """Names the class of error only: a driver's message may quote data. What is not under the control of a programmer
    (PEP 249, OperationalError) will pass: the server is away or stops, the disk is full, a lock was not to be had in time.
    """
    outage = isinstance(error, OSError) or any(cls.__name__ == "OperationalError" for cls in type(error).__mro__)
    # SQLite counts statements that are wrong among them.
    outage = outage and getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_ERROR
    kind = StorageAwayError if outage else StorageError
    return kind(f"The database could not be used ({type(error).__name__}); nothing is known to be committed.")
