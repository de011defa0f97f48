"""W1 and W2 on a node: three steps, many at a time and one alone; the third step refuses and two are undone.

The clock runs from the start of an orchestration to its recorded end. That they ended as they should is looked at
afterwards.
"""

from __future__ import annotations

import asyncio
import gc
import time
from statistics import quantiles

from adapters.bootstrap import Service
from application.service import StartRequest
from tests.benchmarks.databases import Database, Server
from tests.benchmarks.figures import Value
from tests.benchmarks.node import STEPS, UNDONE
from tests.benchmarks.processes import processor_s
from tests.benchmarks.workloads import Sizes

ENDS = {STEPS: "completed", UNDONE: "compensated"}
_LOOKED_AT = 200
_PATIENCE_S = 60.0


async def w1(service: Service, database: Database, sizes: Sizes) -> list[Value]:
    await many(service, STEPS, sizes.warm_up, sizes.at_once)
    return [
        *await alone(service, sizes.alone),
        *await timed(service, STEPS, sizes.sagas, sizes.at_once, database.server),
    ]


async def w2(service: Service, database: Database, sizes: Sizes) -> list[Value]:
    await many(service, UNDONE, sizes.warm_up, sizes.at_once)
    return await timed(service, UNDONE, sizes.sagas, sizes.at_once, database.server)


async def timed(
    service: Service, definition: str, count: int, at_once: int, database_server: Server | None
) -> list[Value]:
    """Rate and cost of `count` sagas. The cost is the processor time of this process and of a database server of ours."""
    server = database_server.pid if database_server else None
    gc.collect()
    wall, cpu, theirs = time.perf_counter(), time.process_time(), processor_s(server) if server else 0.0
    ids = await many(service, definition, count, at_once)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    values = {"sagas_per_s": count / wall, "wall_us": wall / count * 1e6, "cpu_us": cpu / count * 1e6}
    if server:
        values["database_cpu_us"] = (processor_s(server) - theirs) / count * 1e6
    await look(service, ids, ENDS[definition])
    return [Value(metric, value) for metric, value in values.items()]


async def many(service: Service, definition: str, count: int, at_once: int) -> list[str]:
    """Sagas, so many at a time; their ids once all have ended."""
    slots = asyncio.Semaphore(at_once)

    async def one(number: int) -> str:
        async with slots:
            return await saga(service, definition, number)

    return await asyncio.gather(*(one(number) for number in range(count)))


async def alone(service: Service, count: int) -> list[Value]:
    """One saga at a time."""
    times = []
    for number in range(count):
        start = time.perf_counter()
        await saga(service, STEPS, number)
        times.append((time.perf_counter() - start) * 1000)
    cuts = quantiles(times, n=100)
    return [Value("p50_ms", cuts[49]), Value("p99_ms", cuts[98])]


async def saga(service: Service, definition: str, number: int) -> str:
    public_id = await service.node.commands.start(StartRequest(definition=definition, input={"n": number}))
    await service.node.queries.wait(public_id, _PATIENCE_S)
    return public_id


async def look(service: Service, ids: list[str], end: str) -> None:
    """Raises AssertionError when some of these orchestrations (so many of them, evenly spread) did not end like this."""
    for public_id in ids[:: max(1, len(ids) // _LOOKED_AT)]:
        status = (await service.node.queries.status(public_id))["status"]
        assert status == end, f"{public_id} is {status}, not {end}"
