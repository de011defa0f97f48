"""What-if: recorded facts against another definition, or other facts.

One orchestration is answered at once; a fleet is a long-running operation.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET
from starlette.responses import Response

from adapters.rest.bodies import JsonBody
from adapters.rest.calls import ID, Call, json_response
from adapters.rest.long_running import accepted
from adapters.rest.operations import Answer, Operation
from adapters.rest.reading import note_read
from adapters.rest.schemas_operations import LongOperation
from adapters.rest.schemas_what_if import FleetBody, SupposedBody, WhatIfAnswer, WhatIfBody
from application.service import FleetRequest, WhatIfRequest
from application.what_if_suppositions import Change, Suppositions
from domain.errors import InvalidDefinitionError

_TAG = "What-if"


async def one(call: Call) -> Response:
    """POST /v1/orchestrations/{id}/what-if."""
    body: WhatIfBody = call.body
    input_ = body.input if "input" in body.model_fields_set else UNSET
    request = WhatIfRequest(id=call.orchestration, definition=body.definition, supposed=_supposed(body, input_))
    try:
        found = await call.services.what_if.one(request)
    except InvalidDefinitionError as error:
        raise _placed(error) from None
    note_read(call, "history", found["recorded"]["version"], request.id)  # it tells of it as much as the history does
    return json_response(found)


async def fleet(call: Call) -> Response:
    """POST /v1/what-if."""
    body: FleetBody = call.body
    request = FleetRequest(
        definition=body.definition,
        of=body.for_,
        statuses=tuple(body.status),
        last=body.last,
        supposed=_supposed(body),
        actor=call.actor,
    )
    try:
        return await accepted(call, await call.services.what_if.fleet(request))
    except InvalidDefinitionError as error:
        raise _placed(error) from None


def _supposed(body: SupposedBody, input_: Any = UNSET) -> Suppositions:
    changes = tuple(
        Change(
            task=each.task,
            outcome=each.outcome,
            run=each.run,
            output=each.output,
            error=None if each.error is None else each.error.model_dump(exclude_none=True),
        )
        for each in body.changes
    )
    return Suppositions(changes=changes, input=input_, assume=dict(body.assume))


def _placed(error: InvalidDefinitionError) -> InvalidDefinitionError:
    """The use case speaks of the document; the client of its body, which has no lines that anybody wrote."""
    problems = [
        msgspec.structs.replace(each, pointer=f"/definition{each.pointer}", line=None, column=None)
        for each in error.problems
    ]
    return InvalidDefinitionError(problems, error.detail)


OPERATIONS = (
    Operation(
        "whatIf",
        "POST",
        "/v1/orchestrations/{id}/what-if",
        one,
        "How it would have gone with another definition or other facts",
        _TAG,
        {200: Answer("Where it leaves the recorded path, and what comes instead. Nothing is changed.", WhatIfAnswer)},
        description="Recorded answers are taken where the same is asked; what nobody knows ends the course there.",
        problems=("not-found", "invalid-definition"),
        request_headers=("Idempotency-Key",),
        body=JsonBody(WhatIfBody, optional=True),
        path_schemas={"id": {"type": "string", "pattern": f"^{ID}$"}},
    ),
    Operation(
        "whatIfFleet",
        "POST",
        "/v1/what-if",
        fleet,
        "How the latest orchestrations would have gone",
        _TAG,
        {
            202: Answer(
                "An operation; its result counts same, other and cannot_continue.", LongOperation, headers=("Location",)
            )
        },
        problems=("not-found", "invalid-definition"),
        request_headers=("Idempotency-Key",),
        body=JsonBody(FleetBody),
    ),
)
