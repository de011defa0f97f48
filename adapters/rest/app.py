"""Puts the REST API together: operations, the document that describes them, and the layers around them.

The layers are pure ASGI, from the outside in: `Metering` (counts requests), `Boundary` (nothing unexpected gets out),
`Authentication`, `HeadAsGet`, `Front` (the short way of the hot paths), then FastAPI's router, whose own refusals become
problems too. FastAPI's own layers and its documentation are left out: the first cost as much as ours and do what ours do, the
second needs a page from elsewhere. The lifespan belongs to the caller.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from importlib.resources import files

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

from adapters.rest import (
    audit,
    audit_verification,
    blobs,
    callbacks,
    circuits,
    commands,
    definitions,
    events,
    forks,
    functions,
    held_events,
    human_tasks,
    long_running,
    metrics,
    orchestrations,
    projections,
    rehearsals,
    running,
    schedules,
    stream,
    tasks,
    what_if,
)
from adapters.rest.authentication import Authentication
from adapters.rest.boundary import Boundary, HeadAsGet
from adapters.rest.calls import JSON, Call
from adapters.rest.conditions import not_modified
from adapters.rest.fields import Fields
from adapters.rest.front import Front
from adapters.rest.metering import Metering
from adapters.rest.openapi import OpenApi
from adapters.rest.operations import Answer, Operation
from adapters.rest.origin import with_request_id
from adapters.rest.problems import internal, problem_response
from adapters.rest.resources import ResourceRoutes, Resources
from adapters.rest.services import Services
from adapters.rest.serving import Served

__all__ = ["OPERATIONS", "Services", "build_app"]

OPERATIONS: tuple[Operation, ...] = (
    *orchestrations.OPERATIONS,
    *held_events.OPERATIONS,
    *blobs.OPERATIONS,
    *events.OPERATIONS,
    *callbacks.OPERATIONS,
    *commands.OPERATIONS,
    *forks.OPERATIONS,
    *stream.OPERATIONS,
    *definitions.OPERATIONS,
    *audit.OPERATIONS,
    *long_running.OPERATIONS,
    *what_if.OPERATIONS,
    *audit_verification.OPERATIONS,
    *projections.OPERATIONS,
    *schedules.OPERATIONS,
    *rehearsals.OPERATIONS,
    *tasks.OPERATIONS,
    *human_tasks.OPERATIONS,
    *functions.OPERATIONS,
    *running.OPERATIONS,
    *circuits.OPERATIONS,
    *metrics.OPERATIONS,
)
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
_DETAILS: Mapping[int, tuple[str, str]] = {
    404: ("not-found", "There is nothing at this path."),
    405: ("method-not-allowed", "{method} is not possible here; what is: {allowed}."),
}


class Api(FastAPI):
    """FastAPI with our layers around its router in place of its own; its lifespan stays."""

    def __init__(self, services: Services) -> None:
        super().__init__(title="Retrace", version=services.version, openapi_url=None, docs_url=None, redoc_url=None)
        self.router.redirect_slashes = False
        services = replace(services, ready=running.OneLook(services.ready))
        resources = Resources(services)
        rows = [replace(each, open=True) if _opened(each, services) else each for each in OPERATIONS]
        operations = (*_with_news(rows, resources), *_documentation(rows, services, resources))
        served = [Served(each, services) for each in operations]
        of_resources = ResourceRoutes(services, resources)
        self.router.routes += [Route(each.operation.path, each, methods=[each.operation.method]) for each in served]
        self.router.routes.append(Route("/{resource}", of_resources.collection, methods=_METHODS))
        self.router.routes.append(Route("/{resource}/{id}", of_resources.member, methods=_METHODS))
        router = ExceptionMiddleware(self.router, {HTTPException: _framework_refusal})
        front = Front(router, [each for each in served if each.operation.hot], of_resources)
        also_open = [each.path for each in rows if _opened(each, services)]
        inner = Authentication(HeadAsGet(front), services.tokens, services.actor, also_open=also_open)
        self._layers = Metering(Boundary(inner), services.meter)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the lifespan."""
        if scope["type"] == "http":
            scope["app"] = self
            await self._layers(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def build_app(services: Services) -> FastAPI:
    """The ASGI application over these services."""
    return Api(services)


def _opened(row: Operation, services: Services) -> bool:
    """Whether a setting does without a token for this operation."""
    return services.metrics_open and row.path == "/metrics"


def _with_news(rows: Sequence[Operation], resources: Resources) -> list[Operation]:
    """The operations, where a deployment is followed by a fresh look at the resources."""

    async def deploy(call: Call) -> Response:
        response = await definitions.deploy(call)
        resources.forget()
        return response

    return [replace(each, endpoint=deploy) if each.id == "deployDefinition" else each for each in rows]


def _documentation(rows: Sequence[Operation], services: Services, resources: Resources) -> list[Operation]:
    document = OpenApi(rows, services.version, authenticated=services.tokens is not None)
    page = files("adapters.rest").joinpath("docs.html").read_bytes()
    policy = _policy(page)

    async def openapi(call: Call) -> Response:
        body = document.of(await resources.all())
        headers = {"ETag": f'"{sha256(body).hexdigest()[:32]}"'}
        if not_modified(call.headers, headers["ETag"]):
            return Response(status_code=304, headers=headers)
        return Response(body, 200, headers, JSON)

    async def docs(_: Call) -> Response:
        return Response(page, 200, {"Content-Security-Policy": policy}, "text/html")

    return [
        Operation("openapi", "GET", "/openapi.json", openapi, "This document", "Running", {200: Answer("It.")}),
        Operation(
            "docs", "GET", "/docs", docs, "Documentation", "Running", {200: Answer("It.")}, produces=("text/html",)
        ),
    ]


def _policy(page: bytes) -> str:
    """A content security policy that lets the page run its own script and talk to this server, and nothing else."""
    scripts = re.findall(rb"<script>(.*?)</script>", page, re.DOTALL)
    hashes = " ".join(f"'sha256-{base64.b64encode(sha256(each).digest()).decode()}'" for each in scripts)
    return f"default-src 'none'; style-src 'unsafe-inline'; connect-src 'self'; script-src {hashes}; base-uri 'none'"


async def _framework_refusal(request: Request, error: Exception) -> Response:
    """404 and 405 of the router as problems; Allow lists the methods of every route with this path."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status not in _DETAILS:
        return internal(error)
    # The open patterns of resources match our own paths too: where a route of ours has the path, the method is at fault.
    allowed = _allowed(request)
    slug, detail = _DETAILS[405 if allowed else 404]
    detail = detail.format(method=request.method, allowed=", ".join(allowed))
    response = problem_response(slug, detail, headers={"Allow": ", ".join(allowed)} if allowed else None)
    return with_request_id(response, Fields(request.scope))


def _allowed(request: Request) -> list[str]:
    methods: set[str] = set()
    for route in request.app.router.routes:
        if (
            isinstance(route, Route)
            and isinstance(route.endpoint, Served)
            and route.matches(request.scope)[0] is not Match.NONE
        ):
            methods |= route.methods or set()
    return sorted(methods | ({"HEAD"} if "GET" in methods else set()))
