"""DBOS as a system, on the same PostgreSQL server as Retrace, in a process of its own Python.

Two ways of writing its programs are measured, and the better one counts: coroutines on one loop, 64 at a time, and plain
functions on threads, 8 at a time, which is where its throughput was best.
"""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

import msgspec
import psycopg

from tests.benchmarks.databases import Database, Server, fresh
from tests.benchmarks.figures import Value
from tests.benchmarks.http_load import Starts, wrk
from tests.benchmarks.peers import installing
from tests.benchmarks.processes import answering, free_port, measure, running
from tests.benchmarks.served import w4
from tests.benchmarks.workloads import Sizes, Workload

_PROGRAM = "tests/benchmarks/peers/programs/dbos_program.py"
_THREADS = 8


class Dbos:
    """DBOS in one of its two ways."""

    def __init__(self, mode: Literal["async", "threads"], server: Server) -> None:
        self.name = "dbos" if mode == "async" else "dbos-threads"
        self._mode = mode
        self._server = server

    def about(self) -> str:
        way = "coroutines" if self._mode == "async" else f"plain functions on threads, {_THREADS} at a time"
        return f"{', '.join(installing.DBOS)}; {way}; default settings; PostgreSQL {self._server.version}"

    def does(self, workload: Workload) -> bool:
        return workload in ("w1", "w2") or (self._mode == "async" and workload in ("w3", "w4"))

    def sizes(self, workload: Workload, sizes: Sizes) -> Sizes:
        """A tenth of the sagas, two fifths of the parked ones; and as many at a time as suits its threads."""
        at_once = _THREADS if self._mode == "threads" else sizes.at_once
        return msgspec.structs.replace(
            sizes,
            warm_up=min(sizes.warm_up, 50),
            sagas=sizes.sagas // 10,
            alone=sizes.alone // 2,
            parked=sizes.parked * 2 // 5,
            at_once=at_once,
        )

    def rounds(self, workload: Workload, rounds: int) -> int:
        """One of W3, which takes minutes."""
        return 1 if workload == "w3" else rounds

    def run(self, workload: Workload, sizes: Sizes) -> list[Value]:
        with fresh("postgresql", self._server) as database:
            if workload == "w4":
                return _serve(database, sizes)
            order = {
                "measure": workload,
                "mode": self._mode,
                "url": _sqlalchemy(database.url),
                "sizes": msgspec.to_builtins(sizes),
            }
            return measure((str(installing.DBOS_PYTHON), _PROGRAM), order, sizes.limit_s)


def _serve(database: Database, sizes: Sizes) -> list[Value]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = (str(installing.DBOS_PYTHON), _PROGRAM, "serve", _sqlalchemy(database.url), str(port))
    with (
        running(command) as (process, said),
        psycopg.connect(database.url, autocommit=True) as connection,
    ):
        answering(process, said, f"{url}/ready")

        def count(statuses: str) -> int:
            query = "SELECT count(*) FROM dbos.workflow_status WHERE status = ANY(%s)"
            row = connection.execute(query, [statuses.split()]).fetchone()
            return int(row[0]) if row else 0

        return w4(
            Starts(f"{url}/start", '{"n": 1}'),
            unfinished=lambda: count("PENDING ENQUEUED") > 0,
            ended=lambda: count("SUCCESS"),
            sizes=sizes,
            load=wrk,
        )


def _sqlalchemy(url: str) -> str:
    return urlsplit(url)._replace(scheme="postgresql+psycopg").geturl()
