"""Sends an answer no faster than its client takes it.

The server buffers what a socket does not take, and says so before the next message only. So a large answer goes out in
slices, each after the one before has found room: what a client leaves lying is held once, by a request that still counts as
in progress. A client that takes nothing for a while is given up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from adapters.rest.lingering import LingeringResponse

SLICE_BYTES = 65_536


class StalledClientError(Exception):
    """The client has taken nothing for too long."""


async def deliver(response: Response, scope: Scope, receive: Receive, send: Send, patience_s: float) -> None:
    """Send all of an answer. Raises StalledClientError when the client takes nothing for `patience_s` seconds."""
    whole = not isinstance(response, (StreamingResponse, LingeringResponse))
    if whole and len(response.body) <= SLICE_BYTES:
        await send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
        await send({"type": "http.response.body", "body": response.body})
        return

    async def patiently(message: Message) -> None:
        try:
            for part in _slices(message):
                async with asyncio.timeout(patience_s):
                    await send(part)
        except TimeoutError:
            raise StalledClientError(f"The client has taken nothing for {patience_s:g} s.") from None

    await response(scope, receive, patiently)


def _slices(message: Message) -> Iterator[Message]:
    body = message.get("body", b"")
    for start in range(0, len(body) - SLICE_BYTES, SLICE_BYTES):
        # Copies: a slice that lies in the server's buffer must not keep the whole answer in memory.
        part = bytes(body[start : start + SLICE_BYTES])
        yield {"type": "http.response.body", "body": part, "more_body": True}
    last = (len(body) - 1) // SLICE_BYTES * SLICE_BYTES
    yield {**message, "body": bytes(body[last:])} if last > 0 else message
