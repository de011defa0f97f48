"""Calling tasks back. The token in the path is all that is asked for: whoever has it was given it by the task itself."""

from __future__ import annotations

from starlette.responses import Response

from adapters.rest.bodies import JsonBody
from adapters.rest.calls import Call, json_response
from adapters.rest.operations import Answer, Endpoint, Operation
from adapters.rest.schemas import CallbackAnswer, CallbackFailureBody
from application.callbacks import CallbackReport
from domain.errors import Fault, error_type

_PATH = "/v1/callbacks/{token}"


async def complete(call: Call) -> Response:
    """POST /v1/callbacks/{token}: the body is the output."""
    return await _take(call, CallbackReport("completed", call.body))


async def fail(call: Call) -> Response:
    """POST /v1/callbacks/{token}/fail."""
    body: CallbackFailureBody = call.body
    error = body.error
    why = Fault(error_type(error.type), error.status, error.title, error.detail)
    return await _take(call, CallbackReport("uncertain" if body.uncertain else "refused", None, why, body.retryable))


async def _take(call: Call, report: CallbackReport) -> Response:
    token: str = call.scope["path_params"]["token"]
    await call.services.commands.take_callback(token, report, trace=call.trace, request_id=call.request_id)
    return json_response({"outcome": "accepted"})


def _operation(name: str, path: str, endpoint: Endpoint, summary: str, body: JsonBody) -> Operation:
    return Operation(
        name,
        "POST",
        path,
        endpoint,
        summary,
        "Callbacks",
        {200: Answer("It was taken, now or before.", CallbackAnswer)},
        description="Once: the same again is answered alike, anything else later is 409.",
        problems=("not-found", "stale-token"),
        body=body,
        open=True,
        path_schemas={"token": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,4096}$"}},
    )


OPERATIONS = (
    _operation("completeCallback", _PATH, complete, "The task is done; the body is its output", JsonBody()),
    _operation("failCallback", f"{_PATH}/fail", fail, "The task failed", JsonBody(CallbackFailureBody)),
)
