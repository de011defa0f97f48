"""Asks Restate for W1 to W3 over HTTP, the only way there is: from this process, with keep-alive, the way a client would.

A workflow is started and awaited by one request. What is parked and what has ended is asked with SQL at the admin port.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from statistics import quantiles
from typing import Any

import aiohttp
import msgspec
import uvloop

from tests.benchmarks.figures import Value, parked_values
from tests.benchmarks.processes import RunFailedError, asked, processor_s, resident_mb, until
from tests.benchmarks.workloads import Sizes, Workload

_ACCEPTED = (200, 202)
_ASK_EVERY_S = 0.2


class Place(msgspec.Struct, frozen=True):
    """Where a Restate is. `pids`: of the server and the service."""

    ingress: str
    admin: str
    pids: tuple[int, ...]


def measure(workload: Workload, place: Place, sizes: Sizes) -> list[Value]:
    """Measure one of W1, W2, W3. Raises RunFailedError."""

    async def measured() -> list[Value]:
        limits = aiohttp.ClientTimeout(total=sizes.limit_s)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=limits) as session:
            driver = Driver(session, place, sizes)
            return await (driver.parked() if workload == "w3" else driver.sagas(workload))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(measured())


def count(admin: str, where: str) -> int:
    """Invocations of which this holds."""
    query = f"SELECT count(*) AS n FROM sys_invocation WHERE {where}"
    status, said = asked("POST", f"{admin}/query", {"query": query})
    if status != 200:
        raise RunFailedError(f"{query}: {status} {said}")
    return int(said["rows"][0]["n"])


class Driver:
    """One run."""

    def __init__(self, session: aiohttp.ClientSession, place: Place, sizes: Sizes) -> None:
        self._session = session
        self._place = place
        self._sizes = sizes
        self._run = uuid.uuid4().hex[:8]

    async def sagas(self, workload: Workload) -> list[Value]:
        """W1 with one alone, and W2."""
        name, member = ("Steps", "n") if workload == "w1" else ("Undone", "compensated")

        async def one(key: str) -> float:
            begun = time.perf_counter()
            result = await self._post(f"{name}/{self._run}{key}/run", 1)
            if member not in result:
                raise RunFailedError(f"{name} gave {result}")
            return time.perf_counter() - begun

        await self._many(lambda number: one(f"warm{number}"), self._sizes.warm_up, 8)
        values: dict[str, float] = {}
        if workload == "w1":
            cuts = quantiles([await one(f"alone{number}") for number in range(self._sizes.alone)], n=100)
            values = {"p50_ms": cuts[49] * 1000, "p99_ms": cuts[98] * 1000}
        wall, cpu = time.perf_counter(), processor_s(*self._place.pids)
        await self._many(lambda number: one(f"saga{number}"), self._sizes.sagas, self._sizes.at_once)
        wall, cpu = time.perf_counter() - wall, processor_s(*self._place.pids) - cpu
        values |= {"sagas_per_s": self._sizes.sagas / wall, "cpu_us": cpu / self._sizes.sagas * 1e6}
        return [Value(metric, value) for metric, value in values.items()]

    async def parked(self) -> list[Value]:
        """W3. The end is asked for every 0.2 s, so that asking costs little."""
        goal, at_once = self._sizes.parked, self._sizes.at_once
        begun = time.perf_counter()
        await self._many(lambda number: self._post(f"Parked/{self._run}{number}/run/send", number), goal, at_once)
        started_s = time.perf_counter() - begun
        # All have begun: they hold their connection to the service for a minute, then they are suspended.
        await asyncio.to_thread(self._until_there, "status IN ('running', 'suspended')", goal)
        waiting_mb = resident_mb(*self._place.pids)
        begun = time.perf_counter()
        await self._many(lambda number: self._post(f"Parked/{self._run}{number}/go/send", "go"), goal, at_once)
        signalled_s = time.perf_counter() - begun
        ended = "completion_result = 'success' AND target_handler_name = 'run'"
        await asyncio.to_thread(self._until_there, ended, goal)
        ended_s = time.perf_counter() - begun
        memory_mb = max(waiting_mb, resident_mb(*self._place.pids))
        return parked_values(goal, started_s, signalled_s, ended_s, memory_mb)

    def _until_there(self, where: str, goal: int) -> None:
        condition = f"target_service_name = 'Parked' AND {where}"
        until(lambda: count(self._place.admin, condition) >= goal, where, self._sizes.limit_s, _ASK_EVERY_S)

    async def _many(self, do: Callable[[int], Awaitable[Any]], count: int, at_once: int) -> None:
        slots = asyncio.Semaphore(at_once)

        async def one(number: int) -> None:
            async with slots:
                await do(number)

        await asyncio.gather(*(one(number) for number in range(count)))

    async def _post(self, path: str, body: Any) -> Any:
        async with self._session.post(f"{self._place.ingress}/{path}", json=body) as response:
            said = await response.json()
            if response.status not in _ACCEPTED:
                raise RunFailedError(f"{path}: {response.status} {said}")
            return said
