"""Where emitted CloudEvents go: an HTTP receiver, or nowhere.

Events are posted in structured mode (CloudEvents HTTP binding 1.0.2, section 3.2). Any 2xx is a receipt; anything else
is a `DeliveryError` and the outbox tries again, so receivers drop repeats by ``source`` and ``id``.
"""

from __future__ import annotations

import json
from typing import Any

import aiohttp

from adapters.callouts.http import user_agent
from application.ports import DeliveryError

TIMEOUT_S = 30.0


class HttpEventSink:
    """Posts events to one address over the shared, guarded session; closes nothing."""

    def __init__(self, url: str, session: aiohttp.ClientSession, *, timeout_s: float = TIMEOUT_S) -> None:
        self._url = url
        self._session = session
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._headers = {"Content-Type": "application/cloudevents+json; charset=utf-8", "User-Agent": user_agent()}

    async def publish(self, event: dict[str, Any]) -> None:
        """Deliver one event. Raises DeliveryError when it must be tried again."""
        body = json.dumps(event, separators=(",", ":")).encode()
        try:
            async with self._session.post(
                self._url, data=body, headers=self._headers, timeout=self._timeout, allow_redirects=False
            ) as response:
                status = response.status
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as problem:
            raise DeliveryError(f"the sink could not be reached: {str(problem) or type(problem).__name__}") from problem
        if not 200 <= status < 300:
            raise DeliveryError(f"the sink answered {status}")


class NoSink:
    """No receiver outside: emitted events reach only the ``listen`` tasks of this service."""

    async def publish(self, event: dict[str, Any]) -> None:
        """Done at once."""
