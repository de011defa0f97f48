"""The live history as server-sent events: id = version, event = type, data = the item.

A client that reconnects sends Last-Event-ID and misses nothing. When the orchestration has ended, the rest of the history
is sent and the connection closed; whoever comes back then gets 204, which tells an EventSource to stay away. A comment
every 15 seconds keeps proxies from cutting a silent connection.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
from starlette.responses import Response, StreamingResponse

from adapters.rest.boundary import HEAD
from adapters.rest.calls import ID, Call
from adapters.rest.operations import Answer, Operation
from adapters.rest.problems import malformed
from adapters.rest.reading import noted
from adapters.rest.schemas import FINAL
from application.service import Json

EVENT_STREAM = "text/event-stream"
_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
_KEEP_ALIVE = b":\n\n"


async def stream(call: Call) -> Response:
    """GET /v1/orchestrations/{id}/stream."""
    id_, after = call.orchestration, _last_seen(call)
    status = await call.services.queries.status(id_)
    if status["status"] in FINAL and after >= status["version"]:
        return Response(status_code=204)
    if call.scope.get(HEAD):
        return Response(None, 200, _HEADERS, EVENT_STREAM)
    parts = await noted(call, "history", _events(call, id_, after), id_)
    return StreamingResponse(parts, 200, _HEADERS, EVENT_STREAM)


def _last_seen(call: Call) -> int:
    given = call.headers.get("last-event-id")
    if not given:
        return 0
    if not (given.isascii() and given.isdecimal() and len(given) < 16):
        raise malformed("Last-Event-ID is the version of an event.")
    return int(given)


async def _events(call: Call, id_: str, after: int) -> AsyncIterator[tuple[bytes, int]]:
    # The first bytes go out at once, so that a client knows that it is connected.
    yield _KEEP_ALIVE, 0
    async for item in call.services.queries.stream(id_, after=after):
        yield encoded(item), 1 if item else 0
        if call.services.closing.is_set():
            return


def encoded(item: Json) -> bytes:
    """One event as it is sent; an empty item is only a sign of life."""
    if not item:
        return _KEEP_ALIVE
    head = f"id: {item['version']}\nevent: {item['type']}\ndata: ".encode()
    return head + msgspec.json.encode(item) + b"\n\n"


OPERATIONS = (
    Operation(
        "streamHistory",
        "GET",
        "/v1/orchestrations/{id}/stream",
        stream,
        "The history as it happens",
        "Orchestrations",
        {
            200: Answer("Server-sent events until the final one.", media=(EVENT_STREAM,)),
            204: Answer("It has ended and everything was sent before: do not come back.", media=()),
        },
        problems=("not-found",),
        request_headers=("Last-Event-ID",),
        produces=(EVENT_STREAM,),
        lasts=lambda _: True,
        path_schemas={"id": {"type": "string", "pattern": f"^{ID}$"}},
    ),
)
