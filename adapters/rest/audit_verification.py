"""Verification of the log: begin one, see the checkpoints and the keys that they are signed with. For operators."""

from __future__ import annotations

from starlette.responses import Response

from adapters.rest.bodies import JsonBody
from adapters.rest.calls import Call, json_response, next_link
from adapters.rest.long_running import accepted
from adapters.rest.operations import Answer, Operation
from adapters.rest.parameters import LIMIT, integer, text
from adapters.rest.schemas_operations import AuditKeyList, CheckpointList, LongOperation, VerifyBody
from application.verification import VerifyRequest

_TAG = "Audit"


async def verify(call: Call) -> Response:
    """POST /v1/audit/verify."""
    body: VerifyBody = call.body
    request = VerifyRequest(
        orchestration=body.orchestration, since=body.since, checkpoints=body.checkpoints, archive=body.archive
    )
    return await accepted(call, await call.services.verification.verify(request, call.actor))


async def checkpoints(call: Call) -> Response:
    """GET /v1/audit/checkpoints."""
    query = call.query
    page = await call.services.verification.checkpoints(
        query.get("partition"), query.get("limit", 100), query.get("after")
    )
    return json_response(page, 200, next_link(call, "after", page["next"]))


async def keys(call: Call) -> Response:
    """GET /v1/audit/keys."""
    return json_response(call.services.verification.keys())


OPERATIONS = (
    Operation(
        "verifyLog",
        "POST",
        "/v1/audit/verify",
        verify,
        "Verify that the log is what was recorded",
        _TAG,
        {202: Answer("An operation; its result tells what was found.", LongOperation, headers=("Location",))},
        description="The result is `{sound, findings: [{kind, partition, position, until, orchestration, version, type, "
        "detail}], findings_total, events, partitions, archived, checkpoints, signatures_checked, database, notes}`.",
        problems=("not-found",),
        request_headers=("Idempotency-Key",),
        body=JsonBody(VerifyBody, optional=True),
    ),
    Operation(
        "listCheckpoints",
        "GET",
        "/v1/audit/checkpoints",
        checkpoints,
        "Signed checkpoints of the log",
        _TAG,
        {200: Answer("A page, by partition and position.", CheckpointList, headers=("Link",))},
        parameters=(
            integer("partition", "Only of this partition.", 0, 1023),
            text("after", "Where to go on: `next` of the page before, partition:position.", longest=32),
            LIMIT,
        ),
    ),
    Operation(
        "listAuditKeys",
        "GET",
        "/v1/audit/keys",
        keys,
        "The public keys whose checkpoints count here",
        _TAG,
        {200: Answer("All of them.", AuditKeyList)},
    ),
)
