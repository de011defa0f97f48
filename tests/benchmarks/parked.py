"""W3 on a node: many orchestrations are started and wait for an event; then each gets its event, does a step and ends."""

from __future__ import annotations

import asyncio
import os
import time

from adapters.bootstrap import Service
from application.service import StartRequest
from tests.benchmarks.databases import Database
from tests.benchmarks.figures import Value, parked_values
from tests.benchmarks.node import PARKED
from tests.benchmarks.processes import resident_mb
from tests.benchmarks.sagas import look
from tests.benchmarks.workloads import Sizes

_PATIENCE_S = 120.0


async def w3(service: Service, database: Database, sizes: Sizes) -> list[Value]:
    """`ended_s` counts from the first signal. The memory is that of this process and its children, the larger of while
    they wait and after they have ended; a database server is not in it.
    """
    begun = time.perf_counter()
    ids = await park(service, sizes.parked, sizes.at_once)
    started_s = time.perf_counter() - begun
    waiting_mb = resident_mb(os.getpid())
    slots = asyncio.Semaphore(sizes.at_once)

    async def signal(public_id: str) -> None:
        event = {"specversion": "1.0", "id": public_id, "source": "bench", "type": "bench.go", "data": {}}
        async with slots:
            await service.node.commands.send_event(public_id, event)
            signalled.append(time.perf_counter())
        await service.node.queries.wait(public_id, _PATIENCE_S)

    signalled: list[float] = []
    begun = time.perf_counter()
    await asyncio.gather(*(signal(public_id) for public_id in ids))
    ended_s, signalled_s = time.perf_counter() - begun, signalled[-1] - begun
    memory_mb = max(waiting_mb, resident_mb(os.getpid()))
    await look(service, ids, "completed")
    return parked_values(len(ids), started_s, signalled_s, ended_s, memory_mb)


async def park(service: Service, count: int, at_once: int) -> list[str]:
    """Start orchestrations that wait; their ids."""
    slots = asyncio.Semaphore(at_once)

    async def one(number: int) -> str:
        async with slots:
            return await service.node.commands.start(StartRequest(definition=PARKED, input={"n": number}))

    return await asyncio.gather(*(one(number) for number in range(count)))
