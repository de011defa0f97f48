"""Users' projections: which there are and how far they have come, their rows, building anew, going on after a failure."""

from __future__ import annotations

from starlette.responses import Response

from adapters.rest.bodies import JsonBody
from adapters.rest.calls import Call, json_response, next_link
from adapters.rest.forms import COLUMN_VALUE
from adapters.rest.operations import Answer, Operation
from adapters.rest.parameters import CURSOR, LIMIT, text
from adapters.rest.schemas import Body
from adapters.rest.schemas_running import Projection, ProjectionList, ProjectionRows

_PATH = "/v1/projections"
_TAG = "Projections"
_NAME = {"name": {"type": "string", "pattern": "^[a-z][a-z0-9_]{0,29}$"}}
_WHERE = text("where", "`column:value`; may be repeated, and then all have to hold.", pattern=COLUMN_VALUE, many=True)


class NothingBody(Body):
    """Nothing has to be said."""


async def list_(call: Call) -> Response:
    """GET /v1/projections."""
    return json_response(await call.services.projections.list())


async def rows(call: Call) -> Response:
    """GET /v1/projections/{name}/rows."""
    query = call.query
    where = [(column, value) for column, _, value in (each.partition(":") for each in query.get("where", []))]
    page = await call.services.projections.rows(
        call.segment("name"), where, query.get("cursor"), query.get("limit", LIMIT.schema["default"])
    )
    return json_response(page, 200, next_link(call, "cursor", page["next"]))


async def rebuild(call: Call) -> Response:
    """POST /v1/projections/{name}/rebuild."""
    return json_response(await call.services.projections.rebuild(call.segment("name"), call.actor), 202)


async def retry(call: Call) -> Response:
    """POST /v1/projections/{name}/retry."""
    return json_response(await call.services.projections.retry(call.segment("name"), call.actor))


async def drop(call: Call) -> Response:
    """DELETE /v1/projections/{name}."""
    await call.services.projections.drop(call.segment("name"), call.actor)
    return Response(status_code=204)


OPERATIONS = (
    Operation(
        "listProjections",
        "GET",
        _PATH,
        list_,
        "Projections, and how far each has seen the log",
        _TAG,
        {200: Answer("The same from whichever node answers, but for `registered`.", ProjectionList)},
    ),
    Operation(
        "listProjectionRows",
        "GET",
        f"{_PATH}/{{name}}/rows",
        rows,
        "Rows of the live version of a projection",
        _TAG,
        {200: Answer("A page, in an order that stays.", ProjectionRows, headers=("Link",))},
        problems=("not-found",),
        parameters=(LIMIT, CURSOR, _WHERE),
        path_schemas=_NAME,
    ),
    Operation(
        "rebuildProjection",
        "POST",
        f"{_PATH}/{{name}}/rebuild",
        rebuild,
        "Build a projection anew beside the live one",
        _TAG,
        {202: Answer("The new build, which takes the place of the live one when it has caught up.", Projection)},
        problems=("not-found", "definition-exists"),
        request_headers=("Idempotency-Key",),
        body=JsonBody(NothingBody, optional=True),
        path_schemas=_NAME,
    ),
    Operation(
        "retryProjection",
        "POST",
        f"{_PATH}/{{name}}/retry",
        retry,
        "Go on at the event where a projection failed",
        _TAG,
        {200: Answer("It; that it failed is forgotten.", Projection)},
        problems=("not-found",),
        request_headers=("Idempotency-Key",),
        body=JsonBody(NothingBody, optional=True),
        path_schemas=_NAME,
    ),
    Operation(
        "dropProjection",
        "DELETE",
        f"{_PATH}/{{name}}",
        drop,
        "Remove a projection and its tables",
        _TAG,
        {204: Answer("It is gone. A node that has its code builds it again when it starts.", media=())},
        problems=("not-found",),
        path_schemas=_NAME,
    ),
)
