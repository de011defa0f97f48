"""Where a request comes from: its trace (W3C Trace Context, https://www.w3.org/TR/trace-context/) and its own id.

Both are recorded with what the request leads to. A `traceparent` that is not valid is passed over, as the standard asks, and
so is an `X-Request-Id` that is not 1 to 128 visible characters of ASCII: neither is a reason to refuse what was asked. An
answer carries the id of its request if that had one.
"""

from __future__ import annotations

import re
from typing import Final

from starlette.responses import Response

from adapters.rest.fields import Fields

REQUEST_ID: Final = "x-request-id"
_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?", re.ASCII | re.DOTALL)
_REQUEST_ID: Final = re.compile(r"[!-~]{1,128}", re.ASCII)


def trace_of(headers: Fields) -> str | None:
    """The trace id (32 hexadecimal digits) that a request brought."""
    if headers.get("traceparent") is None:
        return None
    given = headers.getlist("traceparent")
    found = _TRACEPARENT.fullmatch(given[0].strip()) if len(given) == 1 else None
    if found is None:
        return None
    version, trace, parent, more = found.groups()
    if version == "ff" or (version == "00" and more) or not trace.strip("0") or not parent.strip("0"):
        return None
    return trace


def request_id_of(headers: Fields) -> str | None:
    """The id that a request brought."""
    if headers.get(REQUEST_ID) is None:
        return None
    given = headers.getlist(REQUEST_ID)
    return given[0] if len(given) == 1 and _REQUEST_ID.fullmatch(given[0]) else None


def with_request_id(response: Response, headers: Fields) -> Response:
    """The answer, which says whose it is if its request had an id."""
    if headers.get(REQUEST_ID) is not None and (found := request_id_of(headers)) is not None:
        response.raw_headers.append((REQUEST_ID.encode(), found.encode()))
    return response
