"""The port `Callouts`: one attempt in, what is known of its outcome out.

Here the port's promises are kept whatever happens behind: nothing is raised but CancelledError from outside, and an
answer comes within the timeout and a grace of a second. What nobody foresaw is logged and counts as uncertain, because
nobody knows how far it came.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from adapters.callouts.functions import FunctionCallouts
from adapters.callouts.http import HttpCallouts
from adapters.callouts.openapi import OpenApiCallouts
from adapters.callouts.sql.callouts import SqlCallouts
from application.ports import Callout, CalloutResult, Doubtful
from domain.errors import fault

log = structlog.get_logger(__name__)

Sender = Callable[[Callout], CalloutResult | Coroutine[Any, Any, CalloutResult]]

GRACE_S = 0.8
"""Beyond a callout's own timeout; only what failed to keep that one runs into this."""


class CalloutDispatch:
    """Implements application.ports.Callouts by the kind of the callout."""

    def __init__(
        self, http: HttpCallouts, openapi: OpenApiCallouts, functions: FunctionCallouts, sql: SqlCallouts | None = None
    ) -> None:
        self._http = http
        self._functions = functions
        self._sql = sql or SqlCallouts({})
        self._senders: dict[str, Sender] = {
            "http": http.send,
            "openapi": openapi.send,
            "sql": self._sql.send,
            "function": functions.begin,
        }

    async def close(self) -> None:
        """Close connections and the thread pool; functions that still run are left to finish."""
        self._functions.close()
        self._sql.close()
        await self._http.close()

    def knows(self, function: str) -> bool:
        """Whether a registered function has this name. ``http``, ``openapi`` and ``sql`` are always known."""
        return function in ("http", "openapi", "sql") or self._functions.knows(function)

    async def send(self, callout: Callout) -> CalloutResult:
        """Send one attempt. See application.ports.Callouts."""
        try:
            begun = self._senders[callout.kind](callout)
            if not isinstance(begun, Coroutine):
                return begun  # a function that did not have to wait
            async with asyncio.timeout(callout.timeout_s + GRACE_S):
                return await begun
        except TimeoutError:
            return Doubtful(fault("timeout", f"{callout.function}: no outcome within {callout.timeout_s:g} s"))
        except Exception as problem:
            log.exception("callout failed unexpectedly", kind=callout.kind, task=callout.task)
            detail = f"{callout.function}: unexpected {type(problem).__name__}; see the service's log"
            return Doubtful(fault("runtime", detail))
