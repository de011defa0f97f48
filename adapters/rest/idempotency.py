"""Idempotency-Key on every POST: the first answer is kept and repeated.

A key belongs to its caller. Its fingerprint is the SHA-256 of method, path with query, and canonical body; the same key with
another fingerprint is 422. While the first request is in progress its repeats wait, then get 409; one whose process died is
taken over by compare-and-set. Answers that say nothing lasting (400, 413, 422, 429, 5xx) are not kept: the key is free
again. Nothing is kept when the outcome is unknown because the request was cut off: the row stays in progress until it is
taken over: soon where it is a start, which is safe to carry out twice because the key also makes the public id.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from hashlib import sha256

from starlette.datastructures import Headers
from starlette.responses import Response

from adapters.rest.calls import Call
from adapters.rest.problems import ProblemError, internal, malformed, refusal
from application.registers import RequestRecord
from domain.errors import IdempotencyKeyInUseError, IdempotencyKeyReusedError, RetraceError

REPLAYED = "Idempotency-Replayed"
LONGEST_KEY = 255
_KEPT_HEADERS = ("content-type", "location", "etag", "preference-applied", "retry-after", "content-location")
_NOT_KEPT = frozenset({400, 413, 422, 429})
_QUOTED = re.compile(r'"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
_BARE = re.compile(r"[\x21\x23-\x7e]+")
_FIRST_LOOK_S, _LONGEST_PAUSE_S = 0.02, 0.5


def read_key(headers: Headers) -> str | None:
    """The key: a structured-field string (RFC 9651) or the same characters bare. Raises ProblemError (400)."""
    given = headers.getlist("idempotency-key")
    if not given:
        return None
    if len(given) > 1:
        raise malformed("There is more than one Idempotency-Key.")
    text = given[0].strip()
    quoted = _QUOTED.fullmatch(text)
    if quoted:
        key = re.sub(r"\\(.)", r"\1", quoted[1])
    elif _BARE.fullmatch(text):
        key = text
    else:
        raise malformed("The Idempotency-Key is not a string of printable ASCII.")
    if not 1 <= len(key) <= LONGEST_KEY:
        raise malformed(f"The Idempotency-Key has 1 to {LONGEST_KEY} characters.")
    return key


def fingerprint(call: Call, canonical_body: bytes) -> bytes:
    """What makes two requests the same."""
    scope = call.scope
    digest = sha256(scope["method"].encode())
    for part in (scope["path"].encode(), scope["query_string"], canonical_body):
        digest.update(len(part).to_bytes(8))
        digest.update(part)
    return digest.digest()


async def once(
    call: Call, key: str, canonical_body: bytes, carry_out: Callable[[Call], Awaitable[Response]], stale_s: float
) -> Response:
    """The answer of the first request with this key, whether that is this one or an earlier one. After `stale_s` an
    answer of the first is no longer expected.
    """
    store, settings = call.services.requests, call.services
    mark = fingerprint(call, canonical_body)
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + settings.idempotency_wait_s
    pause_s = _FIRST_LOOK_S
    while True:
        now = settings.clock()
        found = await store.begin(call.actor, key, mark, now)
        if found is None:
            break
        if found.fingerprint != mark:
            raise IdempotencyKeyReusedError
        if found.status is not None:
            return _replay(found, found.status)
        stale = now - found.started_at >= timedelta(seconds=stale_s)
        if stale and await store.take_over(call.actor, key, found.started_at, now):
            break
        if loop.time() + pause_s > give_up_at or settings.closing.is_set():
            raise IdempotencyKeyInUseError
        # Another process may have the first request, so nobody can wake us: look again, less and less often.
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
    call.key = key
    return await _first(call, key, carry_out)


async def _first(call: Call, key: str, carry_out: Callable[[Call], Awaitable[Response]]) -> Response:
    store = call.services.requests
    try:
        response = await carry_out(call)
    except (RetraceError, ProblemError) as error:
        response = refusal(error)
    except Exception as error:  # noqa: BLE001 - the key must not stay taken; what was caught is logged
        response = internal(error)
    if response.status_code in _NOT_KEPT or response.status_code >= 500:
        await store.abandon(call.actor, key)
        return response
    kept = {name: value for name in _KEPT_HEADERS if (value := response.headers.get(name)) is not None}
    await store.finish(call.actor, key, response.status_code, kept, bytes(response.body))
    return response


def _replay(record: RequestRecord, status: int) -> Response:
    headers = {**record.headers, REPLAYED: "true"}
    return Response(record.body, status, headers)
