"""Reading the log of everything: `Client.audit`.

with Client("http://127.0.0.1:8080") as client:
for event in client.audit.events({"type": "incident.*"}):
print(event["at"], event["orchestration"], event["reason"])
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from retrace.connection import Connection, lines_of
from retrace.representations import AccessEntry, FeedEvent

_PATH: Final = "/v1/audit"
_SILENT_S: Final = 60.0
"""A live stream gives a sign of life every 15 seconds."""
_LONG_S: Final = 600.0
"""A filter that takes almost nothing lets an export be silent for long."""


class Audit:
    """Every read here is recorded by the server, under the caller's name."""

    def __init__(self, server: Connection) -> None:
        self._server = server

    def events(
        self, filters: Mapping[str, Any] | None = None, *, after: str | None = None, limit: int | None = None
    ) -> Iterator[FeedEvent]:
        """Events of all orchestrations up to now, at most `limit`; filters by the names of the API, a list repeats its name.
        Further pages are fetched as they are needed.
        """
        params, left = {**_given(filters), **_given({"after": after})}, limit
        while left is None or left > 0:
            page = self._server.call("GET", f"{_PATH}/events", params={**params, "limit": min(left or 500, 500)})
            yield from page["items"]
            if page["next"] is None:
                return
            params["after"] = page["next"]
            left = None if left is None else left - len(page["items"])

    def follow(
        self, filters: Mapping[str, Any] | None = None, *, after: str | None = None
    ) -> Iterator[tuple[FeedEvent, str]]:
        """Events up to now and those to come, each with the cursor to go on after it; it ends when the server stops."""
        params = {**_given(filters), **_given({"after": after})}
        with self._server.stream(f"{_PATH}/events", "text/event-stream", params, _SILENT_S) as response:
            cursor = ""
            for line in lines_of(response):
                name, _, value = line.partition(": ")
                if name == "id":
                    cursor = value
                elif name == "data":
                    yield cast("FeedEvent", json.loads(value)), cursor

    def export(self, filters: Mapping[str, Any] | None = None) -> Iterator[str]:
        """The lines of an export, JSON each: a header, events with stored bytes and hashes, checkpoints, keys, an end. One
        without an end was broken off.
        """
        with self._server.stream(f"{_PATH}/export", "application/x-ndjson", _given(filters), _LONG_S) as response:
            yield from lines_of(response)

    def accesses(self, filters: Mapping[str, Any] | None = None, *, limit: int | None = None) -> Iterator[AccessEntry]:
        """Who has read what, newest first, at most `limit`."""
        params, left = _given(filters), limit
        while left is None or left > 0:
            page = self._server.call("GET", f"{_PATH}/accesses", params={**params, "limit": min(left or 500, 500)})
            yield from page["items"]
            if page["next"] is None:
                return
            params["cursor"] = page["next"]
            left = None if left is None else left - len(page["items"])

    def chain_of_accesses(self, chain: int) -> Iterator[AccessEntry]:
        """All accesses of one chain, in the order of their numbers."""
        number = 0
        while True:
            params = {"chain": chain, "number_after": number, "limit": 500}
            page = self._server.call("GET", f"{_PATH}/accesses", params=params)
            if not page["items"]:
                return
            yield from page["items"]
            number = page["items"][-1]["number"]


def _given(members: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (members or {}).items() if value is not None}
