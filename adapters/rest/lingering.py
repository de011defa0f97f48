"""A last answer to a client that is still sending.

When a server closes a connection with unread bytes in it, TCP resets it, and the client loses the answer that was on its
way (RFC 9112 section 9.6). So the answer goes out first, then what still arrives is thrown away for a moment.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

LONGEST_S = 2.0
MOST_BYTES = 128 * 1_048_576


class LingeringResponse(Response):
    """A response after which the rest of the request is discarded, within limits of time and size."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send, discard, end."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        with suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_S):
                await _discard(receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _discard(receive: Receive) -> None:
    discarded = 0
    while discarded < MOST_BYTES:
        message = await receive()
        if message["type"] != "http.request" or not message.get("more_body", False):
            return
        discarded += len(message.get("body", b""))
