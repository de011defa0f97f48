"""Brokers for tests: a NATS server of one's own that can be killed, and a way to RabbitMQ that can be cut.

RabbitMQ is expected on its usual port with its usual guest, or where ``RETRACE_TEST_AMQP`` says.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import aio_pika
import nats
import nats.errors
from aio_pika.abc import AbstractChannel
from nats.aio.client import Client

AMQP = os.environ.get("RETRACE_TEST_AMQP", "amqp://guest:guest@127.0.0.1:5672/")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class NatsServer:
    """``nats-server`` with JetStream, a folder and a port of its own; both outlive a kill."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        program = shutil.which("nats-server")
        assert program, "there is no nats-server"
        options = ("-js", "-a", "127.0.0.1", "-p", str(self.port), "-sd", str(self._folder))
        null = asyncio.subprocess.DEVNULL
        self._process = await asyncio.create_subprocess_exec(program, *options, stdout=null, stderr=null)
        for _ in range(500):
            with contextlib.suppress(OSError, nats.errors.Error):
                client = await nats.connect(
                    self.url, allow_reconnect=False, max_reconnect_attempts=1, reconnect_time_wait=0, error_cb=_quiet
                )
                await client.close()
                return
            await asyncio.sleep(0.02)
        raise AssertionError("nats-server does not come up")

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        client = await nats.connect(self.url)
        try:
            yield client
        finally:
            await client.close()


async def _quiet(error: Exception) -> None: ...


@contextlib.asynccontextmanager
async def nats_server(folder: Path) -> AsyncIterator[NatsServer]:
    server = NatsServer(folder)
    await server.start()
    try:
        yield server
    finally:
        await server.kill()


class TcpProxy:
    """A way to a server that can be cut: while it is away, nobody gets through."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = host, port
        self.port = free_port()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._linked, "127.0.0.1", self.port)

    async def cut(self) -> None:
        """Break every link and take no more."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _linked(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._carry(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server = self._server
        there, back = await asyncio.open_connection(*self._upstream)
        ends = {writer, back}
        if server is None or self._server is not server:  # cut while it was being opened
            for end in ends:
                end.transport.abort()
            return
        self._writers |= ends
        ways = [asyncio.ensure_future(_pump(reader, back)), asyncio.ensure_future(_pump(there, writer))]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.transport.abort()
        await asyncio.gather(*ways, return_exceptions=True)
        self._writers -= ends


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


class Rabbit:
    """RabbitMQ through a proxy. Queues and exchanges made here go when the test is over."""

    def __init__(self, proxy: TcpProxy, channel: AbstractChannel) -> None:
        self.proxy = proxy
        self.channel = channel
        self.tag = f"retrace-test-{uuid.uuid4().hex[:12]}"
        parts = urlsplit(AMQP)
        self.url = f"amqp://{parts.username}:{parts.password}@127.0.0.1:{proxy.port}{parts.path or '/'}"

    async def queue(self, name: str) -> str:
        queue = await self.channel.declare_queue(f"{self.tag}-{name}", durable=True, arguments={"x-expires": 600_000})
        return queue.name


@contextlib.asynccontextmanager
async def rabbit() -> AsyncIterator[Rabbit]:
    parts = urlsplit(AMQP)
    proxy = TcpProxy(parts.hostname or "127.0.0.1", parts.port or 5672)
    await proxy.start()
    connection = await aio_pika.connect(AMQP)
    try:
        yield Rabbit(proxy, await connection.channel())
    finally:
        async with asyncio.timeout(20):
            await connection.close()
            await proxy.cut()
