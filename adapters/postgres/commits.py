"""The hot path's own session: the transactions of the log, one after the other, without a thread.

libpq's pipeline is spoken to from the event loop: a whole transaction goes out at once, and the loop wakes up once for its
answers. By way of the writer's thread and the driver's cursors a commit of one event takes half as much again of the
processor: two changes of threads, a cursor for each statement.

A session on which anything went wrong is closed and never used again.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Final

import psycopg
from psycopg import errors, pq
from psycopg.pq import ExecStatus

from adapters.postgres.arrays import columns
from adapters.postgres.sessions import Session, Sessions
from adapters.sql.database import Row
from adapters.sql.threads import unusable
from domain.errors import StorageAwayError

Statement = tuple[str, Sequence[Row]]
"""The text of a statement that takes columns, and its rows."""
ERRORS: Final = (psycopg.Error, UnicodeError, OverflowError, OSError)
"""UnicodeError: text with a lone surrogate; OverflowError: an integer too large; OSError: the network below the driver."""
_FENCE_DOES_NOT_HOLD: Final = "RT001"
_PLACEHOLDER: Final = re.compile("%b")
_BINARY: Final = pq.Format.BINARY
_BEGIN: Final[Statement] = ("BEGIN", ())
_COMMIT: Final[Statement] = ("COMMIT", ())
_DONE: Final = (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK)


class Commits:
    """Commits one transaction at a time; connects when it is needed."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._link: _Link | None = None
        self._turn = asyncio.Lock()
        self._closed = False

    async def commit(self, statements: Sequence[Statement]) -> bool:
        """False: a fence did not hold, and nothing was done. Raises StorageError: nobody knows, unless the statements could
        not even be sent. Whoever cancels it does not know either.
        """
        async with self._turn:
            if self._closed:
                raise StorageAwayError("The storage is closed.")
            link = None
            try:
                link = await self._linked()
                await link.transact(statements)
            except BaseException as error:
                if link is not None:
                    self._drop(link)
                if getattr(error, "sqlstate", None) == _FENCE_DOES_NOT_HOLD:
                    return False
                if isinstance(error, ERRORS):
                    raise unusable(error) from error
                raise
            return True

    async def close(self) -> None:
        """Idempotent."""
        async with self._turn:
            self._closed = True
            if self._link is not None:
                self._drop(self._link)

    async def _linked(self) -> _Link:
        if self._link is None or self._link.closed:
            self._link = _Link(await asyncio.to_thread(self._sessions.connect))
        return self._link

    def _drop(self, link: _Link) -> None:
        link.close()
        self._link = None


class _Link:
    """A connection in pipeline mode, watched by the event loop from its opening to its end."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._pgconn = session.pgconn
        self._pgconn.nonblocking = 1
        self._pgconn.enter_pipeline_mode()
        self._loop = asyncio.get_running_loop()
        self._socket = self._pgconn.socket
        self._names: dict[str, bytes] = {}
        self._answered: asyncio.Future[None] | None = None
        self._awaited = 0
        self._problem: psycopg.Error | None = None
        self._sending = False
        self.closed = False
        self._loop.add_reader(self._socket, self._readable)

    async def transact(self, statements: Sequence[Statement]) -> None:
        """Raises psycopg.Error; then this link is of no use any more."""
        self._awaited = 0
        self._problem = None
        packed = [(self._name(text), columns(text, rows)) for text, rows in (_BEGIN, *statements, _COMMIT)]
        for name, parameters in packed:
            formats = [_BINARY] * len(parameters)
            self._pgconn.send_query_prepared(name, parameters, param_formats=formats, result_format=_BINARY)
        self._awaited += len(packed)
        self._pgconn.pipeline_sync()
        self._answered = self._loop.create_future()
        self._flush()
        patience = self._loop.call_later(self._session.patience_s, self._fail, "the server does not answer")
        try:
            await self._answered
        finally:
            patience.cancel()
            self._answered = None
        if self._problem is not None:
            raise self._problem
        if self._awaited:
            raise errors.ProtocolViolation("the server has not answered every statement")

    def close(self) -> None:
        """Idempotent."""
        if not self.closed:
            self.closed = True
            self._loop.remove_reader(self._socket)
            self._stop_sending()
            self._session.close()

    def _name(self, text: str) -> bytes:
        """The server's name for a statement, which it is told when it is used for the first time."""
        name = self._names.get(text)
        if name is None:
            name = self._names[text] = b"commit%d" % len(self._names)
            numbers = iter(range(1, 100))
            numbered = _PLACEHOLDER.sub(lambda _: f"${next(numbers)}", text)
            self._pgconn.send_prepare(name, numbered.encode())
            self._awaited += 1
        return name

    def _flush(self) -> None:
        """What does not fit into the socket's buffer goes out as soon as it does."""
        if self._pgconn.flush():
            if not self._sending:
                self._sending = True
                self._loop.add_writer(self._socket, self._writable)
        else:
            self._stop_sending()

    def _stop_sending(self) -> None:
        if self._sending:
            self._sending = False
            self._loop.remove_writer(self._socket)

    def _writable(self) -> None:
        try:
            self._flush()
        except psycopg.Error as error:
            self._fail(str(error))

    def _readable(self) -> None:
        try:
            self._pgconn.consume_input()
            if self._answered is not None:
                if self._sending:
                    self._flush()
                if self._all_taken() and not self._answered.done():
                    self._answered.set_result(None)
        except psycopg.Error as error:
            self._fail(str(error))

    def _fail(self, why: str) -> None:
        """Nothing will come any more. Nobody may be waiting: servers end idle sessions, too."""
        self.close()
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(errors.OperationalError(why))

    def _all_taken(self) -> bool:
        """Take what has arrived; whether that was the last of it."""
        between = True  # the results of one statement end with None, and so does what has arrived
        while not self._pgconn.is_busy():
            result = self._pgconn.get_result()
            if result is None:
                if between:
                    return False
                between = True
                continue
            between = False
            if result.status == ExecStatus.PIPELINE_SYNC:
                return True
            self._awaited -= result.status in _DONE
            if result.status == ExecStatus.FATAL_ERROR and self._problem is None:
                self._problem = errors.error_from_result(result)
        return False
