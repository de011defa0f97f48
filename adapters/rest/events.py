"""Events from outside, for one orchestration or for whoever waits; one, or a batch.

The events of a batch are taken one by one, in order, each with an outcome of its own: one that is refused does not keep
the others out. Once the service is overloaded the rest of the batch is not tried, and said to be worth another try.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.responses import Response

from adapters.rest.calls import ID, Call, json_response
from adapters.rest.cloudevents import Batch, EventBody
from adapters.rest.operations import Answer, Operation
from adapters.rest.problems import ProblemError, internal, refusal
from adapters.rest.schemas import EventAnswer, EventBatchAnswer
from application.service import EventOutcome
from domain.errors import NotFoundError, OverloadedError, RetraceError, StorageError

Send = Callable[[dict[str, Any]], Awaitable[EventOutcome]]


async def send(call: Call) -> Response:
    """POST /v1/orchestrations/{id}/events."""
    id_ = call.orchestration

    def sent(event: dict[str, Any]) -> Awaitable[EventOutcome]:
        return call.services.commands.send_event(
            id_, event, actor=call.actor, trace=call.trace, request_id=call.request_id
        )

    return await _taken(call, sent)


async def publish(call: Call) -> Response:
    """POST /v1/events."""

    def published(event: dict[str, Any]) -> Awaitable[EventOutcome]:
        return call.services.commands.publish_event(
            event, actor=call.actor, trace=call.trace, request_id=call.request_id
        )

    return await _taken(call, published)


async def _taken(call: Call, send_one: Send) -> Response:
    if isinstance(call.body, Batch):
        return json_response({"items": await _one_by_one(call.body, send_one)}, 202)
    return json_response(_told(await send_one(call.body)), 202)


async def _one_by_one(batch: Batch, send_one: Send) -> list[Any]:
    items: list[Any] = []
    overload: Exception | None = None
    for event in batch.events:
        if isinstance(event, ProblemError):
            items.append(_refused(event))
        elif overload is not None:
            items.append(_refused(overload))
        else:
            try:
                items.append(_told(await send_one(event)))
            except NotFoundError:
                raise  # of all of them
            except (OverloadedError, StorageError) as error:
                overload = error
                items.append(_refused(error))
            except Exception as error:  # noqa: BLE001 - what keeps one out must not keep out the others
                items.append(_refused(error))
    return items


def _refused(error: Exception) -> dict[str, Any]:
    answer = refusal(error) if isinstance(error, ProblemError | RetraceError) else internal(error)
    return {"problem": msgspec.json.decode(bytes(answer.body))}


def _told(outcome: EventOutcome) -> dict[str, Any]:
    members: dict[str, Any] = {"outcome": outcome.outcome}
    return members if outcome.version is None else {**members, "version": outcome.version}


_ACCEPTED = Answer("What became of it, or of each of a batch.", (EventAnswer, EventBatchAnswer))

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
