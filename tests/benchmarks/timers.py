"""Many timers due in one second: ``python -m tests.benchmarks.timers [COUNT] [--tcp]``.

Orchestrations wait until one instant, all of them, over a SQLite file. While they fire, one
status after the other is read over the API (ASGI, the same process and event loop: what a client would wait for, less the
socket); with ``--tcp`` from another process than that of `retrace serve`, as clients do. Says how long the firing took, whether each fired once, and the delays of the reads.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from typing import Any

import httpx2

from adapters.bootstrap import open_service
from adapters.settings import Settings
from tests.benchmarks.processes import ROOT, answering, free_port, running

DOCUMENT = """
document: {dsl: '1.0.3', namespace: bench, name: timers, version: '1.0.0'}
do: [{w: {wait: '${ $workflow.input.pause }'}}]
"""
AHEAD_S = 0.012
"""Seconds for each start, so that all are started before the first is due."""
AT_ONCE = 100


def measure_over_tcp(count: int) -> dict[str, Any]:
    """Start, wait, read, count: a client and a service, a process each."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder:
        command = [str(ROOT / ".venv/bin/retrace"), "serve", "--port", str(port)]
        more = {"RETRACE_DATABASE": f"sqlite:///{folder}/timers.db", "RETRACE_MAX_IN_PROGRESS": str(count * 2)}
        with running(command, **more) as (process, said):
            answering(process, said, f"{url}/readyz")

            async def ask() -> dict[str, Any]:
                async with httpx2.AsyncClient(base_url=url, timeout=120) as http:
                    return await _measured(http, count)

            return asyncio.run(ask())


async def measure(count: int) -> dict[str, Any]:
    """Start, wait, read, count, in this process."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(database=f"sqlite:///{folder}/timers.db", max_in_progress=count * 2)
        service = await open_service(settings, functions={}, development=True)
        try:
            transport = httpx2.ASGITransport(app=service.app)
            async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=120) as http:
                return await _measured(http, count)
        finally:
            await service.close()


async def _measured(http: httpx2.AsyncClient, count: int) -> dict[str, Any]:
    await http.post("/v1/definitions", content=DOCUMENT.encode(), headers={"Content-Type": "application/yaml"})
    due_at = time.time() + 10 + count * AHEAD_S
    gate = asyncio.Semaphore(AT_ONCE)

    async def start(number: int) -> str:
        async with gate:
            # On a machine that is too slow for this, some begin after they are due: no length of time is negative.
            pause = {"pause": f"PT{max(due_at + number / count - time.time(), 0):.6f}S"}
            answer = await http.post("/v1/orchestrations", json={"definition": "bench/timers", "input": pause})
            return str(answer.raise_for_status().json()["id"])

    ids = await asyncio.gather(*(start(number) for number in range(count)))
    ready_s = due_at - time.time()
    await asyncio.sleep(max(ready_s - 0.5, 0))
    delays = await _reading(http, ids, due_at)
    ended = [(await http.get(f"/v1/orchestrations/{id_}/history")).json()["items"] for id_ in ids]
    fired = [sum(item["type"] == "orchestration.completed" for item in items) for items in ended]
    ends = sorted(items[-1]["at"] for items in ended)
    delays.sort()
    return {
        "timers": count,
        "started before they were due": ready_s > 0,
        "fired once": fired == [1] * count,
        "first and last end": (ends[0], ends[-1]),
        "reads": len(delays),
        "read p50 ms": round(delays[len(delays) // 2] * 1000, 1),
        "read p99 ms": round(delays[len(delays) * 99 // 100] * 1000, 1),
        "read max ms": round(delays[-1] * 1000, 1),
    }


async def _reading(http: httpx2.AsyncClient, ids: list[str], due_at: float) -> list[float]:
    """Delays of reads, one after the other, until the last one that is due has ended."""
    delays: list[float] = []
    number = 0
    while True:
        number += 1
        # Mostly one in the middle of it all, and now and then the last.
        id_ = ids[-1] if number % 20 == 0 else ids[number * 7919 % len(ids)]
        began = time.perf_counter()
        answer = await http.get(f"/v1/orchestrations/{id_}")
        delays.append(time.perf_counter() - began)
        if number % 20 == 0 and time.time() > due_at + 1 and answer.json()["status"] == "completed":
            return delays
        await asyncio.sleep(0.002)


if __name__ == "__main__":
    over_tcp = "--tcp" in sys.argv
    numbers = [int(each) for each in sys.argv[1:] if each != "--tcp"] or [10_000]
    found = measure_over_tcp(numbers[0]) if over_tcp else asyncio.run(measure(numbers[0]))
    for name, value in found.items():
        print(f"{name}: {value}")
