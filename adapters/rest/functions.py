"""Functions that orchestrations call: what waits for workers, and what operators say of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.responses import Response

from adapters.rest.bodies import JsonBody
from adapters.rest.calls import Call, json_response, next_link
from adapters.rest.operations import Answer, Operation
from adapters.rest.parameters import LIMIT, text
from adapters.rest.schemas_operations import NothingBody
from adapters.rest.schemas_tasks import CalledFunction, CalledFunctions, LimitsBody
from application.function_controls import FunctionControls
from application.service import Json
from domain.errors import NotFoundError

_TAG = "Remote workers"
_PATH = "/v1/functions"


def _functions(call: Call) -> FunctionControls:
    if call.services.functions is None:
        raise NotFoundError("There is no work for remote workers here.")
    return call.services.functions


async def list_(call: Call) -> Response:
    """GET /v1/functions."""
    page = await _functions(call).list(call.query.get("limit", 100), call.query.get("after"))
    return json_response(page, 200, next_link(call, "after", page["next"]))


async def limits(call: Call) -> Response:
    """PUT /v1/functions/{name}/limits."""
    body: LimitsBody = call.body
    return json_response(await _functions(call).limit(call.segment("name"), body.max_concurrent, body.max_per_second))


def _said(carry_out: Callable[[FunctionControls, str], Awaitable[Json]]) -> Callable[[Call], Awaitable[Response]]:
    async def endpoint(call: Call) -> Response:
        return json_response(await carry_out(_functions(call), call.segment("name")))

    return endpoint


def _operation(verb: str, endpoint: Callable[[Call], Awaitable[Response]], summary: str) -> Operation:
    return Operation(
        f"{verb}Function",
        "POST",
        f"{_PATH}/{{name}}/{verb}",
        endpoint,
        summary,
        _TAG,
        {200: Answer("The function as it is now, on all nodes.", CalledFunction)},
        problems=("not-found",),
        request_headers=("Idempotency-Key",),
        body=JsonBody(NothingBody, optional=True),
    )


OPERATIONS = (
    Operation(
        "listFunctions",
        "GET",
        _PATH,
        list_,
        "Functions that definitions call or workers asked for",
        _TAG,
        {200: Answer("A page, by name.", CalledFunctions, headers=("Link",))},
        parameters=(text("after", "Where to go on: `next` of the page before, a name.", longest=300), LIMIT),
    ),
    _operation("pause", _said(FunctionControls.pause), "Hand out nothing of a function"),
    _operation("drain", _said(FunctionControls.drain), "Hand out nothing of a function until no worker has any of it"),
    _operation("resume", _said(FunctionControls.resume), "Hand out work of a function again"),
    Operation(
        "limitFunction",
        "PUT",
        f"{_PATH}/{{name}}/limits",
        limits,
        "How much of a function workers get",
        _TAG,
        {200: Answer("The function as it is now, on all nodes.", CalledFunction)},
        problems=("not-found",),
        body=JsonBody(LimitsBody),
    ),
)
