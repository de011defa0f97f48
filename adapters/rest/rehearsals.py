"""Rehearsals: what a definition does when each thing in turn goes wrong. Nobody is called, nothing is stored."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.responses import Response

from adapters.rest.bodies import JsonBody
from adapters.rest.calls import Call, json_response
from adapters.rest.operations import Answer, Operation
from adapters.rest.schemas_rehearsal import Rehearsal, RehearsalBody
from application.service import RehearsalRequest
from domain.errors import InvalidDefinitionError


async def rehearse(call: Call) -> Response:
    """POST /v1/rehearsals."""
    body: RehearsalBody = call.body
    definition = body.definition if isinstance(body.definition, str) else msgspec.json.encode(body.definition)
    given: dict[str, Any] = {"input": body.input} if "input" in body.model_fields_set else {}
    request = RehearsalRequest(definition=definition, outputs=body.outputs, limit=body.limit, **given)
    try:
        report = await call.services.definitions.rehearse(request)
    except InvalidDefinitionError as error:
        raise InvalidDefinitionError([_in_body(each) for each in error.problems]) from None
    return json_response(report | {"warnings": [_without_line(each) for each in report["warnings"]]})


def _in_body(problem: Any) -> Any:
    """A problem of the document, told at its place in the body; its lines are those of no text that was sent."""
    return msgspec.structs.replace(problem, pointer=f"/definition{problem.pointer}", line=None, column=None)


def _without_line(warning: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in warning.items() if name not in ("line", "column")}


OPERATIONS = (
    Operation(
        "rehearseDefinition",
        "POST",
        "/v1/rehearsals",
        rehearse,
        "What a definition does when each thing in turn goes wrong",
        "Definitions",
        {200: Answer("The report.", Rehearsal)},
        description="Every callout is refused, uncertain and timed out, every awaited event stays away, every undo fails: "
        "each in a scenario of its own. Nobody is called. What does not fit into the time is counted in `left_out`.",
        problems=("not-found", "invalid-definition"),
        request_headers=("Idempotency-Key",),
        body=JsonBody(RehearsalBody),
    ),
)
