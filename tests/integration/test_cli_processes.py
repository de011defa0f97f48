"""`retrace serve` with RETRACE_PROCESSES: nodes that share a port, replace each other, and end together."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from adapters.cli.processes import Processes
from retrace.client import Client
from tests.integration.test_cli_servers import log_line, refused, running

CHAIN = """\
document: {dsl: '1.0.3', namespace: demo, name: chain, version: '1.0.0'}
do:
  - one: {set: {x: 1}}
"""
pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="asks /proc for the children of a process")


def children(pid: int) -> set[int]:
    """Nodes: the children that are in process groups of their own."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return {int(child) for child in listed}


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def until(holds: Callable[[], bool]) -> None:
    """Nobody tells a test of the end of somebody else's child: look again and again."""
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end
        os.sched_yield()


@contextlib.contextmanager
def serving(folder: Path, database: str) -> Iterator[tuple[int, str]]:
    (folder / "chain.yaml").write_text(CHAIN)
    settings = {"database": database, "definitions": str(folder), "processes": "2", "partitions": "4"}
    with running(folder, "serve", "--port", "0", **settings) as process:
        urls = {str(log_line(process, "serving")["url"]) for _ in range(2)}
        [url] = urls
        yield process.pid, url
        for child in children(process.pid):
            os.kill(child, signal.SIGKILL)


def run_one(client: Client) -> None:
    for status in client.follow(client.start("demo/chain", {})["id"]):
        if status["status"] == "completed":
            return
    raise AssertionError("it did not complete")


def test_nodes_share_a_port_and_one_that_is_killed_is_replaced(tmp_path, fresh_postgres):
    with serving(tmp_path, fresh_postgres) as (parent, url), Client(url) as client:
        first = children(parent)
        assert len(first) == 2
        run_one(client)
        victim = first.pop()
        os.kill(victim, signal.SIGKILL)
        until(lambda: len(children(parent) - {victim}) == 2)
        run_one(client)


def by_process(text: str, metric: str) -> dict[str, float]:
    return {
        number: float(value)
        for number, value in re.findall(rf'^{metric}{{.*process="(\d)".*}} (\S+)$', text, re.MULTILINE)
    }


def test_one_of_them_tells_of_all(tmp_path, fresh_postgres):
    """Metrics and circuits: whichever process takes the request."""
    with (
        serving(tmp_path, fresh_postgres) as (parent, url),
        Client(url) as client,
        httpx2.Client(base_url=url, timeout=60) as http,
    ):
        for _ in range(3):
            run_one(client)
        # While partitions are spread over the two, one may be between them.
        until(lambda: sum(by_process(http.get("/metrics").text, "retrace_partitions_held").values()) == 4)
        text = http.get("/metrics").text
        assert by_process(text, "retrace_process_up") == {"1": 1, "2": 1}
        assert sum(by_process(text, "retrace_orchestrations_started_total").values()) == 3
        assert text.count("# TYPE retrace_info gauge") == 1
        found = http.post("/v1/circuits/open", json={"host": "http://car.test", "reason": "moving"}).json()["items"]
        assert {each["node"] for each in found} == {each["node"] for each in client.nodes()["items"]}
        assert len(client.circuits()) == 2
        assert {each["state"] for each in client.close_circuit("http://car.test:80")} == {"closed"}
        victim = min(children(parent))
        os.kill(victim, signal.SIGKILL)

        def all_answer() -> bool:
            with contextlib.suppress(httpx2.TransportError):  # a connection to the victim
                return by_process(http.get("/metrics").text, "retrace_process_up") == {"1": 1, "2": 1}
            return False

        until(all_answer)


def test_a_signal_to_the_parent_ends_all_in_order(tmp_path, fresh_postgres):
    with serving(tmp_path, fresh_postgres) as (parent, _):
        nodes = children(parent)
        os.kill(parent, signal.SIGTERM)
        until(lambda: all(map(gone, nodes)) and gone(parent))


def test_nodes_do_not_outlive_a_parent_that_is_killed(tmp_path, fresh_postgres):
    with serving(tmp_path, fresh_postgres) as (parent, _):
        nodes = children(parent)
        os.kill(parent, signal.SIGKILL)
        until(lambda: all(map(gone, nodes)))
        until(lambda: gone(parent))


@contextlib.contextmanager
def handlers() -> Iterator[None]:
    """The handlers of signals are afterwards as they were."""
    formers = [(number, signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGINT)]
    yield
    for number, former in formers:
        signal.signal(number, former)


def test_a_signal_that_comes_as_a_process_is_born_ends_it(monkeypatch):
    processes = Processes(1, lambda _parent, _serves, _number: 3)
    first_that_it_does = "setpgid"
    monkeypatch.setattr(os, first_that_it_does, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    with handlers():
        signal.signal(signal.SIGTERM, processes._stop)
        os.close(processes._start(1))
        _, status = os.waitpid(next(iter(processes._born)), 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGTERM


def opened() -> int:
    """How many files and pipes this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("later", [0, 3])
def test_processes_are_replaced_as_often_as_it_takes_and_leave_nothing_open(monkeypatch, later):
    """`later`: how all but the first of them end; they may not even start while the database is away."""
    begun: list[int] = []

    def fork(fork: Callable[[], int] = os.fork) -> int:
        begun.append(fork())
        return begun[-1]

    def node(_parent: int, serves: Callable[[], None], number: int) -> int:
        assert number == 1, "it takes the number of the one that it replaces"
        first = len(begun) == 1
        if first:
            serves()
        return 0 if first else later

    def ended() -> tuple[int, int]:
        if len(begun) == 6:
            processes._stopping = True
        return os.waitpid(begun[-1], 0)

    monkeypatch.setattr(os, "fork", fork)
    monkeypatch.setattr(os, "wait", ended)
    monkeypatch.setattr("adapters.cli.processes._PAUSE_S", 0)
    processes = Processes(1, node)
    before = opened()
    with handlers():
        assert processes.run() == later
    assert len(begun) == 6
    assert opened() == before


def test_what_keeps_a_node_from_starting_is_told_once(tmp_path, fresh_postgres):
    (tmp_path / "broken.yaml").write_text(CHAIN.replace("set", "sett"))
    code, err = refused(
        tmp_path, "serve", "--port", "0", database=fresh_postgres, definitions=str(tmp_path), processes="2"
    )
    assert code == 1
    assert err.count("unknown keyword") == 1


def test_a_sqlite_database_has_one_process(tmp_path):
    code, err = refused(tmp_path, "serve", "--port", "0", database="sqlite:///x.db", processes="2")
    assert code == 2
    assert "RETRACE_PROCESSES=2: a SQLite database has one process" in err
