"""What auditors read: the feed of everything that happened, its export, and who has read what."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import msgspec
from starlette.responses import Response, StreamingResponse

from adapters.rest.boundary import HEAD
from adapters.rest.calls import ID, JSON, Call, json_response, next_link
from adapters.rest.forms import DEFINITION
from adapters.rest.operations import Answer, Operation
from adapters.rest.orchestrations import NDJSON
from adapters.rest.parameters import CURSOR, LIMIT, Parameter, choice, instant, integer, text
from adapters.rest.reading import audit_of, note_read, noted
from adapters.rest.schemas_audit import AccessList, EventFeed
from adapters.rest.stream import EVENT_STREAM
from application.accesses import AccessQuery
from application.definitions import split_reference
from application.feed_filter import FeedFilter

_PATH = "/v1/audit"
_KEEP_ALIVE = b":\n\n"
_LONGEST_CURSOR = 16_384
_STREAM_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no", "Vary": "Accept"}
_TYPES = re.compile(r"[a-z][a-z_.]{0,62}\*?|\*", re.ASCII)
_encode_lines = msgspec.json.Encoder().encode_lines
_encode = msgspec.json.Encoder().encode


def _wanted(call: Call) -> FeedFilter:
    query = call.query
    namespace = name = version = None
    if query.get("definition") is not None:
        namespace, name, version = split_reference(query["definition"])
        version = None if version == "latest" else version
    return FeedFilter(
        actors=tuple(query.get("actor", ())),
        types=tuple(each for given in query.get("type", ()) for each in given),
        namespace=namespace,
        name=name,
        definition_version=version,
        orchestration=query.get("orchestration"),
        since=query.get("since"),
        until=query.get("until"),
    )


async def events(call: Call) -> Response:
    """GET /v1/audit/events."""
    feed, wanted, after = audit_of(call).feed, _wanted(call), call.query.get("after")
    if call.accepted == EVENT_STREAM:
        return await _live(call, wanted, call.headers.get("last-event-id") or after)
    if call.accepted == JSON:
        page = await feed.page(wanted, after, call.query.get("limit", 100))
        note_read(call, "feed", len(page.items))
        following = page.cursor if page.more else None
        members = {"items": page.items, "next": following, "resume": page.cursor}
        return json_response(members, 200, {"Vary": "Accept", **next_link(call, "after", following)})
    if call.scope.get(HEAD):
        return Response(None, 200, {"Vary": "Accept"}, NDJSON)

    async def lines() -> AsyncIterator[tuple[bytes, int]]:
        async for page in feed.pages(wanted, after):
            yield _encode_lines(page.items), len(page.items)
            if call.services.closing.is_set():
                return

    feed.check(wanted, after)
    return StreamingResponse(await noted(call, "feed", lines()), 200, {"Vary": "Accept"}, NDJSON)


async def _live(call: Call, wanted: FeedFilter, after: str | None) -> Response:
    feed = audit_of(call).feed
    feed.check(wanted, after)
    if call.scope.get(HEAD):
        return Response(None, 200, _STREAM_HEADERS, EVENT_STREAM)

    async def parts() -> AsyncIterator[tuple[bytes, int]]:
        # The first bytes go out at once, so that a client knows that it is connected.
        yield _KEEP_ALIVE, 0
        async for given in feed.live(wanted, after):
            if given is None:
                yield _KEEP_ALIVE, 0
            else:
                item, cursor = given
                yield f"id: {cursor}\nevent: {item['type']}\ndata: ".encode() + _encode(item) + b"\n\n", 1
            if call.services.closing.is_set():
                return

    return StreamingResponse(await noted(call, "feed", parts()), 200, _STREAM_HEADERS, EVENT_STREAM)


async def export(call: Call) -> Response:
    """GET /v1/audit/export."""
    exporter, wanted = audit_of(call).exporter, _wanted(call)
    headers = {"Cache-Control": "no-store", "Content-Disposition": 'attachment; filename="retrace-audit.ndjson"'}
    if call.scope.get(HEAD):
        return Response(None, 200, headers, NDJSON)

    async def lines() -> AsyncIterator[tuple[bytes, int]]:
        async for page in exporter.lines(wanted, call.actor):
            if call.services.closing.is_set():
                return  # without its last line, so that nobody takes it for all there is
            yield _encode_lines(page), sum(line["kind"] == "event" for line in page)

    return StreamingResponse(await noted(call, "export", lines()), 200, headers, NDJSON)


async def accesses(call: Call) -> Response:
    """GET /v1/audit/accesses."""
    query = call.query
    audit = audit_of(call)
    if "chain" in query:
        limit = query.get("limit", 100)
        items = await audit.chain(query["chain"], query.get("number_after", 0), limit)
        return json_response({"items": items, "next": None})
    wanted = AccessQuery(
        actor=query.get("actor"),
        what=query.get("what"),
        orchestration=query.get("orchestration"),
        since=query.get("since"),
        until=query.get("until"),
        limit=query.get("limit", 100),
    )
    page = await audit.accesses(wanted, query.get("cursor"))
    return json_response(page, 200, next_link(call, "cursor", page["next"]))


def _read_types(given: str) -> tuple[str, ...]:
    found = tuple(each.strip() for each in given.split(","))
    if len(given) > 1000 or not all(_TYPES.fullmatch(each) for each in found):
        raise ValueError("is a type such as task.completed, or the beginning of types such as task.*")
    return found


_ORCHESTRATION = text("orchestration", "Only of this one.", pattern=ID, longest=24)
_SPAN = (
    instant("since", "Only what happened then or later."),
    instant("until", "Only what happened then or earlier."),
)
_FILTERS = (
    text("actor", "Only what this caller asked for; may be repeated.", longest=255, many=True),
    Parameter(
        "type",
        _read_types,
        {"type": "string", "maxLength": 1000, "examples": ["task.*", "incident.raised,incident.resolved"]},
        "Only events of these types, separated by commas; a star at the end stands for anything. May be repeated.",
        many=True,
    ),
    text("definition", "Only of this definition: name, namespace/name or namespace/name@version.", pattern=DEFINITION),
    _ORCHESTRATION,
    *_SPAN,
)
_AFTER = text("after", "Where to go on: `next` or `resume` of the page before.", longest=_LONGEST_CURSOR)

OPERATIONS = (
    Operation(
        "auditEvents",
        "GET",
        f"{_PATH}/events",
        events,
        "Everything that happened, over all orchestrations",
        "Audit",
        {
            200: Answer(
                "A page; all as lines; or all and what is to come as server-sent events.",
                EventFeed,
                (JSON, NDJSON, EVENT_STREAM),
                ("Link", "Vary"),
            )
        },
        description="In order within an orchestration, nothing missed or doubled; across orchestrations about in the order "
        "of time. `next` is null when there is no more at present; `resume` goes on from there later. A page may be empty "
        "and have a `next`, when much had to be looked at. Events of the archive are included.",
        parameters=(*_FILTERS, _AFTER, LIMIT),
        request_headers=("Last-Event-ID",),
        produces=(JSON, NDJSON, EVENT_STREAM),
        lasts=lambda call: call.accepted != JSON,
    ),
    Operation(
        "exportAudit",
        "GET",
        f"{_PATH}/export",
        export,
        "The log to take away, for `retrace audit verify --export`",
        "Audit",
        {200: Answer("Lines: a header, events with their stored bytes and hashes, an end.", media=(NDJSON,))},
        parameters=_FILTERS,
        produces=(NDJSON,),
        lasts=lambda _: True,
    ),
    Operation(
        "listAccesses",
        "GET",
        f"{_PATH}/accesses",
        accesses,
        "Who has read or exported what",
        "Audit",
        {200: Answer("A page, newest first; or a part of one chain, in its order.", AccessList, headers=("Link",))},
        description="With `chain` a part of that chain, by number, to check that nothing is missing.",
        parameters=(
            text("actor", "Only by this caller.", longest=255),
            choice("what", "Only of this kind.", ("feed", "history", "export", "bundle")),
            _ORCHESTRATION,
            *_SPAN,
            integer("chain", "This chain instead, in the order of its numbers.", 0, 1023),
            integer("number_after", "With chain: only numbers above this one.", 0),
            CURSOR,
            LIMIT,
        ),
    ),
)
