"""Restate as a system: its server, and a service written with one of its SDKs, each in processes of their own.

The server keeps its own log on disk, on the disk of RETRACE_BENCH_FOLDER; its settings are the defaults but for addresses,
telemetry and the level of its log. The Python service is served by hypercorn with the configuration that Restate's
documentation gives for production, with a worker per core.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from tests.benchmarks.figures import Value
from tests.benchmarks.http_load import Starts, wrk
from tests.benchmarks.peers import installing, restate_driver
from tests.benchmarks.processes import RunFailedError, answering, asked, free_port, listening, running, until
from tests.benchmarks.served import w4
from tests.benchmarks.workloads import Sizes, Workload

Sdk = Literal["python", "typescript"]
_PROGRAMS = Path(__file__).parent / "programs"
_OPENS_WITHIN_S = 60.0
_CONFIGURATION = """
cluster-name = "bench"
node-name = "n1"
base-dir = "{folder}"
listen-mode = "tcp"
bind-ip = "127.0.0.1"
bind-port = {fabric}
disable-telemetry = true
log-filter = "warn"
[ingress]
bind-address = "127.0.0.1:{ingress}"
[admin]
bind-address = "127.0.0.1:{admin}"
disable-web-ui = true
"""
_HYPERCORN = """
bind = "127.0.0.1:{port}"
h2_max_concurrent_streams = 2147483647
keep_alive_max_requests = 2147483647
keep_alive_timeout = 2147483647
workers = {workers}
"""


class Restate:
    """Restate with one of its SDKs."""

    def __init__(self, sdk: Sdk) -> None:
        self.name = f"restate-{sdk}"
        self._sdk: Sdk = sdk

    def about(self) -> str:
        server, typescript, node = installing.PACKAGES
        python = f"{', '.join(installing.RESTATE)}, production configuration, {os.cpu_count()} workers"
        return f"{server}, default settings but for addresses, telemetry off and the log at warn; " + (
            python if self._sdk == "python" else f"{typescript}, {node}"
        )

    def does(self, workload: Workload) -> bool:
        return workload in ("w1", "w2", "w3", "w4")

    def sizes(self, workload: Workload, sizes: Sizes) -> Sizes:
        """Two fifths of the sagas."""
        return msgspec.structs.replace(sizes, sagas=sizes.sagas * 2 // 5, alone=sizes.alone // 2)

    def rounds(self, workload: Workload, rounds: int) -> int:
        """One of W3, which takes minutes."""
        return 1 if workload == "w3" else rounds

    def run(self, workload: Workload, sizes: Sizes) -> list[Value]:
        with _server() as (pid, ingress, admin), _service(self._sdk) as (service_pid, port):
            _register(ingress, admin, port)
            place = restate_driver.Place(ingress, admin, (pid, service_pid))
            if workload == "w4":
                return w4(
                    Starts(f"{ingress}/Steps/KEY/run/send", "1", keyed=True),
                    unfinished=lambda: restate_driver.count(admin, "status <> 'completed'") > 0,
                    ended=lambda: restate_driver.count(admin, "completion_result = 'success'"),
                    sizes=sizes,
                    load=wrk,
                )
            return restate_driver.measure(workload, place, sizes)


def _register(ingress: str, admin: str, port: int) -> None:
    """Make the service known, and wait until the server can do with it whatever a run asks: a new server answers before
    its partitions have leaders.
    """
    status, said = asked("POST", f"{admin}/deployments", {"uri": f"http://127.0.0.1:{port}"})
    if status != 201:
        raise RunFailedError(f"the service was not taken: {status} {said}")
    query = {"query": "SELECT count(*) AS n FROM sys_invocation"}
    until(lambda: asked("POST", f"{admin}/query", query)[0] == 200, "Restate's partitions are open", _OPENS_WITHIN_S)
    status, said = asked("POST", f"{ingress}/Steps/first/run", 1)
    if status != 200:
        raise RunFailedError(f"the first workflow failed: {status} {said}")


@contextlib.contextmanager
def _server() -> Iterator[tuple[int, str, str]]:
    """A server with nothing in it: its process, the URLs of ingress and admin."""
    fabric, ingress, admin = free_port(), free_port(), free_port()
    with tempfile.TemporaryDirectory(dir=os.environ.get("RETRACE_BENCH_FOLDER", ".")) as folder:
        file = Path(folder) / "restate.toml"
        data = Path(folder).absolute() / "data"
        file.write_text(_CONFIGURATION.format(folder=data, fabric=fabric, ingress=ingress, admin=admin))
        with running([str(installing.restate_server()), "--config-file", str(file)]) as (process, said):
            answering(process, said, f"http://127.0.0.1:{admin}/health")
            answering(process, said, f"http://127.0.0.1:{ingress}/restate/health")
            yield process.pid, f"http://127.0.0.1:{ingress}", f"http://127.0.0.1:{admin}"


@contextlib.contextmanager
def _service(sdk: Sdk) -> Iterator[tuple[int, int]]:
    """The service of the benchmark: its process and port."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        command: Sequence[str]
        if sdk == "python":
            file = Path(folder) / "hypercorn.toml"
            file.write_text(_HYPERCORN.format(port=port, workers=os.cpu_count() or 1))
            program = f"{_PROGRAMS / 'restate_program.py'}:app"
            command = [str(installing.RESTATE_PYTHON), "-m", "hypercorn", "--config", str(file), program]
        else:
            # The SDK is found from the folder of the program.
            program = str(installing.NPM / "restate_program.mjs")
            Path(program).write_text((_PROGRAMS / "restate_program.mjs").read_text())
            command = [str(installing.NODE), program]
        with running(command, PORT=str(port), RESTATE_LOGGING="ERROR") as (process, said):
            listening(process, said, port)
            yield process.pid, port
