"""GET /metrics: what the process has counted, in the text format of Prometheus.

https://prometheus.io/docs/instrumenting/exposition_formats/. It needs a token like everything else, unless a setting opens
it, and is answered however much is going on: it matters most when the service is overloaded.
"""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from adapters.rest.calls import Call
from adapters.rest.operations import Answer, Operation
from domain.errors import NotFoundError

TEXT: Final = "text/plain"
_CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


async def metrics(call: Call) -> Response:
    """GET /metrics."""
    exposition = call.services.exposition
    if exposition is None:
        raise NotFoundError("Nothing is measured here.")
    return Response(await exposition(), 200, {"Content-Type": _CONTENT_TYPE})


OPERATIONS = (
    Operation(
        "metrics",
        "GET",
        "/metrics",
        metrics,
        "What the process has counted",
        "Running",
        {200: Answer("Metrics in the text format of Prometheus.", media=(TEXT,))},
        problems=("not-found",),
        produces=(TEXT,),
        always=True,
    ),
)
