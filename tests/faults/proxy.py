"""A TCP proxy in front of PostgreSQL that breaks links at the moments that hurt.

It reads along as far as it must to find a COMMIT, sent as a simple query or as a prepared one inside a pipeline, and its
answer. So it can cut a link right before a commit arrives, or when it has happened and its answer is still on the way,
or keep that answer for ever on a link that looks alive. Links may also be cut all at once, stalled both ways, or slowed.

Clients must not encrypt (`url` says so), or nothing could be read.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from enum import Enum
from struct import unpack
from typing import Any, Final
from urllib.parse import urlencode

from psycopg.conninfo import conninfo_to_dict

_STARTUP_AGAIN: Final = (80877103, 80877104)
"""Requests for encryption: another start-up message follows."""


class Mishap(Enum):
    """What becomes of one commit."""

    NEVER_ARRIVES = "the link breaks before the server sees it"
    ANSWER_LOST = "it happens, and the link breaks before its answer arrives"
    NOBODY_KNOWS = "it is sent and the link breaks at once"
    NO_ANSWER = "it happens, and the answer never comes on a link that stays up"


class _Frames:
    """Cuts a byte stream into messages of the protocol. A start-up message has no type and gets the empty one."""

    def __init__(self, reader: asyncio.StreamReader, *, starts_up: bool) -> None:
        self._reader = reader
        self._starting = starts_up

    async def next(self) -> tuple[bytes, bytes]:
        """(type, the whole message). Raises asyncio.IncompleteReadError at the end."""
        kind = b"" if self._starting else await self._reader.readexactly(1)
        length = await self._reader.readexactly(4)
        body = await self._reader.readexactly(unpack(">I", length)[0] - 4)
        if self._starting:
            self._starting = unpack(">I", body[:4])[0] in _STARTUP_AGAIN
        return kind, kind + length + body


class _Commits:
    """Follows what a client sends and knows which message carries out a COMMIT."""

    def __init__(self) -> None:
        self._statements: set[bytes] = set()
        self._bound = False

    def carried_out_by(self, kind: bytes, message: bytes) -> bool:
        """Whether the server commits when it sees this message."""
        body = message[5:]
        match kind:
            case b"Q":
                return _is_commit(body)
            case b"P":
                name, query, _ = body.split(b"\0", 2)
                (self._statements.add if _is_commit(query) else self._statements.discard)(name)
            case b"B":
                _, statement, _ = body.split(b"\0", 2)
                self._bound = statement in self._statements
            case b"E":
                return self._bound
        return False


def _is_commit(query: bytes) -> bool:
    return query[:6].upper() == b"COMMIT"


class _Link:
    """One client, and its connection to the server."""

    def __init__(self, proxy: PostgresProxy, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._mishap: Mishap | None = None
        """Of the commit under way."""

    def cut(self) -> None:
        """Both ends see a broken connection; what is buffered is lost."""
        for writer in (self._client, self._server):
            writer.transport.abort()

    async def ended(self) -> None:
        """Return when both ends are closed."""
        for writer in (self._client, self._server):
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def outward(self, reader: asyncio.StreamReader) -> None:
        """From the client to the server."""
        frames, commits = _Frames(reader, starts_up=True), _Commits()
        while True:
            kind, message = await frames.next()
            await self._proxy.passage(ends=kind in b"QS")
            if commits.carried_out_by(kind, message):
                self._mishap = self._proxy.next_mishap()
            if self._mishap is Mishap.NEVER_ARRIVES:
                return
            self._server.write(message)
            await self._server.drain()
            if self._mishap is Mishap.NOBODY_KNOWS and kind in b"QS":
                return

    async def homeward(self, reader: asyncio.StreamReader) -> None:
        """From the server to the client."""
        frames = _Frames(reader, starts_up=False)
        while True:
            kind, message = await frames.next()
            await self._proxy.passage(ends=kind == b"Z")
            if kind == b"C" and _is_commit(message[5:]):
                self._proxy.committed(self._mishap)
            if self._mishap is None:
                self._client.write(message)
                await self._client.drain()
            elif self._mishap is Mishap.ANSWER_LOST and kind == b"Z":
                return


class PostgresProxy:
    """See the module. `commits`: how many happened; `unheard`: how many of them the client never heard of."""

    def __init__(self, upstream: str) -> None:
        self._upstream = conninfo_to_dict(upstream)
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = asyncio.Event()
        self._open.set()
        self._mishaps: list[Mishap | None] = []
        self._moved = asyncio.Condition()
        self._port = 0
        self.commits = 0
        self.unheard = 0
        self.delay_s = 0.0
        """Of every way of every round trip."""
        self.away = False
        """Whether nobody listens behind: no new link can be made."""

    @property
    def url(self) -> str:
        """What clients connect to instead."""
        known = {name: str(value) for name, value in self._upstream.items() if name not in ("host", "port", "hostaddr")}
        name = known.pop("dbname")
        options = urlencode(known | {"sslmode": "disable", "gssencmode": "disable"})
        return f"postgresql://127.0.0.1:{self._port}/{name}?{options}"

    # What goes wrong --------------------------------------------------------------------------------------------------

    def cut(self) -> None:
        """Break every link; new ones can be made."""
        for link in list(self._links):
            link.cut()

    def stall(self) -> None:
        """From now on nothing passes, either way, and no link breaks."""
        self._open.clear()

    def go_on(self) -> None:
        """What was stalled arrives."""
        self._open.set()

    def next_commits(self, *mishaps: Mishap | None) -> None:
        """What becomes of the next commits, whoever makes them; None: nothing special."""
        self._mishaps += mishaps

    async def until(self, unheard: int) -> None:
        """Return when so many commits have happened of which nobody heard."""
        async with self._moved:
            await self._moved.wait_for(lambda: self.unheard >= unheard)

    # What its links ask -----------------------------------------------------------------------------------------------

    async def passage(self, *, ends: bool) -> None:
        """Wait until a message may pass. `ends`: the other side has been waiting for this one."""
        if self.delay_s and ends:
            await asyncio.sleep(self.delay_s)
        await self._open.wait()

    def next_mishap(self) -> Mishap | None:
        return self._mishaps.pop(0) if self._mishaps else None

    def committed(self, mishap: Mishap | None) -> None:
        self.commits += 1
        self.unheard += mishap is not None
        self._keep(self._tell())

    async def _tell(self) -> None:
        async with self._moved:
            self._moved.notify_all()

    # Running ----------------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[PostgresProxy]:
        """Listen on 127.0.0.1 while the block runs."""
        server = await asyncio.start_server(self._linked, "127.0.0.1", 0)
        self._port = int(server.sockets[0].getsockname()[1])
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _linked(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._keep(self._carry(reader, writer))

    async def _carry(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        try:
            answers, server = await self._connected()
        except OSError:  # the server is away: so it looks to the client
            client.transport.abort()
            with contextlib.suppress(OSError):
                await client.wait_closed()
            return
        link = _Link(self, client, server)
        self._links.add(link)
        ways = [asyncio.ensure_future(link.outward(reader)), asyncio.ensure_future(link.homeward(answers))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            link.cut()  # first: what follows may be cut short by the end of the test
            self._links.discard(link)
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            await link.ended()

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self.away:
            raise ConnectionRefusedError
        host, port = str(self._upstream.get("host") or "127.0.0.1"), int(self._upstream.get("port") or 5432)
        if host.startswith("/"):
            return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        return await asyncio.open_connection(host, port)
