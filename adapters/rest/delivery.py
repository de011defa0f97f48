"""Sends an answer no faster than its client takes it.

The server buffers what a socket does not take, and says so before the next message only. So a large answer goes out in
slices, each after the one before has found room: what a client leaves lying is held once, by a request that still counts as
in progress. A client that takes nothing for a while is given up.
"""

from __future__ import annotations

import asyncio

from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from adapters.rest.lingering import LingeringResponse

SLICE_BYTES = 65_536


class StalledClientError(Exception):
    """The client has taken nothing for too long."""


async def deliver(response: Response, scope: Scope, receive: Receive, send: Send, patience_s: float) -> None:
    """Send all of an answer. Raises StalledClientError when the client takes nothing for `patience_s` seconds."""
    body = response.body if not isinstance(response, (StreamingResponse, LingeringResponse)) else None
    if body is not None and len(body) <= SLICE_BYTES:
        await send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
        await send({"type": "http.response.body", "body": body})
        return

    async def patiently(message: Message) -> None:
        try:
            async with asyncio.timeout(patience_s):
                await send(message)
        except TimeoutError:
            raise StalledClientError(f"The client has taken nothing for {patience_s:g} s.") from None

    if body is None:
        await response(scope, receive, patiently)
        return
    await patiently({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
    last = len(body) - 1
    for start in range(0, len(body), SLICE_BYTES):
        # Copies: a slice that lies in the server's buffer must not keep the whole answer in memory.
        part = bytes(body[start : start + SLICE_BYTES])
        await patiently({"type": "http.response.body", "body": part, "more_body": start + SLICE_BYTES <= last})
