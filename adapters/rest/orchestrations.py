"""Orchestrations: starting them, and seeing where they stand and how they got there.

Starting and reading the status are the hot paths: plain values from the use cases, encoded once. An answer to a start is
always the status representation, read after the commit, so that it holds at least what the start recorded.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
from starlette.responses import Response, StreamingResponse

from adapters.rest.bodies import JsonBody
from adapters.rest.boundary import HEAD
from adapters.rest.calls import ID, JSON, Call, JsonResponse, json_response, next_link
from adapters.rest.conditions import etag, not_modified, preferences
from adapters.rest.forms import DEFINITION
from adapters.rest.operations import Answer, Operation
from adapters.rest.parameters import CURSOR, LIMIT, Parameter, boolean, choice, instant, integer, text
from adapters.rest.problems import malformed
from adapters.rest.reading import note_given, note_read, noted
from adapters.rest.schemas import (
    FINAL,
    STATUSES,
    History,
    Orchestration,
    OrchestrationList,
    RollbackPlan,
    StartBody,
    TaskList,
)
from adapters.rest.schemas_bundles import Bundle
from application.service import Json, ListRequest, StartRequest
from domain.errors import InvalidInputError

NDJSON = "application/x-ndjson"
_TAG = "Orchestrations"
_PATH = "/v1/orchestrations"
_PAGE = 500
_encode_lines = msgspec.json.Encoder().encode_lines
_LARGEST_VERSION = 2**31 - 1


def links(id_: str) -> dict[str, str]:
    """Where to go from a status, as relative references."""
    path = f"{_PATH}/{id_}"
    return {
        "self": path,
        "history": f"{path}/history",
        "stream": f"{path}/stream",
        "events": f"{path}/events",
        "held_events": f"/v1/events/held?orchestration={id_}",
        "cancel": f"{path}/cancel",
    }


async def start(call: Call) -> Response:
    """POST /v1/orchestrations."""
    body: StartBody = call.body
    request = StartRequest(
        definition=body.definition,
        input=body.input,
        business_key=body.business_key,
        tags=body.tags,
        actor=call.actor,
        idempotency_key=call.key,
        trace=call.trace,
        request_id=call.request_id,
    )
    try:
        id_ = await call.services.commands.start(request)
    except InvalidInputError as error:
        # The use case speaks of the input; the client of its body.
        placed = [msgspec.structs.replace(each, pointer=f"/input{each.pointer}") for each in error.problems]
        raise InvalidInputError(placed, error.detail) from None
    status, code, headers = await started(call, id_)
    status["links"] = links(id_)
    return json_response(status, code, {"Location": f"{_PATH}/{id_}", **headers})


async def started(call: Call, id_: str) -> tuple[Json, int, dict[str, str]]:
    """(status representation, code, headers) of a start, after waiting as the client prefers."""
    queries = call.services.queries
    preferred = preferences(call.headers, call.services.longest_wait_s)
    if preferred.wait_s:
        await queries.wait(id_, preferred.wait_s)
    status = await queries.status(id_)
    headers = {"ETag": etag(status["version"])}
    if preferred.applied:
        headers["Preference-Applied"] = preferred.applied
    ended = preferred.wait_s is not None and status["status"] in FINAL
    return status, 202 if preferred.respond_async and not ended else 201, headers


def prefers_to_wait(call: Call) -> bool:
    """Whether the client of a start would like to wait for the end."""
    return bool(preferences(call.headers, call.services.longest_wait_s).wait_s)


def polls(call: Call) -> bool:
    """Whether the client of a status waits for news."""
    return bool(call.query.get("wait"))


async def get(call: Call) -> Response:
    """GET /v1/orchestrations/{id}."""
    id_ = call.orchestration
    status = await awaited_status(call, id_)
    headers = {"ETag": etag(status["version"])}
    if status["status"] not in FINAL and "at" not in call.query and "at_version" not in call.query:
        headers["Retry-After"] = "1"
    if not_modified(call.headers, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    status["links"] = links(id_)
    return json_response(status, 200, headers)


async def awaited_status(call: Call, id_: str) -> Json:
    """The status, after `wait` and `after`, or as it was at `at` or `at_version`."""
    queries, query = call.services.queries, call.query
    past = [name for name in ("at", "at_version") if name in query]
    if not query:
        return await queries.status(id_)
    if len(past) > 1 or (past and ("wait" in query or "after" in query)):
        raise malformed("at, at_version, and wait with after exclude each other.")
    if query.get("wait"):
        await queries.wait(id_, query["wait"], after_version=query.get("after"))
    return await queries.status(id_, at_version=query.get("at_version"), at=query.get("at"))


async def list_(call: Call) -> Response:
    """GET /v1/orchestrations."""
    query = call.query
    request = ListRequest(
        statuses=tuple(query.get("status", ())),
        definition=query.get("definition"),
        business_key=query.get("business_key"),
        tags=tuple(query.get("tag", ())),
        started_after=query.get("started_after"),
        started_before=query.get("started_before"),
        has_incident=query.get("has_incident"),
        cursor=query.get("cursor"),
        limit=query.get("limit", 100),
    )
    page = await call.services.queries.list(request)
    return json_response(page, 200, next_link(call, "cursor", page["next"]))


async def tasks(call: Call) -> Response:
    """GET /v1/orchestrations/{id}/tasks."""
    items, following = await call.services.queries.tasks(
        call.orchestration, after=call.query.get("cursor", 0), limit=call.query.get("limit", 100)
    )
    cursor = None if following is None else str(following)
    return json_response({"items": items, "next": cursor}, 200, next_link(call, "cursor", cursor))


async def history(call: Call) -> Response:
    """GET /v1/orchestrations/{id}/history."""
    queries, id_, after = call.services.queries, call.orchestration, call.query.get("after", 0)
    vary = {"Vary": "Accept"}
    limit = call.query.get("limit", 100 if call.accepted == JSON else _PAGE)
    archive = call.query.get("archive", False)
    items, following = await queries.history(id_, after=after, limit=limit, archive=archive)
    if call.accepted == JSON:
        note_read(call, "history", len(items), id_)
        links_ = next_link(call, "after", following)
        return json_response({"items": items, "next_after": following}, 200, {**vary, **links_})

    async def lines() -> AsyncIterator[tuple[bytes, int]]:
        page, position = items, following
        yield _encode_lines(page), len(page)
        while position is not None:
            page, position = await queries.history(id_, after=position, limit=_PAGE, archive=archive)
            yield _encode_lines(page), len(page)

    if call.scope.get(HEAD):
        return Response(None, 200, vary, NDJSON)
    return StreamingResponse(await noted(call, "history", lines(), id_), 200, vary, NDJSON)


async def rollback_plan(call: Call) -> Response:
    """GET /v1/orchestrations/{id}/rollback-plan."""
    return json_response(await call.services.queries.rollback_plan(call.orchestration))


async def bundle(call: Call) -> Response:
    """GET /v1/orchestrations/{id}/bundle."""
    id_ = call.orchestration
    made, events = await call.services.queries.bundle(id_, call.query.get("redact", ()))
    await note_given(call, "bundle", events, id_)
    return JsonResponse(made, 200, {"Content-Disposition": f'attachment; filename="{id_}.json"'})


def _read_tag(given: str) -> tuple[str, str]:
    name, colon, value = given.partition(":")
    if not colon or not name or len(given) > 320 or "\0" in given:
        raise ValueError("is name:value")
    return name, value


def _read_task_cursor(given: str) -> int:
    if not (given.isascii() and given.isdecimal() and len(given) < 10):
        raise ValueError("is not one that this service gave")
    return int(given)


WAIT = integer("wait", "Answer when there is news, or after so many seconds.", 0, 60)
AFTER = integer("after", "With wait: news is a version above this one; without it, the end.", 0, _LARGEST_VERSION)
_PAST = (
    integer("at_version", "The status as it was at this version.", 0, _LARGEST_VERSION),
    instant("at", "The status as it was at this instant."),
)
_ARCHIVE = boolean("archive", "Look in the archive too, where orchestrations go that ended long ago.")
_FILTERS = (
    choice("status", "Only with this status; may be repeated.", STATUSES, many=True),
    text("definition", "Only of this definition: name, namespace/name or namespace/name@version.", pattern=DEFINITION),
    text("business_key", "Only with this business key.", longest=255),
    Parameter(
        "tag",
        _read_tag,
        {"type": "string", "pattern": "^[^:\\x00]{1,63}:[^\\x00]{0,255}$"},
        "Only with this tag, name:value; may be repeated.",
        many=True,
    ),
    instant("started_after", "Only those started after this instant."),
    instant("started_before", "Only those started before this instant."),
    boolean("has_incident", "Only those with, or without, an open incident."),
    CURSOR,
    LIMIT,
)
_ONE = {"id": {"type": "string", "pattern": f"^{ID}$"}}
_STARTED = Answer(
    "The status representation; started.", Orchestration, headers=("Location", "ETag", "Preference-Applied")
)

OPERATIONS = (
    Operation(
        "getOrchestration",
        "GET",
        f"{_PATH}/{{id}}",
        get,
        "The status of an orchestration",
        _TAG,
        {
            200: Answer("The status representation.", Orchestration, headers=("ETag", "Retry-After")),
            304: Answer("Unchanged since the version in If-None-Match.", media=()),
        },
        problems=("not-found",),
        parameters=(WAIT, AFTER, *_PAST),
        request_headers=("If-None-Match",),
        path_schemas=_ONE,
        hot=True,
        lasts=polls,
    ),
    Operation(
        "startOrchestration",
        "POST",
        _PATH,
        start,
        "Start an orchestration",
        _TAG,
        {201: _STARTED, 202: _STARTED},
        description="Answered once the start is committed: 201, or 202 where `Prefer: respond-async` asks for it. "
        "`Prefer: wait=N` waits up to N seconds (60) for the end.",
        problems=("not-found", "business-key-in-use", "orchestration-ended"),
        request_headers=("Idempotency-Key", "Prefer"),
        body=JsonBody(StartBody),
        starts=True,
        hot=True,
        lasts=prefers_to_wait,
    ),
    Operation(
        "listOrchestrations",
        "GET",
        _PATH,
        list_,
        "Find orchestrations, newest first",
        _TAG,
        {
            200: Answer(
                "A page of the status view, which follows the log with a lag.", OrchestrationList, headers=("Link",)
            )
        },
        parameters=_FILTERS,
        hot=True,
    ),
    Operation(
        "getTasks",
        "GET",
        f"{_PATH}/{{id}}/tasks",
        tasks,
        "All runs of its tasks",
        _TAG,
        {200: Answer("A page of runs, in the order in which they began.", TaskList, headers=("Link",))},
        problems=("not-found",),
        parameters=(
            Parameter("cursor", _read_task_cursor, {"type": "string", "pattern": "^[0-9]{1,9}$"}, CURSOR.description),
            LIMIT,
        ),
        path_schemas=_ONE,
    ),
    Operation(
        "getHistory",
        "GET",
        f"{_PATH}/{{id}}/history",
        history,
        "Everything that happened",
        _TAG,
        {200: Answer("A page of events, or all of them as lines.", History, (JSON, NDJSON), ("Link", "Vary"))},
        description="As application/x-ndjson all events after `after` are streamed, one a line. What ended long ago is "
        "archived; its history is found with `archive=true`.",
        problems=("not-found",),
        parameters=(integer("after", "Only versions above this one.", 0, _LARGEST_VERSION, 0), LIMIT, _ARCHIVE),
        produces=(JSON, NDJSON),
        path_schemas=_ONE,
        lasts=lambda call: call.accepted == NDJSON,
    ),
    Operation(
        "getBundle",
        "GET",
        f"{_PATH}/{{id}}/bundle",
        bundle,
        "Everything that is needed to replay it elsewhere",
        _TAG,
        {200: Answer("The bundle.", Bundle, headers=("Content-Disposition",))},
        description="One document with history, definition and status; `retrace replay` and `retrace.replay` open it "
        "without a database. Of what is archived too. Redacted values are replaced alike wherever they stand.",
        problems=("not-found",),
        parameters=(
            text(
                "redact",
                "A member, or JSON Pointer into the bundle, whose values stay here; may be repeated.",
                many=True,
            ),
        ),
        path_schemas=_ONE,
    ),
    Operation(
        "getRollbackPlan",
        "GET",
        f"{_PATH}/{{id}}/rollback-plan",
        rollback_plan,
        "What a cancel now would do",
        _TAG,
        {200: Answer("The plan; nothing is changed.", RollbackPlan)},
        problems=("not-found",),
        path_schemas=_ONE,
    ),
)
