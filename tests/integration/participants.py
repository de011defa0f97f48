"""Participants on the loopback interface, the bad ones included, for the tests of callouts.

`raw_server` gives full control over the bytes and the end of a connection, which no HTTP server library does.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from application.ports import Callout

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def raw_server(handler: Handler) -> AsyncIterator[str]:
    """A server on a free port that hands every connection to `handler`; gives its URL."""
    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        with suppress(ConnectionError, asyncio.CancelledError):
            await handler(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """Head and body of one request that has a Content-Length or no body."""
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            return head + await reader.readexactly(int(line.split(b":")[1]))
    return head


def reset(writer: asyncio.StreamWriter) -> None:
    """End the connection with RST, as a crash or a firewall does."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def answering(*chunks: bytes, then: Callable[[asyncio.StreamWriter], None] | None = None) -> Handler:
    """Reads a request and answers exactly these bytes; `then` may break the connection."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        for chunk in chunks:
            writer.write(chunk)
            await writer.drain()
        if then is not None:
            then(writer)

    return handler


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Takes the request and never answers."""
    await reader.read()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def http_callout(timeout_s: float = 5.0, compensates: str | None = None, **arguments: Any) -> Callout:
    """A ``call: http``; `input` becomes the task's input."""
    if "input" in arguments:
        arguments["$input"] = arguments.pop("input")
    return Callout("http", "http", arguments, "key-1", 1, timeout_s, "public-id", "/do/0/call", compensates)


def openapi_callout(timeout_s: float = 5.0, **arguments: Any) -> Callout:
    return Callout("openapi", "openapi", arguments, "key-1", 1, timeout_s, "public-id", "/do/0/call")


def function_callout(name: str, arguments: Any = None, timeout_s: float = 5.0) -> Callout:
    return Callout("function", name, arguments, "key-1", 2, timeout_s, "public-id", "/do/0/call", "key-0")
