"""W5 on a node: what a saga of W1 costs while more and more orchestrations have ended, and wait, in the database.

Two databases, one that fills with finished and one that fills with parked ones. The sagas that are measured end too, so
they count among the finished. Every point is measured three times in a row, which are its three runs: between them the
database only grows by what was measured. Three runs in a row fall into one moment of the machine, which may be a bad one, so
each of them waits until what came before is worked off and the machine is quiet.
"""

from __future__ import annotations

import asyncio

from adapters.bootstrap import Service
from tests.benchmarks.databases import Database
from tests.benchmarks.figures import Value
from tests.benchmarks.machine import quiet
from tests.benchmarks.node import STEPS
from tests.benchmarks.parked import park
from tests.benchmarks.sagas import many, timed
from tests.benchmarks.workloads import Sizes

_TIMES = 3


async def finished(service: Service, database: Database, sizes: Sizes) -> list[Value]:
    """Cost at each number of finished ones."""
    return await _growing(service, database, sizes, "finished")


async def parked(service: Service, database: Database, sizes: Sizes) -> list[Value]:
    """Cost at each number of parked ones."""
    return await _growing(service, database, sizes, "parked")


async def _growing(service: Service, database: Database, sizes: Sizes, what: str) -> list[Value]:
    await many(service, STEPS, sizes.warm_up, sizes.at_once)
    values: list[Value] = []
    there = sizes.warm_up if what == "finished" else 0
    for goal in sizes.growth:
        missing = max(0, goal - there)
        if what == "finished":
            await many(service, STEPS, missing, sizes.at_once)
            there += missing + _TIMES * sizes.growth_sagas
        else:
            await park(service, missing, sizes.at_once)
            there += missing
        for _ in range(_TIMES):
            await service.node.projector.caught_up()
            if sizes.quiet_s:
                await asyncio.to_thread(quiet, sizes.quiet_s)
            values += await timed(service, STEPS, sizes.growth_sagas, sizes.at_once, database, f"{what} {goal}")
    return values
