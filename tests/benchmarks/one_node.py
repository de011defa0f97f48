"""One of several nodes of W5 and W6, in a process of its own: ``python -m tests.benchmarks.one_node DATABASE_URL``.

It says what it holds as soon as it is open, then answers one line of JSON for each line it reads, and ends with its input:

    {"do": "held"}                         -> {"held": partitions, "lease_s": seconds}
    {"do": "sagas", "definition": ..., "count": 100, "at_once": 64}
                                           -> {"began": instant, "ended": instant}, of the system's monotonic clock
    {"do": "park", "count": 100, "at_once": 64}
                                           -> {}, once so many wait
    {"do": "settled"}                      -> {}, once everything that was committed is in the status view
    {"do": "measured", "definition": ..., "count": 100, "at_once": 64, "server": Server or null}
                                           -> metric: value, what so many sagas cost
    {"do": "load", "at_once": 64}          -> {}, and works until it is killed
    {"do": "unfinished"}                   -> {"unfinished": whether any orchestration of any node has not ended}
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from typing import Any, TextIO

import httpx2
import msgspec
import uvloop

from adapters.bootstrap import Service
from adapters.cli.logs import configure_logs
from application.service import ListRequest
from tests.benchmarks.databases import Server
from tests.benchmarks.node import STEPS, opened
from tests.benchmarks.parked import park
from tests.benchmarks.sagas import ENDS, look, many, saga, timed

_LINE_LIMIT = 1 << 20


class OneNode:
    """What the process does for each line."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._load: asyncio.Future[Any] | None = None

    async def answer(self, order: dict[str, Any]) -> dict[str, Any]:
        match order["do"]:
            case "held":
                return await self.held()
            case "sagas":
                return await self._sagas(order["definition"], order["count"], order["at_once"])
            case "park":
                await park(self._service, order["count"], order["at_once"])
                return {}
            case "settled":
                await self._service.node.projector.caught_up()
                return {}
            case "measured":
                return await self._measured(order)
            case "load":
                self._load = asyncio.gather(*(self._work() for _ in range(order["at_once"])))
                return {}
            case "unfinished":
                page = await self._service.node.queries.list(ListRequest(statuses=("running",), limit=1))
                return {"unfinished": bool(page["items"])}
            case unknown:
                raise ValueError(f"nothing is known of {unknown!r}")

    async def held(self) -> dict[str, Any]:
        """Asked like an operator asks, so that this holds however the node is built."""
        transport = httpx2.ASGITransport(app=self._service.app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
            ready = (await http.get("/readyz")).json()
        return {"held": ready.get("partitions", 0), "lease_s": self._service.node.options.lease_s}

    async def _sagas(self, definition: str, count: int, at_once: int) -> dict[str, Any]:
        began = time.monotonic()
        ids = await many(self._service, definition, count, at_once)
        ended = time.monotonic()
        await look(self._service, ids, ENDS[definition])
        return {"began": began, "ended": ended}

    async def _measured(self, order: dict[str, Any]) -> dict[str, Any]:
        server = msgspec.convert(order["server"], Server | None)
        values = await timed(self._service, order["definition"], order["count"], order["at_once"], server)
        return {each.metric: each.value for each in values}

    async def _work(self) -> None:
        while True:
            await saga(self._service, STEPS, 1)


def answers() -> TextIO:
    """Standard output for answers alone: whatever else this process prints goes to standard error from now on."""
    kept = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return kept


async def live(url: str, output: TextIO) -> None:
    """Open a node and do what the lines say until there are no more."""
    lines = asyncio.StreamReader(limit=_LINE_LIMIT)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with opened(url) as service:
        node = OneNode(service)
        print(json.dumps(await node.held()), file=output, flush=True)
        while line := await lines.readline():
            print(json.dumps(await node.answer(json.loads(line))), file=output, flush=True)


def main() -> None:
    configure_logs("json", "warning")
    with answers() as output, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(live(sys.argv[1], output))


if __name__ == "__main__":
    main()
