"""Forking an orchestration, and moving one to another version of its definition.

A fork answers like a start, a migration like every other command; both can be rehearsed with ``?dry_run=true``, which tells
what would be recorded, remarks included.
"""

from __future__ import annotations

from msgspec import UNSET
from starlette.responses import Response

from adapters.rest.bodies import JsonBody
from adapters.rest.calls import ID, Call, json_response
from adapters.rest.commands import answered, command
from adapters.rest.operations import Answer, Operation
from adapters.rest.orchestrations import links, prefers_to_wait, started
from adapters.rest.parameters import DRY_RUN
from adapters.rest.schemas import CommandAnswer, DryRunAnswer, ForkBody, MigrateBody, Orchestration
from application.service import DryRun, ForkRequest

_PATH = "/v1/orchestrations"
_ONE = {"id": {"type": "string", "pattern": f"^{ID}$"}}


async def fork(call: Call) -> Response:
    """POST /{id}/fork."""
    body: ForkBody = call.body
    request = ForkRequest(
        id=call.orchestration,
        from_version=body.from_version,
        reason=body.reason,
        definition=body.definition,
        mapping=body.mapping,
        input=body.input if "input" in body.model_fields_set else UNSET,
        business_key=body.business_key,
        force=body.force,
        dry_run=call.dry_run,
        actor=call.actor,
        idempotency_key=call.key,
    )
    result = await call.services.commands.fork(request)
    if isinstance(result, DryRun):
        return json_response(result)
    status, code, headers = await started(call, result)
    status["links"] = links(result)
    return json_response(status, code, {"Location": f"{_PATH}/{result}", **headers})


async def migrate(call: Call) -> Response:
    """POST /{id}/migrate."""
    body: MigrateBody = call.body
    request = await command(call, body.reason)
    return answered(
        await call.services.commands.migrate(request, definition=body.definition, mapping=body.mapping), 200
    )


_STARTED = Answer(
    "The status representation of the fork; started.",
    Orchestration,
    headers=("Location", "ETag", "Preference-Applied"),
)

OPERATIONS = (
    Operation(
        "forkOrchestration",
        "POST",
        f"{_PATH}/{{id}}/fork",
        fork,
        "Start another one with what this one had done up to a version",
        "Commands",
        {200: Answer("A dry run: what would be recorded.", DryRunAnswer), 201: _STARTED, 202: _STARTED},
        description="What was done up to `from_version` is taken over and not done again; this one stays as it is. "
        "Refused (409) where that would do harm, unless `force` accepts it.",
        problems=("not-found", "fork-conflict", "business-key-in-use", "orchestration-ended"),
        parameters=(DRY_RUN,),
        request_headers=("Idempotency-Key", "Prefer"),
        body=JsonBody(ForkBody),
        path_schemas=_ONE,
        starts=True,
        lasts=prefers_to_wait,
    ),
    Operation(
        "migrateOrchestration",
        "POST",
        f"{_PATH}/{{id}}/migrate",
        migrate,
        "Go on under another version of its definition",
        "Commands",
        {
            200: Answer(
                "What it left behind; for a dry run, what would be recorded.",
                (CommandAnswer, DryRunAnswer),
                headers=("ETag",),
            )
        },
        description="Refused (422) with every position that has no place in that version; `mapping` says where names do not.",
        problems=("not-found", "version-mismatch", "orchestration-ended"),
        parameters=(DRY_RUN,),
        request_headers=("Idempotency-Key", "If-Match"),
        body=JsonBody(MigrateBody),
        path_schemas=_ONE,
    ),
)
