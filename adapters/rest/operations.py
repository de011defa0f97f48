"""An operation: one row that is both served and described.

The row says method, path, parameters, body, forms of the answer, answers and problems. `adapters.rest.serving` carries it
out, `adapters.rest.openapi` tells about it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic import BaseModel
from starlette.responses import Response

from adapters.rest.bodies import Content
from adapters.rest.calls import JSON, Call
from adapters.rest.parameters import Parameter

Endpoint = Callable[[Call], Awaitable[Response]]


class BodyReader(Protocol):
    """Reads the body of one operation and describes it in OpenAPI."""

    async def read(self, call: Call) -> Content: ...

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
    """Served without a token and, unless it has a body, however much is going on. It keeps no Idempotency-Key."""
    always: bool = False
    """Served however much is going on, to those who may come in."""
    hot: bool = False
    """Found without the router (`adapters.rest.front`)."""
    lasts: Callable[[Call], bool] | None = None
    """Whether a request may take long by its nature: a long poll, a stream. None: never."""
    starts: bool = False
    """It starts an orchestration: under one Idempotency-Key always the same one, however often it is carried out."""
    path_schemas: Mapping[str, dict[str, Any]] = field(default_factory=dict)


def problems_of(operation: Operation, *, authenticated: bool) -> Sequence[str]:
    """Slugs of every problem that an operation may answer with."""
    slugs = ["malformed-request", "not-acceptable", "internal", "overloaded", *operation.problems]
    if authenticated and not operation.open:
        slugs.append("unauthorized")
    if operation.body is not None:
        slugs += ["payload-too-large", "unsupported-media-type", "invalid-input"]
        slugs += [] if operation.open else ["idempotency-key-in-use", "idempotency-key-reused"]
    return list(dict.fromkeys(slugs))
