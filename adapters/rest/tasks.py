"""Work for remote workers over HTTP: claim with a long poll, report, heartbeat. The protocol is told in docs/workers.md."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from starlette.responses import Response

from adapters.rest.bodies import JsonBody
from adapters.rest.calls import Call, json_response
from adapters.rest.operations import Answer, Operation
from adapters.rest.schemas_tasks import (
    ClaimBody,
    ClaimedTasks,
    CompleteBody,
    FailBody,
    HeartbeatBody,
    Lease,
    ReportTaken,
)
from application.claims import ClaimRequest, TaskClaims
from domain.errors import NotFoundError

_TAG = "Remote workers"
_PATH = "/v1/tasks"
_LONGEST_ID = 4096


def _claims(call: Call) -> TaskClaims:
    if call.services.tasks is None:
        raise NotFoundError("There is no work for remote workers here.")
    return call.services.tasks


def _task(call: Call) -> str:
    task_id: str = call.scope["path_params"]["task_id"]
    if len(task_id) > _LONGEST_ID:
        raise NotFoundError("There is no task with this id.")
    return task_id


async def claim(call: Call) -> Response:
    """POST /v1/tasks/claim."""
    body: ClaimBody = call.body
    wait_s = min(body.wait, call.services.longest_wait_s)
    hung_up = asyncio.ensure_future(_hung_up(call))
    try:
        items = await _claims(call).claim(
            ClaimRequest(
                functions=body.functions,
                worker=body.worker,
                most=body.max,
                wait_s=wait_s,
                lease_s=body.lease,
                gone=hung_up.done,
            )
        )
    finally:
        hung_up.cancel()
        with suppress(asyncio.CancelledError):
            await hung_up
    return json_response({"items": items})


async def _hung_up(call: Call) -> None:
    """Returns when the client has closed the connection: nothing may be handed out to it any more."""
    while (await call.receive())["type"] != "http.disconnect":
        pass


async def complete(call: Call) -> Response:
    """POST /v1/tasks/{task_id}/complete."""
    body: CompleteBody = call.body
    return json_response(await _claims(call).complete(_task(call), body.token, body.output))


async def fail(call: Call) -> Response:
    """POST /v1/tasks/{task_id}/fail."""
    body: FailBody = call.body
    error = body.error.model_dump(exclude_none=True)
    return json_response(
        await _claims(call).fail(_task(call), body.token, error, retryable=body.retryable, uncertain=body.uncertain)
    )


async def heartbeat(call: Call) -> Response:
    """POST /v1/tasks/{task_id}/heartbeat."""
    body: HeartbeatBody = call.body
    return json_response(await _claims(call).heartbeat(_task(call), body.token, body.lease))


_TAKEN = {200: Answer("The report is kept. The same report again gets the same answer, for an hour.", ReportTaken)}

OPERATIONS = (
    Operation(
        "claimTasks",
        "POST",
        f"{_PATH}/claim",
        claim,
        "Claim work of these functions",
        _TAG,
        {200: Answer("What this worker has now; empty when the time is over.", ClaimedTasks)},
        description="Each is handed out once. It is the worker's until its lease is over, which a heartbeat moves on, and "
        "never beyond its deadline. Definitions take turns.",
        request_headers=("Idempotency-Key",),
        body=JsonBody(ClaimBody),
        lasts=lambda _call: True,
    ),
    Operation(
        "completeTask",
        "POST",
        f"{_PATH}/{{task_id}}/complete",
        complete,
        "It was done",
        _TAG,
        _TAKEN,
        problems=("not-found", "stale-token"),
        request_headers=("Idempotency-Key",),
        body=JsonBody(CompleteBody),
    ),
    Operation(
        "failTask",
        "POST",
        f"{_PATH}/{{task_id}}/fail",
        fail,
        "It was not done, or nobody knows",
        _TAG,
        _TAKEN,
        problems=("not-found", "stale-token"),
        request_headers=("Idempotency-Key",),
        body=JsonBody(FailBody),
    ),
    Operation(
        "heartbeatTask",
        "POST",
        f"{_PATH}/{{task_id}}/heartbeat",
        heartbeat,
        "It is being done still",
        _TAG,
        {200: Answer("The lease as it is now.", Lease)},
        problems=("not-found", "stale-token"),
        request_headers=("Idempotency-Key",),
        body=JsonBody(HeartbeatBody),
    ),
)
