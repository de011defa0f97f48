"""What a claim takes while much waits: ``python -m tests.benchmarks.claims sqlite|postgresql [WAITING]``.

So many orchestrations wait for a remote worker. Then one worker claims one task after the other, over the API (ASGI, the same
process: what it would wait for, less the socket), and now and then reports one. Says the median and the 99th percentile of
the claims, in milliseconds, once the status view has caught up with the starts, and the median before that.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import Any

import httpx2

from adapters.bootstrap import open_service
from adapters.cli.logs import configure_logs
from adapters.settings import Settings
from application.service import StartRequest
from tests.benchmarks.databases import fresh, postgres

DOCUMENT = """
document: {dsl: '1.0.3', namespace: bench, name: claims, version: '1.0.0'}
do: [{pack: {call: pack, with: {item: '${ $workflow.input.item }'}}}]
"""
AT_ONCE = 200
CLAIMS = 500


async def measure(url: str, count: int) -> dict[str, Any]:
    """Start, claim, count."""
    settings = Settings(database=url, max_in_progress=2 * count)
    service = await open_service(settings, functions={}, development=True)
    try:
        transport = httpx2.ASGITransport(app=service.app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=120) as http:
            await service.definitions.deploy(DOCUMENT.encode(), "application/yaml")
            began_s = time.perf_counter()
            numbers = iter(range(count))

            async def client() -> None:
                for number in numbers:
                    await service.node.commands.start(StartRequest(definition="bench/claims", input={"item": number}))

            await asyncio.gather(*[client() for _ in range(AT_ONCE)])
            started_s = time.perf_counter() - began_s
            # The status view works on the starts for a while yet, and SQLite has one writer: that is told apart.
            behind = await _claiming(http)
            await service.node.projector.caught_up()
            delays = await _claiming(http)
            [waits] = [each for each in (await http.get("/v1/functions")).json()["items"] if each["function"] == "pack"]
    finally:
        await service.close()
    return {
        "waiting": waits["waiting"],
        "started_s": round(started_s, 1),
        "claims": len(delays),
        "p50_ms right after the starts": round(behind[len(behind) // 2] * 1000, 2),
        "p50_ms": round(delays[len(delays) // 2] * 1000, 2),
        "p99_ms": round(delays[int(len(delays) * 0.99)] * 1000, 2),
        "load": round(os.getloadavg()[0], 1),
    }


async def _claiming(http: httpx2.AsyncClient) -> list[float]:
    delays = []
    body = {"functions": ["pack"], "worker": "bench", "wait": 5, "lease": 600}
    for number in range(CLAIMS):
        began_s = time.perf_counter()
        [task] = (await http.post("/v1/tasks/claim", json=body)).raise_for_status().json()["items"]
        delays.append(time.perf_counter() - began_s)
        if number % 2:
            report = {"token": task["token"], "output": {}}
            (await http.post(f"/v1/tasks/{task['task_id']}/complete", json=report)).raise_for_status()
    return sorted(delays)


def main() -> None:
    configure_logs("json", "warning")
    kind = sys.argv[1]
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 100_000
    if kind == "sqlite":
        with fresh("sqlite", None) as database:
            print(asyncio.run(measure(database.url, count)))
    else:
        with postgres() as server, fresh("postgresql", server) as database:
            print(asyncio.run(measure(database.url, count)))


if __name__ == "__main__":
    main()
