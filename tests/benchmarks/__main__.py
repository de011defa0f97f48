"""``make bench``: the figures of docs/performance.md, measured here and now.

Everything runs in one process on one event loop, the database beside it. Each figure is the median of `--rounds` runs.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
from statistics import median

import uvloop

from adapters.system import calm_collector
from tests.benchmarks.node import service
from tests.benchmarks.workloads import Latency, Parked, Throughput, alone, parked, throughput


async def measure(kind: str, rounds: int, sagas: int, parked_count: int) -> None:
    rates: list[Throughput] = []
    times: list[Latency] = []
    async with service(kind) as opened:
        calm_collector()  # as the command line does
        await alone(opened, 50)
        for _ in range(rounds):
            times.append(await alone(opened, 200))
            rates.append(await throughput(opened, sagas, 64))
    async with service(kind) as opened:
        waiting: Parked = await parked(opened, parked_count, 64)
    print(
        f"| {kind} | {median(r.sagas_per_s for r in rates):,.0f} | {median(r.events_per_s for r in rates):,.0f} "
        f"| {median(r.cpu_us_per_saga for r in rates):,.0f} | {median(t.p50_ms for t in times):.2f} "
        f"| {median(t.p99_ms for t in times):.2f} | {waiting.start_s:.1f} | {waiting.signal_s:.1f} "
        f"| {waiting.resident_mb:.0f} (+{waiting.grown_mb:.0f}) |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sagas", type=int, default=5000)
    parser.add_argument("--parked", type=int, default=10_000)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], action="append")
    chosen = parser.parse_args()
    print(
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, "
        f"{chosen.rounds} rounds of {chosen.sagas} sagas, 64 at a time; {chosen.parked} parked\n"
    )
    print("| database | sagas/s | events/s | CPU us/saga | alone p50 ms | p99 ms | park s | signal s | memory MB |")
    print("|---|---|---|---|---|---|---|---|---|")
    for kind in chosen.database or ["sqlite", "postgresql"]:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(measure(kind, chosen.rounds, chosen.sagas, chosen.parked))


if __name__ == "__main__":
    main()
