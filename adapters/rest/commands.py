"""Commands for one orchestration: cancel, terminate, suspend, resume, notes, and the answers to incidents.

All are of one kind: an optional If-Match, an optional dry run, a reason that is kept, and the answer
``{id, status, version}`` with the version as ETag. Asking for the state it is already in changes nothing.
"""

from __future__ import annotations

from typing import Literal

from starlette.responses import Response

from adapters.rest.bodies import JsonBody
from adapters.rest.calls import ID, Call, json_response
from adapters.rest.conditions import etag, versions_asked_for
from adapters.rest.operations import Answer, Endpoint, Operation
from adapters.rest.parameters import DRY_RUN
from adapters.rest.schemas import CancelBody, CommandAnswer, DryRunAnswer, NoteBody, ReasonBody, ResolutionBody
from application.service import Answer as Done
from application.service import CommandRequest, DryRun
from domain.errors import NotFoundError, VersionMismatchError

_PATH = "/v1/orchestrations/{id}"
Action = Literal["retry", "skip", "complete", "fail"]
_ACTIONS: dict[Action, str] = {
    "retry": "Try again what failed",
    "skip": "Go on without it",
    "complete": "It was done by hand, or it did happen",
    "fail": "It did not happen",
}


async def command(call: Call, reason: str | None, id_: str | None = None) -> CommandRequest:
    """What all commands have in common."""
    id_ = id_ or call.orchestration
    return CommandRequest(
        id=id_,
        actor=call.actor,
        reason=reason,
        if_match=await _if_match(call, id_),
        dry_run=call.dry_run,
        idempotency_key=call.key,
        trace=call.trace,
        request_id=call.request_id,
    )


async def _if_match(call: Call, id_: str) -> int | None:
    versions = versions_asked_for(call.headers)
    if versions is None:
        return None
    if len(versions) == 1:
        return versions[0]
    # Several tags: the present version, if it is one of them, must still be there when the command is decided.
    current: int = (await call.services.queries.status(id_))["version"]
    if current not in versions:
        raise VersionMismatchError(
            f'It has version {current}, and If-Match does not name it; the tag of a version is "{current}", never weak.'
        )
    return current


def answered(result: Done | DryRun, status: int, location: str | None = None) -> Response:
    """The answer of a command, or of its dry run."""
    if isinstance(result, DryRun):
        return json_response(result)
    headers = {"ETag": etag(result.version)}
    if location is not None:
        headers["Location"] = location
    return json_response(result, status, headers)


async def cancel(call: Call) -> Response:
    """POST /{id}/cancel."""
    body: CancelBody = call.body
    request = await command(call, body.reason)
    return answered(await call.services.commands.cancel(request, override_pivot=body.override_pivot), 202)


async def terminate(call: Call) -> Response:
    """POST /{id}/terminate."""
    return answered(await call.services.commands.terminate(await command(call, call.body.reason)), 200)


async def suspend(call: Call) -> Response:
    """POST /{id}/suspend."""
    return answered(await call.services.commands.suspend(await command(call, call.body.reason)), 200)


async def resume(call: Call) -> Response:
    """POST /{id}/resume."""
    return answered(await call.services.commands.resume(await command(call, call.body.reason)), 200)


async def add_note(call: Call) -> Response:
    """POST /{id}/notes; its Location is its place in the history."""
    body: NoteBody = call.body
    result = await call.services.commands.add_note(await command(call, None), text=body.text)
    if isinstance(result, DryRun):
        return answered(result, 200)
    place = f"/v1/orchestrations/{result.id}/history?after={result.version - 1}&limit=1"
    return answered(result, 201, place)


def resolve(action: Action) -> Endpoint:
    """POST /{id}/incidents/{number}/<action>."""

    async def endpoint(call: Call) -> Response:
        body: ResolutionBody = call.body
        number = call.scope["path_params"]["number"]
        if not (number.isascii() and number.isdecimal() and len(number) < 10 and int(number)):
            raise NotFoundError("There is no incident with this number; the status lists the open ones.")
        request = await command(call, body.reason)
        return answered(
            await call.services.commands.resolve(request, number=int(number), action=action, output=body.output), 200
        )

    return endpoint


def _operation(
    name: str,
    path: str,
    endpoint: Endpoint,
    summary: str,
    body: JsonBody,
    status: int = 200,
    problems: tuple[str, ...] = ("orchestration-ended",),
) -> Operation:
    headers = ("ETag", "Location") if status == 201 else ("ETag",)
    answers = {200: Answer("A dry run: what would be recorded.", DryRunAnswer)}
    if status != 200:
        answers[status] = Answer("What it left behind.", CommandAnswer, headers=headers)
    else:
        both = "What it left behind; for a dry run, what would be recorded."
        answers[200] = Answer(both, (CommandAnswer, DryRunAnswer), headers=headers)
    schemas = {"id": {"type": "string", "pattern": f"^{ID}$"}}
    if "{number}" in path:
        schemas["number"] = {"type": "string", "pattern": "^[1-9][0-9]{0,8}$"}
    return Operation(
        name,
        "POST",
        path,
        endpoint,
        summary,
        "Commands",
        answers,
        problems=("not-found", "version-mismatch", *problems),
        parameters=(DRY_RUN,),
        request_headers=("Idempotency-Key", "If-Match"),
        body=body,
        path_schemas=schemas,
    )


_REASON = JsonBody(ReasonBody, optional=True)
OPERATIONS = (
    _operation(
        "cancelOrchestration",
        f"{_PATH}/cancel",
        cancel,
        "Undo what was done, then end as cancelled",
        JsonBody(CancelBody, optional=True),
        202,
        ("orchestration-ended", "past-pivot"),
    ),
    _operation("terminateOrchestration", f"{_PATH}/terminate", terminate, "End now; undo nothing", _REASON),
    _operation("suspendOrchestration", f"{_PATH}/suspend", suspend, "Decide nothing until it is resumed", _REASON),
    _operation("resumeOrchestration", f"{_PATH}/resume", resume, "Go on after a suspend", _REASON),
    _operation("addNote", f"{_PATH}/notes", add_note, "Put a note into the history", JsonBody(NoteBody), 201, ()),
    *(
        _operation(
            f"{action}Incident",
            f"{_PATH}/incidents/{{number}}/{action}",
            resolve(action),
            f"Resolve an incident: {summary.lower()}",
            JsonBody(ResolutionBody),
        )
        for action, summary in _ACTIONS.items()
    ),
)
