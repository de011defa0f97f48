"""The workloads: three-step sagas 64 at a time and alone, and many parked orchestrations."""

from __future__ import annotations

import asyncio
import gc
import time
from pathlib import Path
from statistics import quantiles

import msgspec

from adapters.bootstrap import Service
from application.service import StartRequest

STEPS, PARKED = "bench/steps", "bench/parked"


class Throughput(msgspec.Struct, frozen=True):
    sagas_per_s: float
    events_per_s: float
    cpu_us_per_saga: float


class Latency(msgspec.Struct, frozen=True):
    p50_ms: float
    p99_ms: float


class Parked(msgspec.Struct, frozen=True):
    count: int
    start_s: float
    signal_s: float
    resident_mb: float
    grown_mb: float


async def _saga(service: Service, number: int) -> str:
    public_id = await service.node.commands.start(StartRequest(definition=STEPS, input={"n": number}))
    await service.node.queries.wait(public_id, 60.0)
    return public_id


async def throughput(service: Service, count: int, at_once: int) -> Throughput:
    """Sagas of three in-process functions, from the start to the recorded end."""
    slots = asyncio.Semaphore(at_once)

    async def one(number: int) -> str:
        async with slots:
            return await _saga(service, number)

    await asyncio.gather(*(one(n) for n in range(at_once)))
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    ids = await asyncio.gather(*(one(n) for n in range(count)))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    version = (await service.node.queries.status(ids[-1]))["version"]
    return Throughput(count / wall, count * version / wall, cpu / count * 1e6)


async def alone(service: Service, count: int) -> Latency:
    """One saga at a time."""
    times = []
    for number in range(count):
        start = time.perf_counter()
        await _saga(service, number)
        times.append((time.perf_counter() - start) * 1000)
    cuts = quantiles(times, n=100)
    return Latency(cuts[49], cuts[98])


async def parked(service: Service, count: int, at_once: int) -> Parked:
    """Orchestrations that wait for an event, then all get it."""
    slots = asyncio.Semaphore(at_once)
    commands = service.node.commands

    async def park(_: int) -> str:
        async with slots:
            return await commands.start(StartRequest(definition=PARKED, input={}))

    async def signal(public_id: str) -> None:
        async with slots:
            event = {"specversion": "1.0", "id": public_id, "source": "bench", "type": "bench.go", "data": {}}
            await commands.send_event(public_id, event)
            await service.node.queries.wait(public_id, 60.0)

    before = resident_mb()
    start = time.perf_counter()
    ids = await asyncio.gather(*(park(n) for n in range(count)))
    started = time.perf_counter() - start
    now = resident_mb()
    start = time.perf_counter()
    await asyncio.gather(*(signal(public_id) for public_id in ids))
    return Parked(count, started, time.perf_counter() - start, now, now - before)


def resident_mb() -> float:
    """Resident memory of this process (Linux)."""
    gc.collect()
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    line = next(line for line in lines if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024
