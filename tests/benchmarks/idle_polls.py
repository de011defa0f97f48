"""What idle workers cost: ``python -m tests.benchmarks.idle_polls [WORKERS] [SECONDS]``.

`retrace serve` over a SQLite file, in a process of its own; so many workers ask for work over TCP with long polls of 20 s and get
none. Says how much processor time the service used of one core, with them and before they came.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from typing import Any

import httpx2

from tests.benchmarks.processes import ROOT, answering, free_port, processor_s, running

WAIT_S = 20.0
_SETTLES_S = 3.0


async def measure(url: str, pid: int, workers: int, seconds: float) -> dict[str, Any]:
    """Shares of a core, in percent."""
    alone = await _share(pid, seconds)
    limits = httpx2.Limits(max_connections=workers)
    async with httpx2.AsyncClient(base_url=url, timeout=WAIT_S * 2, limits=limits) as http:
        asked = [0]

        async def work(number: int) -> None:
            body = {"functions": ["nothing"], "worker": f"worker-{number}", "wait": WAIT_S}
            while True:
                answer = await http.post("/v1/tasks/claim", json=body)
                assert answer.raise_for_status().json()["items"] == []
                asked[0] += 1

        tasks = [asyncio.create_task(work(number)) for number in range(workers)]
        await asyncio.sleep(_SETTLES_S)
        polling = await _share(pid, seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return {
        "workers": workers,
        "seconds": seconds,
        "polls ended": asked[0],
        "percent of a core without workers": round(alone, 2),
        "percent of a core with them": round(polling, 2),
    }


async def _share(pid: int, seconds: float) -> float:
    before_s, began = processor_s(pid), time.monotonic()
    await asyncio.sleep(seconds)
    return (processor_s(pid) - before_s) / (time.monotonic() - began) * 100


def main() -> None:
    """Start the service, measure, tell."""
    workers = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 60.0
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder:
        command = [str(ROOT / ".venv/bin/retrace"), "serve", "--port", str(port)]
        with running(command, RETRACE_DATABASE=f"sqlite:///{folder}/idle.db") as (process, said):
            answering(process, said, f"{url}/readyz")
            for name, value in asyncio.run(measure(url, process.pid, workers, seconds)).items():
                print(f"{name}: {value}")


if __name__ == "__main__":
    main()
