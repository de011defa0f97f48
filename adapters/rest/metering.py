"""Counts requests: the outermost layer, so refusals of every kind count too.

An operation is named by its id, never by its path, so the number of series is bounded by what the API has; what led to no
operation is `none`, and a method that HTTP does not know is `other`. A request whose answer never began has the status
`none`. Long polls and streams are counted and not timed: how long they wait says nothing about the service.
"""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from application.measures import Distribution

METER: Final = "retrace.meter"
"""Where the measure of a request lies in its scope."""
REFUSED: Final = (429, 503)
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Measure:
    """Of one request. Whoever serves it says as what."""

    __slots__ = ("operation", "status", "waits")

    def __init__(self) -> None:
        self.operation = "none"
        self.status = 0
        self.waits = False


class Meter:
    """The requests of one process."""

    def __init__(self) -> None:
        self.requests: dict[tuple[str, str, str], int] = {}
        """(method, operation, ``2xx``) -> how many."""
        self.seconds: dict[str, Distribution] = {}
        """By operation: until the answer was taken."""
        self.refused = dict.fromkeys(REFUSED, 0)
        self.in_progress = 0

    def took(self, method: str, measure: Measure, seconds: float) -> None:
        """A request has ended."""
        status = measure.status
        if status in self.refused:
            self.refused[status] += 1
        kind = f"{status // 100}xx" if status else "none"
        key = (method if method in _METHODS else "other"), measure.operation, kind
        self.requests[key] = self.requests.get(key, 0) + 1
        if measure.waits:
            return
        if measure.operation not in self.seconds:
            self.seconds[measure.operation] = Distribution()
        self.seconds[measure.operation].add(seconds)


class Metering:
    """Times each request and reads the status of its answer."""

    def __init__(self, app: ASGIApp, meter: Meter) -> None:
        self._app = app
        self._meter = meter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        meter, measure = self._meter, Measure()
        scope[METER] = measure

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                measure.status = message["status"]
            await send(message)

        now = asyncio.get_running_loop().time
        began_s = now()
        meter.in_progress += 1
        try:
            await self._app(scope, receive, watched)
        finally:
            meter.in_progress -= 1
            meter.took(scope["method"], measure, now() - began_s)
