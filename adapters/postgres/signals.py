"""Hints between nodes through PostgreSQL's LISTEN and NOTIFY: a wake-up, never the message itself.

One session listens, its socket watched by the event loop, so that waiting costs nothing. When it breaks it is opened again,
less and less often; meanwhile everyone looks by themselves now and then, as they do behind a connection pooler that passes
no notifications on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import psycopg
import structlog

from adapters.postgres.sessions import Sessions
from adapters.sql.database import Database
from domain.errors import StorageError

_log = structlog.get_logger(__name__)
_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 30.0


class PostgresSignals:
    """`Signals` over one database. It begins to hear when `open` is called on the loop that is to be told."""

    def __init__(self, sessions: Sessions, database: Database) -> None:
        self._sessions = sessions
        self._database = database
        self._hear: list[Callable[[str], None]] = []
        self._task: asyncio.Task[None] | None = None
        self._untold: dict[str, None] = {}
        self._telling: asyncio.Task[None] | None = None

    def listen(self, hear: Callable[[str], None]) -> None:
        self._hear.append(hear)

    async def tell(self, hint: str) -> None:
        """Goes out soon. Those who say the same meanwhile share one message: hints go beside the leases, and must not queue
        up before them.
        """
        self._untold[hint] = None
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell(), name="hints")

    async def _tell(self) -> None:
        while self._untold:
            hint = next(iter(self._untold))
            del self._untold[hint]
            try:
                await self._database.lease(lambda transaction, hint=hint: transaction.run("tell", {"hint": hint}))  # type: ignore[misc]
            except StorageError as error:
                _log.debug("hint.not_told", detail=error.detail)

    async def open(self) -> None:
        """Begin to listen."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="signals")

    async def close(self) -> None:
        """What was to be told goes out before. Idempotent."""
        if self._telling is not None:
            await asyncio.gather(self._telling, return_exceptions=True)
            self._telling = None
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                connection = await self._connected()
            except (psycopg.Error, OSError) as error:
                _log.debug("hints.not_heard", why=type(error).__name__)
            else:
                pause_s = _FIRST_PAUSE_S
                try:
                    await self._listen_on(connection)
                finally:
                    connection.close()
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _connected(self) -> psycopg.Connection:
        """A session that listens. Whoever does not wait for it any more leaves none behind."""
        opening = asyncio.create_task(asyncio.to_thread(self._connect), name="signals-connect")
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            with suppress(psycopg.Error, OSError):
                (await opening).close()
            raise

    def _connect(self) -> psycopg.Connection:
        connection = self._sessions.connect()
        try:
            connection.execute(b"LISTEN retrace")
        except BaseException:
            connection.close()
            raise
        return connection

    async def _listen_on(self, connection: psycopg.Connection) -> None:
        """Until the connection breaks."""
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        socket = connection.pgconn.socket
        loop.add_reader(socket, readable.set)
        try:
            while True:
                await readable.wait()
                readable.clear()
                connection.pgconn.consume_input()
                while (notification := connection.pgconn.notifies()) is not None:
                    hint = notification.extra.decode()
                    for hear in self._hear:
                        hear(hint)
        except psycopg.Error:
            return
        finally:
            loop.remove_reader(socket)
