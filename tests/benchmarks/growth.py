"""W5: what a saga of W1 costs while 1, 10 and 100 thousand orchestrations have ended, or wait, in the database.

Every point has a node and a database of its own, filled before anything is measured; then the points are measured in
turn, three times round, so that a slow change of the machine meets all alike. The sagas that are measured end too, so
they count among the finished. Each measurement waits until what came before is worked off and the machine is quiet.
"""

from __future__ import annotations

import contextlib
from typing import Literal

import msgspec

from tests.benchmarks.databases import Kind, Server, fresh
from tests.benchmarks.figures import Value
from tests.benchmarks.machine import quiet
from tests.benchmarks.node import STEPS
from tests.benchmarks.nodes import NodeProcess
from tests.benchmarks.workloads import Sizes

What = Literal["finished", "parked"]
_TIMES = 3


def w5(kind: Kind, server: Server | None, sizes: Sizes) -> list[Value]:
    """Costs at each number of finished ones, then at each number of parked ones. Raises RunFailedError."""
    return _growth(kind, server, sizes, "finished") + _growth(kind, server, sizes, "parked")


def _growth(kind: Kind, server: Server | None, sizes: Sizes, what: What) -> list[Value]:
    values: list[Value] = []
    with contextlib.ExitStack() as stack:
        points: list[tuple[int, NodeProcess]] = []
        for goal in sizes.growth:
            node = NodeProcess(stack.enter_context(fresh(kind, server)).url)
            stack.callback(node.close)
            node.told()
            _fill(node, sizes, what, goal)
            points.append((goal, node))
        for _ in range(_TIMES):
            for goal, node in points:
                node.ask("settled")
                quiet(sizes.quiet_s)
                answer = node.ask(
                    "measured",
                    definition=STEPS,
                    count=sizes.growth_sagas,
                    at_once=sizes.at_once,
                    server=msgspec.to_builtins(server),
                )
                values += [Value(metric, value, f"{what} {goal}") for metric, value in answer.items()]
    return values


def _fill(node: NodeProcess, sizes: Sizes, what: What, goal: int) -> None:
    warm_up = min(sizes.warm_up, goal)
    node.ask("sagas", definition=STEPS, count=warm_up, at_once=sizes.at_once)
    if what == "parked":
        node.ask("park", count=goal, at_once=sizes.at_once)
    elif goal > warm_up:
        node.ask("sagas", definition=STEPS, count=goal - warm_up, at_once=sizes.at_once)
