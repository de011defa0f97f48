"""Tasks for people over HTTP: find them, take one, give it back, answer. docs/people.md tells who may do what."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from adapters.rest.bodies import JsonBody
from adapters.rest.calls import ID, Call, json_response, next_link
from adapters.rest.forms import DEFINITION
from adapters.rest.operations import Answer, Endpoint, Operation
from adapters.rest.parameters import CURSOR, LIMIT, boolean, choice, text
from adapters.rest.schemas_human import (
    HumanAnswerBody,
    HumanRefusalBody,
    HumanTask,
    HumanTaskList,
    PersonBody,
    ReassignBody,
)
from application.human_tasks import Acting, HumanListRequest, HumanTasks
from domain.errors import Fault, NotFoundError, error_type

_TAG: Final = "Tasks for people"
_PATH: Final = "/v1/human-tasks"
_ONE: Final = {"task_id": {"type": "string", "pattern": f"^{ID}-[1-9][0-9]{{0,5}}$"}}


def _tasks(call: Call) -> HumanTasks:
    if call.services.human_tasks is None:
        raise NotFoundError("There are no tasks for people here.")
    return call.services.human_tasks


def _id(call: Call) -> str:
    return call.segment("task_id")


def _acting(call: Call, body: PersonBody | None = None) -> Acting:
    user, groups = (None, ()) if body is None else (body.user, tuple(body.groups))
    return Acting(actor=call.actor, user=user, groups=groups, trace=call.trace, request_id=call.request_id)


async def list_(call: Call) -> Response:
    """GET /v1/human-tasks."""
    given = dict(call.query)
    groups = tuple(given.pop("group", ()))
    found = await _tasks(call).list(HumanListRequest(groups=groups, **given))
    return json_response(found, headers=next_link(call, "cursor", found["next"]))


async def get(call: Call) -> Response:
    """GET /v1/human-tasks/{task_id}."""
    return json_response(await _tasks(call).get(_id(call)))


async def claim(call: Call) -> Response:
    """POST /v1/human-tasks/{task_id}/claim."""
    return json_response(await _tasks(call).claim(_id(call), _acting(call, call.body)))


async def release(call: Call) -> Response:
    """POST /v1/human-tasks/{task_id}/release."""
    return json_response(await _tasks(call).release(_id(call), _acting(call, call.body)))


async def complete(call: Call) -> Response:
    """POST /v1/human-tasks/{task_id}/complete."""
    body: HumanAnswerBody = call.body
    return json_response(await _tasks(call).complete(_id(call), _acting(call, body), body.output))


async def fail(call: Call) -> Response:
    """POST /v1/human-tasks/{task_id}/fail."""
    body: HumanRefusalBody = call.body
    error = body.error
    why = Fault(error_type(error.type), error.status, error.title, error.detail)
    return json_response(await _tasks(call).refuse(_id(call), _acting(call, body), why))


async def reassign(call: Call) -> Response:
    """POST /v1/human-tasks/{task_id}/reassign."""
    body: ReassignBody = call.body
    candidates = None if body.candidates is None else (body.candidates.users, body.candidates.groups)
    return json_response(
        await _tasks(call).reassign(
            _id(call), _acting(call), body.reason, assignee=body.assignee, candidates=candidates
        )
    )


_SHOWN: Final = {200: Answer("How it stands now.", HumanTask)}


def _command(name: str, endpoint: Endpoint, summary: str, description: str, body: JsonBody, *slugs: str) -> Operation:
    return Operation(
        f"{name}HumanTask",
        "POST",
        f"{_PATH}/{{task_id}}/{name}",
        endpoint,
        summary,
        _TAG,
        _SHOWN,
        description=description,
        problems=("not-found", "task-ended", *slugs),
        request_headers=("Idempotency-Key",),
        body=body,
        path_schemas=_ONE,
    )


OPERATIONS = (
    Operation(
        "listHumanTasks",
        "GET",
        _PATH,
        list_,
        "Open tasks for people, the most urgent first",
        _TAG,
        {200: Answer("Those that are open or claimed.", HumanTaskList, headers=("Link",))},
        parameters=(
            text("candidate", "What this person may take.", longest=200),
            text("group", "What anyone in this group may take; may be given several times.", longest=200, many=True),
            text("assignee", "What this person has.", longest=200),
            choice("status", "Whether somebody has it.", ("open", "claimed")),
            text(
                "definition", "Of this definition: name (in namespace default) or namespace/name.", pattern=DEFINITION
            ),
            text("orchestration", "Of this orchestration.", pattern=ID),
            boolean("overdue", "Whether the due date has passed."),
            LIMIT,
            CURSOR,
        ),
    ),
    Operation(
        "getHumanTask",
        "GET",
        f"{_PATH}/{{task_id}}",
        get,
        "What is asked, and who has had it",
        _TAG,
        {200: Answer("Also after it has ended, until the orchestration is archived.", HumanTask)},
        problems=("not-found",),
        path_schemas=_ONE,
    ),
    _command(
        "claim",
        claim,
        "Take it",
        "One of several who claim at once has it, the others get 409.",
        JsonBody(PersonBody, optional=True),
        "task-claimed",
    ),
    _command(
        "release", release, "Give it back", "By whoever has it.", JsonBody(PersonBody, optional=True), "task-claimed"
    ),
    _command(
        "complete",
        complete,
        "It is done; the output is checked against the form",
        "By whoever has it, or by a candidate while nobody has. The same again gets the same answer.",
        JsonBody(HumanAnswerBody),
        "task-claimed",
    ),
    _command(
        "fail",
        fail,
        "Say no: the task fails with this error",
        "As complete; a `catch` may handle the error.",
        JsonBody(HumanRefusalBody),
        "task-claimed",
    ),
    _command(
        "reassign",
        reassign,
        "Give it to somebody else",
        "Whoever has it has it no more. The reason stands in the history.",
        JsonBody(ReassignBody),
    ),
)
