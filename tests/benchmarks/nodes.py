"""W6: the same sagas on 1, 2, 4 nodes over one PostgreSQL, and the time in which a node takes over from a killed one.

Nodes are processes; their partitions spread by themselves, and the clock starts when each has its share. The sagas are
divided evenly, and the rate is that of all together, from the first start to the last end.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import psutil

from tests.benchmarks.databases import Server, fresh
from tests.benchmarks.figures import Value
from tests.benchmarks.node import STEPS
from tests.benchmarks.processes import ROOT, RunFailedError, end, environment, until
from tests.benchmarks.workloads import Sizes

_SPREAD_LIMIT_S = 60.0
_LOADED_S = 1.0


class NodeProcess:
    """The parent's side of `one_node`."""

    def __init__(self, url: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.one_node", url],
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def tell(self, do: str, **more: Any) -> None:
        """Give an order; its answer is read with `told`."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"do": do, **more}) + "\n")
        self.process.stdin.flush()

    def told(self) -> dict[str, Any]:
        """The next answer. Raises RunFailedError when the node has ended instead."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise RunFailedError(f"a node ended with {self.process.wait()}")
        return dict(json.loads(line))

    def ask(self, do: str, **more: Any) -> dict[str, Any]:
        self.tell(do, **more)
        return self.told()

    def close(self) -> None:
        """End it in order, whatever state it is in."""
        end(self.process)
        for pipe in (self.process.stdin, self.process.stdout):
            # What was not read any more by a node that has ended cannot be flushed either.
            with contextlib.suppress(OSError):
                if pipe:
                    pipe.close()

    def kill(self) -> None:
        """SIGKILL. Its helpers, which would end by themselves, are not left to compete for the processor."""
        helpers = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        self.process.wait()
        for each in helpers:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()


@contextlib.contextmanager
def spread(url: str, count: int) -> Iterator[tuple[list[NodeProcess], int, float]]:
    """So many nodes, once each holds its share; the number of partitions, and the seconds of a lease."""
    nodes: list[NodeProcess] = []
    try:
        nodes.append(NodeProcess(url))
        first = nodes[0].told()
        for _ in range(count - 1):
            nodes.append(NodeProcess(url))
            nodes[-1].told()
        partitions, share = first["held"], first["held"] // count

        def even() -> bool:
            held = [node.ask("held")["held"] for node in nodes]
            return bool(sum(held) == partitions and min(held) >= share)

        until(even, f"{partitions} partitions spread over {count} nodes", _SPREAD_LIMIT_S)
        yield nodes, partitions, first["lease_s"]
    finally:
        for node in nodes:
            node.close()


def w6(server: Server | None, sizes: Sizes) -> list[Value]:
    """All numbers of nodes, then the takeover where there is more than one. Raises RunFailedError."""
    values: list[Value] = []
    for count in sizes.nodes:
        with fresh("postgresql", server) as database, spread(database.url, count) as (nodes, _, _):
            _together(nodes, STEPS, sizes.warm_up, sizes.at_once)
            rate = sizes.node_sagas / _together(nodes, STEPS, sizes.node_sagas, sizes.at_once)
        values.append(Value("sagas_per_s", rate, f"nodes {count}"))
    if max(sizes.nodes) > 1:
        with fresh("postgresql", server) as database, spread(database.url, 2) as (nodes, partitions, lease_s):
            values += _takeover(nodes[0], nodes[1], partitions, lease_s, sizes)
    return values


def every_core(server: Server | None, definition: str, sizes: Sizes) -> list[Value]:
    """W1 or W2 on a node for each core: as many sagas and as many at a time as one node does, all nodes together."""
    count = os.cpu_count() or 1
    with fresh("postgresql", server) as database, spread(database.url, count) as (nodes, _, _):
        _together(nodes, definition, sizes.warm_up, sizes.at_once // count)
        seconds = _together(nodes, definition, sizes.sagas, sizes.at_once // count)
    return [Value("sagas_per_s", sizes.sagas / seconds)]


def _together(nodes: list[NodeProcess], definition: str, count: int, at_once: int) -> float:
    """Seconds for so many sagas, each node its share, `at_once` on each."""
    for node in nodes:
        node.tell("sagas", definition=definition, count=count // len(nodes), at_once=at_once)
    answers = [node.told() for node in nodes]
    return float(max(each["ended"] for each in answers) - min(each["began"] for each in answers))


def _takeover(victim: NodeProcess, heir: NodeProcess, partitions: int, lease_s: float, sizes: Sizes) -> list[Value]:
    """A node dies in the middle of its work. How long until the other one holds everything, and has ended what was open."""
    victim.ask("load", at_once=sizes.at_once)
    time.sleep(_LOADED_S)
    victim.kill()
    limit_s = lease_s * 3 + sizes.limit_s
    taken_over_s = until(lambda: heir.ask("held")["held"] == partitions, "the other node holds everything", limit_s)
    ended_s = until(lambda: not heir.ask("unfinished")["unfinished"], "what the killed node had open ended", limit_s)
    return [
        Value("takeover_s", taken_over_s),
        Value("recovered_s", taken_over_s + ended_s),
        Value("lease_s", lease_s),
    ]
