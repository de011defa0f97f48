"""The systems that are measured. This file has Retrace; the peers are in `peers`."""

from __future__ import annotations

import os
import sys
from typing import Protocol

import msgspec

from retrace import __version__
from tests.benchmarks import growth, nodes, retrace_server
from tests.benchmarks.databases import Kind, Server, fresh
from tests.benchmarks.figures import Value
from tests.benchmarks.http_load import wrk
from tests.benchmarks.node import STEPS, UNDONE
from tests.benchmarks.processes import measure
from tests.benchmarks.tables import EVERY_CORE
from tests.benchmarks.workloads import Sizes, Workload

ONE_RUN = (sys.executable, "-m", "tests.benchmarks.one_run")


class System(Protocol):
    """Something that does the workloads."""

    name: str
    """In results, e.g. ``retrace-postgresql``."""

    def about(self) -> str:
        """Version and settings, for people."""
        ...

    def does(self, workload: Workload) -> bool: ...

    def sizes(self, workload: Workload, sizes: Sizes) -> Sizes:
        """How much of it this system does in a run."""
        ...

    def rounds(self, workload: Workload, rounds: int) -> int:
        """How many of so many rounds it takes part in."""
        ...

    def run(self, workload: Workload, sizes: Sizes) -> list[Value]:
        """One run from nothing. Raises RunFailedError."""
        ...


class Retrace:
    """Retrace on one of its databases."""

    def __init__(self, kind: Kind, server: Server | None) -> None:
        self.name = f"retrace-{kind}"
        self._kind: Kind = kind
        self._server = server

    def about(self) -> str:
        database = f"PostgreSQL {self._server.version}, default settings" if self._server else "WAL, synchronous=FULL"
        return f"Retrace {__version__}, one process, uvloop, 16 partitions; {database}"

    def does(self, workload: Workload) -> bool:
        return workload != "w6" or self._server is not None

    def sizes(self, workload: Workload, sizes: Sizes) -> Sizes:
        return sizes

    def rounds(self, workload: Workload, rounds: int) -> int:
        """One of W5: it measures each of its points three times."""
        return 1 if workload == "w5" else rounds

    def run(self, workload: Workload, sizes: Sizes) -> list[Value]:
        if workload == "w5":
            return growth.w5(self._kind, self._server, sizes)
        if workload == "w4":
            with fresh(self._kind, self._server) as database:
                return retrace_server.serve(database.url, sizes, wrk)
        if workload == "w6":
            return nodes.w6(self._server, sizes)
        return self._measured(workload, sizes)

    def _measured(self, what: str, sizes: Sizes) -> list[Value]:
        with fresh(self._kind, self._server) as database:
            order = msgspec.to_builtins({"measure": what, "database": database, "sizes": sizes})
            return measure(ONE_RUN, order, sizes.limit_s)


class RetraceOnEveryCore:
    """Retrace on PostgreSQL as a machine of several cores runs it: RETRACE_PROCESSES=auto."""

    name = EVERY_CORE

    def __init__(self, server: Server | None) -> None:
        self._server = server

    def about(self) -> str:
        return f"the same with RETRACE_PROCESSES=auto: {os.cpu_count()} nodes"

    def does(self, workload: Workload) -> bool:
        return workload in ("w1", "w2", "w4")

    def sizes(self, workload: Workload, sizes: Sizes) -> Sizes:
        return sizes

    def rounds(self, workload: Workload, rounds: int) -> int:
        return rounds

    def run(self, workload: Workload, sizes: Sizes) -> list[Value]:
        if workload == "w4":
            with fresh("postgresql", self._server) as database:
                return retrace_server.serve(database.url, sizes, wrk, "auto")
        return nodes.every_core(self._server, STEPS if workload == "w1" else UNDONE, sizes)
