"""Events from outside, for one orchestration or for whoever waits."""

from __future__ import annotations

from starlette.responses import Response

from adapters.rest.calls import ID, Call, json_response
from adapters.rest.cloudevents import EventBody
from adapters.rest.operations import Answer, Operation
from adapters.rest.schemas import EventAnswer
from application.service import EventOutcome


async def send(call: Call) -> Response:
    """POST /v1/orchestrations/{id}/events."""
    sent = call.services.commands.send_event(
        call.orchestration, call.body, actor=call.actor, trace=call.trace, request_id=call.request_id
    )
    return _answer(await sent)


async def publish(call: Call) -> Response:
    """POST /v1/events."""
    published = call.services.commands.publish_event(
        call.body, actor=call.actor, trace=call.trace, request_id=call.request_id
    )
    return _answer(await published)


def _answer(outcome: EventOutcome) -> Response:
    members = {"outcome": outcome.outcome}
    return json_response(members if outcome.version is None else {**members, "version": outcome.version}, 202)


_ACCEPTED = Answer("What became of it.", EventAnswer)

OPERATIONS = (
    Operation(
        "sendEvent",
        "POST",
        "/v1/orchestrations/{id}/events",
        send,
        "An event for this orchestration",
        "Events",
        {202: _ACCEPTED},
        description="`source` and `id` name an event for ever: again with the same content it is a duplicate, with other "
        "content 409. Held until it is awaited.",
        problems=("not-found", "event-id-reused", "orchestration-ended"),
        request_headers=("Idempotency-Key",),
        body=EventBody(),
        path_schemas={"id": {"type": "string", "pattern": f"^{ID}$"}},
    ),
    Operation(
        "publishEvent",
        "POST",
        "/v1/events",
        publish,
        "An event for whoever waits",
        "Events",
        {202: _ACCEPTED},
        description="For every `listen` whose filters match, and for definitions that an event starts; else held 7 days.",
        problems=("event-id-reused",),
        request_headers=("Idempotency-Key",),
        body=EventBody(),
        hot=True,
    ),
)
