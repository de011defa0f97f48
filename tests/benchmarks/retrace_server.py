"""W4 on Retrace: `retrace serve` in a process of its own, spoken to over HTTP like by any client."""

from __future__ import annotations

import json
import sys
from typing import Any
from urllib.parse import quote

from tests.benchmarks.figures import Value
from tests.benchmarks.http_load import Generator, Starts
from tests.benchmarks.node import DEFINITIONS, FUNCTIONS, STEPS
from tests.benchmarks.processes import RunFailedError, answering, asked, free_port, running
from tests.benchmarks.served import w4
from tests.benchmarks.workloads import Sizes


def serve(database_url: str, sizes: Sizes, load: Generator, processes: str = "1") -> list[Value]:
    """Measure W4 on this database. `processes`: as ``RETRACE_PROCESSES`` has it."""
    port = free_port()
    settings = {
        "RETRACE_DATABASE": database_url,
        "RETRACE_PORT": str(port),
        "RETRACE_DEFINITIONS": str(DEFINITIONS),
        "RETRACE_FUNCTIONS": str(FUNCTIONS),
        "RETRACE_AUTH": "none",
        "RETRACE_PROCESSES": processes,
    }
    url = f"http://127.0.0.1:{port}"
    with running([sys.executable, "-m", "retrace", "serve"], **settings) as (process, said):
        answering(process, said, f"{url}/readyz")
        body = json.dumps({"definition": STEPS, "input": {"n": 1}})
        return w4(
            Starts(f"{url}/v1/orchestrations", body),
            unfinished=lambda: bool(_page(url, "status=running&limit=1")["items"]),
            ended=lambda: _count(url, "status=completed"),
            sizes=sizes,
            load=load,
        )


def _count(url: str, query: str) -> int:
    """Pages through a list to its end."""
    found, cursor = 0, ""
    while True:
        page = _page(url, f"{query}&limit=500{cursor}")
        found += len(page["items"])
        if page["next"] is None:
            return found
        cursor = f"&cursor={quote(page['next'])}"


def _page(url: str, query: str) -> dict[str, Any]:
    status, page = asked("GET", f"{url}/v1/orchestrations?{query}")
    if status != 200:
        raise RunFailedError(f"a list was answered with {status}: {page}")
    return dict(page)
