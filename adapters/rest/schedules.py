"""Schedules: which there are, what comes next and what came of the last; pausing, resuming and triggering them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field
from starlette.responses import Response

from adapters.rest.bodies import JsonBody
from adapters.rest.calls import Call, json_response
from adapters.rest.operations import Answer, Operation
from adapters.rest.schemas import Instant, Open, ReasonBody

_PATH = "/v1/schedules"
_ONE = f"{_PATH}/{{namespace}}/{{name}}"
_TAG = "Schedules"


class SchedulePause(Open):
    """Who paused it, or let it go on."""

    at: Instant
    actor: str
    reason: str | None


class ScheduleTrigger(Open):
    """Who started a run by hand."""

    actor: str
    reason: str | None


class ScheduleRun(Open):
    """A run of the schedule."""

    id: str
    scheduled_for: Instant
    started_at: Instant
    triggered_by: ScheduleTrigger | None
    links: dict[str, str]


class Schedule(Open):
    """The schedule of a definition's latest version."""

    namespace: str
    name: str
    definition: str
    schedule: dict[str, Any]
    status: Literal["active", "paused"]
    paused: SchedulePause | None
    resumed: SchedulePause | None = Field(description="Who ended the last pause.")
    next: list[Instant]
    waiting_for_end: bool
    queued: Instant | None
    missed: int
    skipped: int
    runs: list[ScheduleRun]
    links: dict[str, str]


class ScheduleList(Open):
    """All schedules."""

    items: list[Schedule]
    next: None


class ScheduleStarted(Open):
    """What was started by hand."""

    id: str
    links: dict[str, str]


def _key(call: Call) -> tuple[str, str]:
    return call.segment("namespace"), call.segment("name")


async def list_(call: Call) -> Response:
    """GET /v1/schedules."""
    return json_response(await call.services.schedules.list())


async def get(call: Call) -> Response:
    """GET /v1/schedules/{namespace}/{name}."""
    return json_response(await call.services.schedules.get(*_key(call)))


async def pause(call: Call) -> Response:
    """POST /v1/schedules/{namespace}/{name}/pause."""
    return json_response(await call.services.schedules.pause(*_key(call), call.actor, call.body.reason))


async def resume(call: Call) -> Response:
    """POST /v1/schedules/{namespace}/{name}/resume."""
    return json_response(await call.services.schedules.resume(*_key(call), call.actor, call.body.reason))


async def trigger(call: Call) -> Response:
    """POST /v1/schedules/{namespace}/{name}/trigger."""
    id_ = await call.services.schedules.trigger(*_key(call), call.actor, call.body.reason)
    path = f"/v1/orchestrations/{id_}"
    return json_response({"id": id_, "links": {"orchestration": path}}, 202, {"Location": path})


def _command(name: str, endpoint: Any, summary: str, status: int, answer: Answer) -> Operation:
    return Operation(
        f"{name}Schedule",
        "POST",
        f"{_ONE}/{name}",
        endpoint,
        summary,
        _TAG,
        {status: answer},
        problems=("not-found",),
        request_headers=("Idempotency-Key",),
        body=JsonBody(ReasonBody, optional=True),
    )


_SHOWN = Answer("How it stands.", Schedule)

OPERATIONS = (
    Operation(
        "listSchedules",
        "GET",
        _PATH,
        list_,
        "Schedules, what comes next and what came of the last",
        _TAG,
        {200: Answer("Those of the latest versions, by namespace and name.", ScheduleList)},
    ),
    Operation("getSchedule", "GET", _ONE, get, "A schedule", _TAG, {200: _SHOWN}, problems=("not-found",)),
    _command("pause", pause, "Start nothing until it is resumed", 200, _SHOWN),
    _command("resume", resume, "Go on with the next occurrence", 200, _SHOWN),
    _command(
        "trigger",
        trigger,
        "Start one now",
        202,
        Answer("It was started, beside the schedule and whatever runs.", ScheduleStarted, headers=("Location",)),
    ),
)
