"""The outermost layers of the API: nothing unexpected gets out, and HEAD is GET without a body.

Both are pure ASGI. An exception after the answer has begun cannot become a problem any more: it is logged and raised on,
so that the server cuts the connection and the client sees that the answer is not whole.
"""

from __future__ import annotations

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adapters.rest.delivery import StalledClientError
from adapters.rest.problems import internal

_log = structlog.get_logger(__name__)
HEAD = "retrace.head"
"""Set in the scope of a GET that was a HEAD: an endless answer may end at once."""


class Boundary:
    """Turns exceptions that nobody expected into the problem `internal`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except StalledClientError as error:
            # The server cuts what was not completed.
            _log.warning("answer.cut", reason=str(error))
        except Exception as error:
            if begun:
                _log.warning("answer.cut", exc_info=error)
                raise
            await internal(error)(scope, receive, send)


class HeadAsGet:
    """Answers HEAD with the headers of GET."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        # A copy: the server looks at its own scope to know that no body follows.
        scope = {**scope, "method": "GET", HEAD: True}

        async def without_body(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        await self._app(scope, receive, without_body)
