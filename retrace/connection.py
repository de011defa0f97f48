"""One HTTP connection to a Retrace service: sends a request, gives its JSON, raises its problem.

Beneath `retrace.client`, which knows the calls; this knows only how the API speaks: problem details (RFC 9457), strings
in structured headers (RFC 9651), and requests that the server holds for a while before it answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import httpx2

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


class Connection:
    """A pool of connections to one server, with its token."""

    def __init__(self, url: str, token: str | None, timeout_s: float, transport: httpx2.BaseTransport | None) -> None:
        headers = {"Accept": "application/json, application/problem+json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        self._timeout_s = timeout_s
        self._http = httpx2.Client(base_url=url, headers=headers, timeout=timeout_s, transport=transport)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def call(self, method: str, path: str, **request: Any) -> Any:
        """The JSON of an answer; arguments as of `response`."""
        return self.response(method, path, **request).json()

    def text(self, path: str, accept: str) -> str:
        """The text of an answer in one media type."""
        return self.response("GET", path, headers={"Accept": f"{accept}, application/problem+json"}).text

    def response(self, method: str, path: str, *, held_s: float = 0, **request: Any) -> httpx2.Response:
        """Send a request that the server may hold for `held_s`. Raises RetraceProblem unless it succeeds."""
        timeout_s = max(self._timeout_s, held_s + _GRACE_S)
        response = self._http.request(method, path, timeout=timeout_s, **request)
        if not response.is_success:
            raise problem_of(response)
        return response

    @contextmanager
    def stream(self, path: str, accept: str, params: Mapping[str, Any], silent_s: float) -> Iterator[httpx2.Response]:
        """An answer that is read while it comes; `silent_s`: how long nothing may come. Raises RetraceProblem."""
        headers = {"Accept": f"{accept}, application/problem+json"}
        timeout = httpx2.Timeout(self._timeout_s, read=silent_s)
        with self._http.stream("GET", path, params=params, headers=headers, timeout=timeout) as response:
            if not response.is_success:
                response.read()
                raise problem_of(response)
            yield response


def lines_of(response: httpx2.Response) -> Iterator[str]:
    """The lines of a streamed answer, as they come. Only a line feed ends one: JSON may hold the other separators that
    Unicode knows (U+2028, U+0085, ...) as they are, and the client library would break lines there.
    """
    rest: list[bytes] = []
    for chunk in response.iter_bytes():
        first, *others = chunk.split(b"\n")
        rest.append(first)
        for other in others:
            yield b"".join(rest).removesuffix(b"\r").decode()
            rest = [other]
    if last := b"".join(rest):
        yield last.decode()


def structured_string(value: str) -> str:
    """A string as RFC 9651 writes it in a header."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def problem_of(response: httpx2.Response) -> RetraceProblem:
    """What an answer that is no success says."""
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
