"""The process of one run of W1, W2 or W3 on Retrace: ``python -m tests.benchmarks.one_run ORDER``.

Its database is fresh and its own, so that no run lives with what an earlier one left in memory or on disk.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable

import msgspec
import uvloop

from adapters.bootstrap import Service
from adapters.cli.logs import configure_logs
from tests.benchmarks.databases import Database
from tests.benchmarks.figures import Value
from tests.benchmarks.node import opened
from tests.benchmarks.parked import w3
from tests.benchmarks.processes import answer
from tests.benchmarks.sagas import w1, w2
from tests.benchmarks.workloads import Sizes

Measure = Callable[[Service, Database, Sizes], Awaitable[list[Value]]]
MEASURES: dict[str, Measure] = {
    "w1": w1,
    "w2": w2,
    "w3": w3,
}


class Order(msgspec.Struct, frozen=True):
    """What to measure, where, how much of it."""

    measure: str
    database: Database
    sizes: Sizes


async def carry_out(order: Order) -> list[Value]:
    """Open a node, measure, close it."""
    async with opened(order.database.url) as service:
        return await MEASURES[order.measure](service, order.database, order.sizes)


def main() -> None:
    configure_logs("json", "warning")
    order = msgspec.json.decode(sys.argv[1], type=Order)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        answer(runner.run(carry_out(order)))


if __name__ == "__main__":
    main()
