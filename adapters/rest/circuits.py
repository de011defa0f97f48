"""Circuits of the hosts that callouts go to: which are open, and setting them by hand."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field
from starlette.responses import Response
from yarl import URL

from adapters.callouts.circuit_desk import CircuitDesk
from adapters.callouts.circuits import host_of
from adapters.rest.bodies import JsonBody
from adapters.rest.calls import Call, json_response
from adapters.rest.operations import Answer, Operation
from adapters.rest.schemas import Body, Instant, Open, Text
from domain.errors import NotFoundError

_PATH: Final = "/v1/circuits"
_TAG: Final = "Running"
_FORM: Final = "write scheme, name and port, such as https://api.example.com or http://car.test:8080"
_LONGEST: Final = 300


def _origin(value: str) -> str:
    try:
        url = URL(value)
        complete = url.scheme in ("http", "https") and bool(url.host and url.port)
    except ValueError:
        raise ValueError(_FORM) from None
    if not complete or url.path not in ("", "/") or url.query_string or url.fragment or url.user:
        raise ValueError(_FORM)
    return host_of(url)


Host = Annotated[str, Field(max_length=_LONGEST, description=_FORM.capitalize() + "."), AfterValidator(_origin)]


class CloseCircuitBody(Body):
    """Whose circuit."""

    host: Host


class OpenCircuitBody(CloseCircuitBody):
    """Whose circuit, and why."""

    reason: Text | None = None


class Circuit(Open):
    """How a process sees a host."""

    host: str = Field(description="Scheme, name and port.")
    node: str = Field(description="The process whose circuit it is, as in `/v1/nodes`.")
    state: Literal["closed", "open", "half_open"]
    failures: int = Field(description="In a row.")
    last_failure: str | None
    last_failure_at: Instant | None
    changed_at: Instant | None
    probe_at: Instant | None = Field(description="When one request may find out whether the host is back.")
    turned_away: int = Field(description="How often a request was not let pass.")
    opened_by: str | None = Field(description="Who opened it by hand; then only a hand closes it.")
    reason: str | None


class CircuitList(Open):
    """Circuits of the processes that share the port that answers."""

    items: list[Circuit]
    next: None


def _desk(call: Call) -> CircuitDesk:
    if call.services.circuits is None:
        raise NotFoundError("Nothing is sent from here.")
    return call.services.circuits


async def list_(call: Call) -> Response:
    """GET /v1/circuits."""
    return json_response({"items": await _desk(call).list(), "next": None})


async def close(call: Call) -> Response:
    """POST /v1/circuits/close."""
    body: CloseCircuitBody = call.body
    return json_response({"items": await _desk(call).close(body.host), "next": None})


async def open_(call: Call) -> Response:
    """POST /v1/circuits/open."""
    body: OpenCircuitBody = call.body
    return json_response({"items": await _desk(call).open(body.host, call.actor, body.reason), "next": None})


OPERATIONS = (
    Operation(
        "listCircuits",
        "GET",
        _PATH,
        list_,
        "Hosts that callouts have failed at, and whether they are left alone",
        _TAG,
        {200: Answer("Of every process that shares this port; other machines tell of theirs.", CircuitList)},
    ),
    Operation(
        "closeCircuit",
        "POST",
        f"{_PATH}/close",
        close,
        "Let requests to a host pass again",
        _TAG,
        {200: Answer("The circuits of this host as they are now.", CircuitList)},
        problems=("not-found",),
        request_headers=("Idempotency-Key",),
        body=JsonBody(CloseCircuitBody),
    ),
    Operation(
        "openCircuit",
        "POST",
        f"{_PATH}/open",
        open_,
        "Send nothing to a host until its circuit is closed by hand",
        _TAG,
        {200: Answer("The circuits of this host as they are now; until the processes end.", CircuitList)},
        request_headers=("Idempotency-Key",),
        body=JsonBody(OpenCircuitBody),
    ),
)
