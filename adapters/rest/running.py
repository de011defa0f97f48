"""Health, readiness, the nodes of the database, and the explanations of problems.

`/healthz` says that the process answers, and nothing more: it must not fail because a database does. `/readyz` says whether
requests should come here; 503 is what a load balancer understands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from html import escape
from typing import Any

import structlog
from starlette.responses import Response

from adapters.rest.calls import JSON, Call, json_response
from adapters.rest.operations import Answer, Operation
from adapters.rest.problems import SLUGS, ProblemError
from adapters.rest.schemas_running import Health, NodeList, ProblemExplanation, Readiness
from domain.errors import NotFoundError

_log = structlog.get_logger(__name__)
_HTML = "text/html"
_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:3rem auto;padding:0 1rem}}</style>
<h1>{title}</h1><p><code>/problems/{slug}</code>, status {status}</p><p>{advice}</p>
"""


class OneLook:
    """Readiness, looked up once for all who ask meanwhile: a database that hangs must not gather probes."""

    def __init__(self, look: Callable[[], Awaitable[Mapping[str, Any]]]) -> None:
        self._look = look
        self._looking: asyncio.Future[Mapping[str, Any]] | None = None

    async def __call__(self) -> Mapping[str, Any]:
        """The details."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(self._look())
        return await asyncio.shield(self._looking)


async def health(call: Call) -> Response:
    """GET /healthz."""
    return json_response({"status": "ok", "version": call.services.version})


async def readiness(call: Call) -> Response:
    """GET /readyz."""
    if call.services.closing.is_set():
        raise ProblemError("overloaded", "The service is about to stop.", more={"ready": False})
    try:
        details = dict(await call.services.ready())
    except Exception as error:  # noqa: BLE001 - a probe asks whether all is well: trouble is a no
        _log.warning("readiness.unknown", exc_info=error)
        details = {"ready": False}
    if not details.get("ready", True):
        raise ProblemError("overloaded", "The service is not ready.", more=details)
    return json_response({"ready": True, **details})


async def nodes(call: Call) -> Response:
    """GET /v1/nodes."""
    return json_response(await call.services.queries.nodes())


async def explain(call: Call) -> Response:
    """GET /problems/{slug}."""
    slug = call.scope["path_params"]["slug"]
    kind = SLUGS.get(slug)
    if kind is None:
        raise NotFoundError("There is no such kind of problem.")
    members = {"title": kind.title, "status": kind.status, "advice": kind.advice}
    if call.accepted == _HTML:
        page = _PAGE.format(slug=slug, **{name: escape(str(value)) for name, value in members.items()})
        return Response(page, 200, {"Vary": "Accept"}, _HTML)
    return json_response({"type": f"/problems/{slug}", **members, "retryable": kind.retryable}, 200, {"Vary": "Accept"})


OPERATIONS = (
    Operation(
        "health",
        "GET",
        "/healthz",
        health,
        "The process answers",
        "Running",
        {200: Answer("It does.", Health)},
        open=True,
        hot=True,
    ),
    Operation(
        "readiness",
        "GET",
        "/readyz",
        readiness,
        "The service can take requests",
        "Running",
        {200: Answer("It can; with details.", Readiness)},
        open=True,
        hot=True,
    ),
    Operation(
        "listNodes",
        "GET",
        "/v1/nodes",
        nodes,
        "Who is at work on this database",
        "Running",
        {200: Answer("Every node, its lease and its partitions; the same from whichever node answers.", NodeList)},
    ),
    Operation(
        "explainProblem",
        "GET",
        "/problems/{slug}",
        explain,
        "What a problem means",
        "Running",
        {200: Answer("An explanation.", ProblemExplanation, (JSON, _HTML), ("Vary",))},
        problems=("not-found",),
        produces=(JSON, _HTML),
        open=True,
        path_schemas={"slug": {"type": "string", "enum": list(SLUGS)}},
    ),
)
