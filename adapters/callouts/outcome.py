"""What an answer says about the effect: the table of rollback.md, "What has an effect".

========================  ==========================================================
2xx (3xx if allowed)      done: `Answered`, or `Unusable` where the body is no use
408, 5xx                  uncertain: `Doubtful`
3xx not allowed, 4xx      definitely not done: `Declined`
anything else             not HTTP's words for either: `Doubtful`
========================  ==========================================================

The effect is judged by the status line alone, before the body is looked at.
"""

from __future__ import annotations

import re
from base64 import b64encode
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Literal

from adapters.callouts.content import UnreadableError, decode_body, keep_some, visible_headers
from adapters.callouts.exchange import Reply, Request
from application.ports import Answered, CalloutResult, Declined, Doubtful, Unusable
from domain.errors import SPEC, Fault, fault

Output = Literal["raw", "content", "response"]
_SECRETIVE = frozenset({"set-cookie", "set-cookie2", "authorization", "authentication-info"})


def judge(
    request: Request, reply: Reply, *, output: Output = "content", redirect: bool = False, file: Any = None
) -> CalloutResult:
    """The outcome of a request that was answered; `file`: the reference of its content, where that was kept. Never raises."""
    status = reply.status
    if succeeded(reply, redirect=redirect):
        return _done(request, reply, output, file)
    retry_after_s = read_retry_after(reply.headers.get("retry-after"))
    if 300 <= status < 500 and status != 408:
        return Declined(error_of(request, reply), retry_after_s)
    return Doubtful(error_of(request, reply), retry_after_s)


def succeeded(reply: Reply, *, redirect: bool) -> bool:
    """Whether an answer says that it is done."""
    return 200 <= reply.status < 300 or (redirect and 300 <= reply.status < 400)


def _done(request: Request, reply: Reply, output: Output, file: Any) -> CalloutResult:
    if reply.damage is not None:
        return unusable(request, reply, reply.damage)
    if output == "raw":
        return Answered(b64encode(reply.body).decode() if reply.body else None)
    try:
        content = decode_body(reply) if file is None else file
    except UnreadableError as problem:
        return unusable(request, reply, str(problem))
    return Answered(content if output == "content" else _whole(request, reply, content))


def unusable(request: Request, reply: Reply, why: str) -> Unusable:
    """It took effect, and its answer is no use."""
    detail = f"{request.title} answered {reply.status}, so it took effect, but its answer cannot be used: {why}"
    return Unusable(fault("communication", detail), _whole(request, reply, keep_some(reply)))


def _whole(request: Request, reply: Reply, content: Any) -> dict[str, Any]:
    return {
        "request": {
            "method": request.method.lower(),
            "uri": str(request.url.with_user(None)),
            "headers": visible_headers(request.headers),
        },
        "statusCode": reply.status,
        "headers": reply.headers,
        "content": content,
    }


def error_of(request: Request, reply: Reply) -> Fault:
    """The fault of an answer that is not a success: ``communication`` with the answer's own status."""
    headers = {name: value for name, value in reply.headers.items() if name not in _SECRETIVE}
    title = reply.reason or _phrase(reply.status)
    not_followed = 300 <= reply.status < 400 and reply.headers.get("location")
    return Fault(
        SPEC + "communication",
        reply.status,
        title,
        f"{request.title} answered {reply.status} {title}{', and redirects are not followed' if not_followed else ''}",
        response={"status": reply.status, "headers": headers, "content": keep_some(reply)},
    )


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"Status {status}"


def read_retry_after(value: str | None) -> float | None:
    """Seconds that a ``Retry-After`` header asks to wait (a number of seconds or an HTTP date), or None."""
    if not value:
        return None
    if re.fullmatch(r"\d{1,9}", value.strip()):
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
