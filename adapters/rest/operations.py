"""An operation: one row that is both served and described.

The row says method, path, parameters, body, forms of the answer, answers and problems; `served` makes the function that
FastAPI routes to, which negotiates, parses, keeps idempotency keys and turns refusals into problems before and after the
operation's own function. FastAPI's own parsing is left out (`DirectRoute`): requests are read more strictly here than it
reads them, and large bodies never pass through a model.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from adapters.rest.bodies import Content
from adapters.rest.calls import JSON, Call
from adapters.rest.idempotency import once, read_key
from adapters.rest.negotiation import negotiate
from adapters.rest.parameters import Parameter, read_query
from adapters.rest.problems import ProblemError, refusal
from adapters.rest.services import Services
from domain.errors import RetraceError

Endpoint = Callable[[Call], Awaitable[Response]]


class BodyReader(Protocol):
    """Reads the body of one operation and describes it in OpenAPI."""

    async def read(self, request: Request, limit: int) -> Content: ...

    def described(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Answer:
    """One answer that is not a problem. `media` lists its forms; only JSON has a model, or one of several."""

    description: str
    model: type[BaseModel] | tuple[type[BaseModel], ...] | None = None
    media: tuple[str, ...] = (JSON,)
    headers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Operation:
    """See the module. `problems` are those beyond the ones that every operation of its kind has."""

    id: str
    method: str
    path: str
    endpoint: Endpoint
    summary: str
    tag: str
    answers: Mapping[int, Answer]
    description: str = ""
    problems: tuple[str, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    request_headers: tuple[str, ...] = ()
    body: BodyReader | None = None
    produces: tuple[str, ...] = (JSON,)
    open: bool = False
    """Served without a token."""
    starts: bool = False
    """It starts an orchestration: under one Idempotency-Key always the same one, however often it is carried out."""
    path_schemas: Mapping[str, dict[str, Any]] = field(default_factory=dict)


class DirectRoute(APIRoute):
    """A route whose endpoint takes the request as it is."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The endpoint itself: there is nothing for FastAPI to inject, parse or serialise."""
        endpoint: Callable[[Request], Coroutine[Any, Any, Response]] = self.endpoint
        return endpoint


def served(operation: Operation, services: Services) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    """The function that carries out one request of this operation."""

    async def handle(request: Request) -> Response:
        try:
            return await _carry_out(operation, services, request)
        except (RetraceError, ProblemError) as error:
            return refusal(error)

    return handle


async def _carry_out(operation: Operation, services: Services, request: Request) -> Response:
    headers = request.headers
    accepted = negotiate(headers.get("accept"), operation.produces)
    query = read_query(request.scope["query_string"], operation.parameters)
    call = Call(request, services, accepted, query)
    if operation.body is None:
        return await operation.endpoint(call)
    key = read_key(headers)
    content = await operation.body.read(request, services.max_body_bytes)
    call.body = content.value
    if key is None:
        return await operation.endpoint(call)
    stale_s = services.idempotency_start_stale_s if operation.starts else services.idempotency_stale_s
    return await once(call, key, content.canonical(), operation.endpoint, stale_s)


def problems_of(operation: Operation, *, authenticated: bool) -> Sequence[str]:
    """Slugs of every problem that an operation may answer with."""
    slugs = ["malformed-request", "not-acceptable", "internal", "overloaded", *operation.problems]
    if authenticated and not operation.open:
        slugs.append("unauthorized")
    if operation.body is not None:
        slugs += [
            "payload-too-large",
            "unsupported-media-type",
            "invalid-input",
            "idempotency-key-in-use",
            "idempotency-key-reused",
        ]
    return list(dict.fromkeys(slugs))
