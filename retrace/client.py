"""A client of the REST API, for scripts and services that start and follow orchestrations.

One method per call, blocking, answers as the API gives them (`retrace.representations`). Everything that is not a
success raises `RetraceProblem` with the members of the problem; a connection that fails raises httpx2's own errors,
since then nobody knows what the server did: repeat a start with the same ``idempotency_key``, and it is done once.

    with Client("http://127.0.0.1:8080") as client:
        trip = client.start("trip-booking", {"city": "Lisbon"}, idempotency_key="trip-4711")
        print(client.wait(trip["id"])["status"])
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Self, cast
from urllib.parse import quote

import httpx2

from retrace.representations import (
    FINAL,
    CommandResult,
    Deployed,
    EventOutcome,
    HistoryEvent,
    Orchestration,
)

LONGEST_WAIT_S = 60
"""The most that the server holds one long poll or one ``Prefer: wait``."""
_GRACE_S = 10.0


class RetraceProblem(Exception):
    """The server declined a request; the attributes are the members of its problem (RFC 9457).

    `type` ends in a stable slug, e.g. ``/problems/business-key-in-use``; `members` has everything as it came, and
    `retry_after_s` what the server asked for.
    """

    def __init__(self, members: Mapping[str, Any], retry_after_s: float | None = None) -> None:
        self.members = dict(members)
        self.type: str = members.get("type", "about:blank")
        self.title: str = members.get("title", "")
        self.status: int = members["status"]
        self.detail: str | None = members.get("detail")
        self.errors: list[dict[str, Any]] = members.get("errors", [])
        self.retryable: bool = members.get("retryable", False)
        self.current_status: str | None = members.get("current_status")
        self.retry_after_s = retry_after_s
        super().__init__(f"{self.status} {self.title}: {self.detail}" if self.detail else f"{self.status} {self.title}")

    @property
    def slug(self) -> str:
        """The last segment of the type, e.g. ``not-found``."""
        return self.type.rpartition("/")[2]


class Client:
    """A connection to one Retrace service; close it, or use it in a ``with``."""

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        timeout_s: float = 30.0,
        transport: httpx2.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        headers = {"Accept": "application/json, application/problem+json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        self._timeout_s = timeout_s
        self._clock = clock
        self._http = httpx2.Client(base_url=url, headers=headers, timeout=timeout_s, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def deploy(self, document: str | bytes | Mapping[str, Any]) -> Deployed:
        """Deploy a definition: YAML or JSON text, or a parsed document. The same content again changes nothing."""
        if isinstance(document, Mapping):
            content, media_type = json.dumps(document).encode(), "application/json"
        else:
            content = document.encode() if isinstance(document, str) else document
            # JSON is YAML; only a document that is an object in braces is said to be JSON.
            media_type = "application/json" if content.lstrip().startswith(b"{") else "application/yaml"
        answer = self._call("POST", "/v1/definitions", content=content, headers={"Content-Type": media_type})
        return cast("Deployed", answer)

    def start(
        self,
        definition: str,
        input: Any = None,  # noqa: A002 - the member's name in the API
        *,
        business_key: str | None = None,
        tags: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
        wait_s: int | None = None,
    ) -> Orchestration:
        """Start an orchestration of ``name``, ``namespace/name`` or ``namespace/name@version``.

        Returns once the start is committed. With `wait_s` (at most 60), when it has ended or the time is over.
        """
        members = {"definition": definition, "input": input, "business_key": business_key, "tags": tags}
        body = {name: value for name, value in members.items() if value is not None}
        headers = {} if idempotency_key is None else {"Idempotency-Key": _structured_string(idempotency_key)}
        if wait_s is not None:
            headers["Prefer"] = f"wait={wait_s}"
        answer = self._call("POST", "/v1/orchestrations", json=body, headers=headers, held_s=wait_s or 0)
        return cast("Orchestration", answer)

    def get(self, orchestration: str, *, at_version: int | None = None, at: str | None = None) -> Orchestration:
        """The status now, or as it was at a version or an instant (RFC 3339)."""
        params = {name: value for name, value in {"at_version": at_version, "at": at}.items() if value is not None}
        return cast("Orchestration", self._call("GET", _path(orchestration), params=params))

    def wait(self, orchestration: str, timeout_s: float = 300.0) -> Orchestration:
        """The status once the orchestration has ended.

        Raises:
            TimeoutError: it has not ended within `timeout_s`.
        """
        give_up_at = self._clock() + timeout_s
        status = self.get(orchestration)
        while status["status"] not in FINAL:
            left_s = give_up_at - self._clock()
            if left_s <= 0:
                raise TimeoutError(f"{orchestration} is still {status['status']} after {timeout_s:g} s")
            held_s = max(1, min(LONGEST_WAIT_S, int(left_s)))
            params = {"wait": held_s, "after": status["version"]}
            status = cast("Orchestration", self._call("GET", _path(orchestration), params=params, held_s=held_s))
        return status

    def history(self, orchestration: str, *, after: int = 0, limit: int = 100) -> Iterator[HistoryEvent]:
        """The events after a version, oldest first; further pages are fetched as they are needed."""
        position: int | None = after
        while position is not None:
            page = self._call("GET", _path(orchestration, "history"), params={"after": position, "limit": limit})
            yield from page["items"]
            position = page["next_after"]

    def send_event(self, orchestration: str, event: Mapping[str, Any]) -> EventOutcome:
        """Send a CloudEvent to an orchestration, awaited yet or not. Its `source` and `id` make it unique."""
        answer = self._call(
            "POST",
            _path(orchestration, "events"),
            content=json.dumps({"specversion": "1.0", **event}).encode(),
            headers={"Content-Type": "application/cloudevents+json"},
        )
        return cast("EventOutcome", answer)

    def cancel(self, orchestration: str, reason: str | None = None, *, override_pivot: bool = False) -> CommandResult:
        """Undo what was done, then end as ``cancelled``; answers when that is recorded, not when it is done."""
        return self._command(orchestration, "cancel", reason, {"override_pivot": True} if override_pivot else {})

    def terminate(self, orchestration: str, reason: str | None = None) -> CommandResult:
        """End at once as ``terminated``; nothing is undone."""
        return self._command(orchestration, "terminate", reason)

    def suspend(self, orchestration: str, reason: str | None = None) -> CommandResult:
        """Decide nothing more until it is resumed."""
        return self._command(orchestration, "suspend", reason)

    def resume(self, orchestration: str, reason: str | None = None) -> CommandResult:
        """Go on after a suspend."""
        return self._command(orchestration, "resume", reason)

    def _command(
        self, orchestration: str, command: str, reason: str | None, more: Mapping[str, Any] | None = None
    ) -> CommandResult:
        body = {**({} if reason is None else {"reason": reason}), **(more or {})}
        return cast("CommandResult", self._call("POST", _path(orchestration, command), json=body))

    def _call(self, method: str, path: str, *, held_s: float = 0, **request: Any) -> Any:
        """Send a request that the server may hold for `held_s`; the JSON of its answer."""
        timeout_s = max(self._timeout_s, held_s + _GRACE_S)
        response = self._http.request(method, path, timeout=timeout_s, **request)
        if not response.is_success:
            raise _problem(response)
        return response.json()


def _path(orchestration: str, rest: str = "") -> str:
    path = f"/v1/orchestrations/{quote(orchestration, safe='')}"
    return f"{path}/{rest}" if rest else path


def _structured_string(value: str) -> str:
    """A string as RFC 9651 writes it in a header."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _problem(response: httpx2.Response) -> RetraceProblem:
    members: Any = None
    # A proxy's page, or nothing: then the status line is all there is.
    with suppress(ValueError):
        members = response.json()
    if not isinstance(members, dict):
        members = {"title": response.reason_phrase}
    retry_after = response.headers.get("Retry-After", "")
    return RetraceProblem(
        {**members, "status": response.status_code}, float(retry_after) if retry_after.isdigit() else None
    )
