"""What is held of events from outside, for anybody or for one orchestration."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from adapters.rest.calls import ID, Call, json_response, next_link
from adapters.rest.operations import Answer, Operation
from adapters.rest.parameters import CURSOR, LIMIT, text
from adapters.rest.schemas import Instant, Open
from application.held_events import HeldEvents
from domain.errors import NotFoundError


class ParkedAt(Open):
    """Its number in a stream, where others have to come before it."""

    stream: str
    key: str | int | bool | None
    number: int


class HeldEvent(Open):
    """One event, without its data."""

    type: str | None
    source: str | None
    id: str | None
    attributes: dict[str, Any]
    received_at: Instant | None
    expires_at: Instant | None
    orchestration: str | None
    parked: ParkedAt | None


class HeldEventList(Open):
    """A page of held events."""

    items: list[HeldEvent]
    next: str | None


def _held(call: Call) -> HeldEvents:
    if call.services.held_events is None:
        raise NotFoundError("No events are held here.")
    return call.services.held_events


async def list_(call: Call) -> Response:
    """GET /v1/events/held."""
    query = call.query
    asked = (query.get("type"), query.get("source"), query.get("cursor"), query.get("limit", 100))
    id_ = query.get("orchestration")
    page = await (_held(call).for_anybody(*asked) if id_ is None else _held(call).of(id_, *asked))
    return json_response(page, 200, next_link(call, "cursor", page["next"]))


OPERATIONS = (
    Operation(
        "listHeldEvents",
        "GET",
        "/v1/events/held",
        list_,
        "Events that wait for somebody",
        "Events",
        {200: Answer("Oldest first; without their data.", HeldEventList, headers=("Link",))},
        description="Without `orchestration` those for whoever waits later, which nobody has taken. With it those that it "
        "keeps until a task of it wants them, and those of its streams that are parked because others have to come first. "
        "What an orchestration keeps is part of its state, so it is listed for one of them only; which ones have had events "
        "parked is told by `GET /v1/audit/events?type=event.received`: `data.outcome` is `parked`.",
        problems=("not-found",),
        parameters=(
            text("orchestration", "Only those that this orchestration keeps: its id.", pattern=ID),
            text("type", "Only events of this type.", longest=1024),
            text("source", "Only events of this source.", longest=1024),
            LIMIT,
            CURSOR,
        ),
    ),
)
