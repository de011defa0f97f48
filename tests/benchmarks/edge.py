"""``make bench-edge``: what one request costs at the edge, in processor time of the serving process.

The real server (uvicorn as `retrace serve` sets it up) and the real API stand over use cases that answer at once, so what
is left is reading the request, routing, validation, the answer, and the sockets. `wrk` (a Debian package) asks over 32
connections of which each is always waiting for an answer; the serving process tells how much processor time it used.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import re
import shutil
import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import msgspec
import uvicorn
import uvloop

from adapters.cli import hosting
from adapters.rest.app import Services, build_app
from adapters.settings import Settings
from adapters.system import SystemClock, calm_collector
from application.service import Deployed
from tests.integration.rest_scripted import ID, ScriptedCommands, ScriptedQueries, status_of
from tests.simulation.memory_storage import MemoryStorage

_TASKS = [
    {
        "name": name,
        "reference": f"/do/{index}/{name}",
        "run": 1,
        "kind": "call",
        "status": "completed",
        "attempts": 1,
        "started_at": "2026-11-23T10:00:00.000000Z",
        "ended_at": "2026-11-23T10:00:00.000000Z",
        "output": {"n": 1},
        "error": None,
        "child": None,
        "compensation": {"status": "none", "attempts": 0, "error": None},
    }
    for index, name in enumerate(("first", "second", "third"))
]
_SCHEMA = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}


class _Commands(ScriptedCommands):
    async def start(self, request: Any) -> str:
        return ID


class _Queries(ScriptedQueries):
    async def status(self, id_: str, **_: Any) -> dict[str, Any]:
        return status_of(id_, input={"n": 1}, parent=None, tasks=_TASKS, tasks_total=3)

    async def list(self, request: Any) -> dict[str, Any]:
        return {"items": [], "next": None, "as_of": "2026-11-23T10:00:00Z", "lag_ms": 0.0}


class _Definitions:
    async def resources(self) -> dict[str, Any]:
        made = datetime(2026, 11, 23, tzinfo=UTC)
        owner = Deployed(True, "default", "demo", "1.0.0", "sha256:00", "registrations", made, [])
        return {"registrations": (owner, _SCHEMA, {})}


class Request(NamedTuple):
    """One kind of request, as wrk sends it."""

    name: str
    method: str
    path: str
    body: str = ""


REQUESTS = (
    Request("start", "POST", "/v1/orchestrations", '{"definition": "bench/steps", "input": {"n": 1}}'),
    Request("start of a resource", "POST", "/registrations", '{"n": 1}'),
    Request("status", "GET", f"/v1/orchestrations/{ID}"),
    Request("status of a resource", "GET", f"/registrations/{ID}"),
    Request("list", "GET", "/v1/orchestrations?status=running&limit=10"),
    Request("health", "GET", "/healthz"),
)


def _app() -> Any:
    async def ready() -> dict[str, Any]:
        return {"ready": True}

    return build_app(
        Services(
            commands=_Commands(),
            queries=_Queries(),  # type: ignore[arg-type]
            definitions=_Definitions(),  # type: ignore[arg-type]
            operations=None,  # type: ignore[arg-type]
            what_if=None,  # type: ignore[arg-type]
            verification=None,  # type: ignore[arg-type]
            projections=None,  # type: ignore[arg-type]
            schedules=None,  # type: ignore[arg-type]
            requests=MemoryStorage().requests,
            clock=SystemClock().now,
            ready=ready,
        )
    )


def _serve(telling: Any) -> None:
    listener = hosting.bind("127.0.0.1", 0)
    telling.send(listener.getsockname()[1])
    config = hosting._config(Settings(database="sqlite:///unused.db"), _app())
    calm_collector()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(uvicorn.Server(config).serve(sockets=[listener]))


def _used_s(pid: int) -> float:
    """Processor time of a process so far (Linux): the user's and the system's, fields 14 and 15 of its line."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _ask(request: Request, port: int, seconds: int, folder: str) -> int:
    """Lets wrk ask; how many answers came. Answers that are no success fail the measurement."""
    script = Path(folder) / "request.lua"
    lines = [f'wrk.method = "{request.method}"']
    if request.body:
        lines += [f"wrk.body = {msgspec.json.encode(request.body).decode()}"]
        lines += ['wrk.headers["Content-Type"] = "application/json"']
    script.write_text("\n".join(lines))
    url = f"http://127.0.0.1:{port}{request.path}"
    command = ["wrk", "-t1", "-c32", f"-d{seconds}s", "-s", str(script), url]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in told or "Socket errors" in told:
        raise SystemExit(told)
    found = re.search(r"(\d+) requests in", told)
    assert found is not None, told
    return int(found[1])


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-edge", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--only", help="Requests whose name contains this.")
    chosen = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed; on Debian: apt-get install wrk")
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    server = context.Process(target=_serve, args=(there,), daemon=True)
    server.start()
    port, pid = here.recv(), server.pid
    assert pid is not None
    print("| request | CPU us | answers/s |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for request in REQUESTS:
            if chosen.only and chosen.only not in request.name:
                continue
            _ask(request, port, 1, folder)
            costs, rates = [], []
            for _ in range(chosen.rounds):
                before = _used_s(pid)
                count = _ask(request, port, chosen.seconds, folder)
                costs.append((_used_s(pid) - before) / count * 1e6)
                rates.append(count / chosen.seconds)
            print(f"| {request.name} | {median(costs):.0f} | {median(rates):,.0f} |", flush=True)
    server.terminate()
    server.join()


if __name__ == "__main__":
    main()
