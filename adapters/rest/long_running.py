"""Long-running operations: how they stand, all of them, and how to stop one. What starts one is elsewhere."""

from __future__ import annotations

from starlette.responses import Response

from adapters.rest.bodies import JsonBody
from adapters.rest.calls import Call, json_response, next_link
from adapters.rest.operations import Answer, Operation
from adapters.rest.parameters import CURSOR, LIMIT, integer, text
from adapters.rest.schemas_operations import LongOperation, LongOperationList, NothingBody
from application.service import Json

_TAG = "Operations"
_PATH = "/v1/operations"
_ID = {"id": {"type": "string", "pattern": "^p_[0-9A-Za-z]{22}$"}}


def location(id_: str) -> str:
    """Where an operation is, as a relative reference."""
    return f"{_PATH}/{id_}"


async def accepted(call: Call, id_: str) -> Response:
    """202 for an operation that has just begun."""
    return json_response(_linked(await call.services.operations.get(id_)), 202, {"Location": location(id_)})


async def get(call: Call) -> Response:
    """GET /v1/operations/{id}."""
    operations, id_ = call.services.operations, call.segment("id")
    if call.query.get("wait"):
        await operations.wait(id_, call.query["wait"])
    found = await operations.get(id_)
    return json_response(_linked(found), 200, {"Retry-After": "1"} if found["status"] == "running" else {})


async def list_(call: Call) -> Response:
    """GET /v1/operations."""
    query = call.query
    page = await call.services.operations.list(query.get("kind"), query.get("limit", 100), query.get("cursor"))
    page["items"] = [_linked(each) for each in page["items"]]
    return json_response(page, 200, next_link(call, "cursor", page["next"]))


async def cancel(call: Call) -> Response:
    """POST /v1/operations/{id}/cancel."""
    found = await call.services.operations.cancel(call.segment("id"))
    return json_response(_linked(found), 202 if found["status"] == "running" else 200)


def _linked(shown: Json) -> Json:
    path = location(shown["id"])
    return {**shown, "links": {"self": path, "cancel": f"{path}/cancel"}}


_SHOWN = Answer("How it stands; with its result once it has completed.", LongOperation, headers=("Retry-After",))

OPERATIONS = (
    Operation(
        "getOperation",
        "GET",
        f"{_PATH}/{{id}}",
        get,
        "How a long-running operation stands",
        _TAG,
        {200: _SHOWN},
        description="`wait=N` answers when it has ended, or after N seconds. Every node answers for every operation; when "
        "the node that runs it dies, it has failed.",
        problems=("not-found",),
        parameters=(integer("wait", "Answer when it has ended, or after so many seconds.", 0, 60),),
        path_schemas=_ID,
        lasts=lambda call: bool(call.query.get("wait")),
    ),
    Operation(
        "listOperations",
        "GET",
        _PATH,
        list_,
        "Long-running operations, newest first",
        _TAG,
        {200: Answer("A page, without results.", LongOperationList, headers=("Link",))},
        parameters=(text("kind", "Only of this kind, such as audit.verify.", longest=64), CURSOR, LIMIT),
    ),
    Operation(
        "cancelOperation",
        "POST",
        f"{_PATH}/{{id}}/cancel",
        cancel,
        "Stop a long-running operation",
        _TAG,
        {
            200: Answer("It has ended, now or before.", LongOperation),
            202: Answer("Its node was asked to stop it.", LongOperation),
        },
        problems=("not-found",),
        request_headers=("Idempotency-Key",),
        body=JsonBody(NothingBody, optional=True),
        path_schemas=_ID,
    ),
)
