"""What a what-if over many histories of the trip costs: processor time, from reading them to the table.

    python -m tests.benchmarks.what_if [--count 10000]

The trips are made by a service with the participants of the examples (every tenth to a city without a flight); then their
definition is looked at unchanged, with a fact changed, and with another task before the payment. The time is that of the
process with all its threads, and of the workers of its jail; beside it stands for how long the event loop was busy at most.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx2

from adapters.bootstrap import Service, open_service
from adapters.documents import load
from adapters.settings import Settings
from adapters.system import calm_collector
from examples.participants import Participants

_TRIP = Path("examples/trip/trip.yaml")
_AT_ONCE = 32
_TICK_S = 0.001


class _Pauses:
    """How long this thread works at a stretch before another task that wants it every millisecond has its turn."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self._task = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while True:
            worked = time.thread_time()  # not the clock: other processes are no concern of this one
            await asyncio.sleep(_TICK_S)
            self.longest_s = max(self.longest_s, time.thread_time() - worked)

    def stop(self) -> None:
        self._task.cancel()


def processor_s() -> float:
    """Processor time of this process and of its children that live."""
    mine = os.getpid()
    spent = time.process_time()
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and int(folder.name) != mine:
            try:
                fields = (folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == mine:
                spent += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return spent


async def _travel(http: httpx2.AsyncClient, count: int) -> None:
    slots = asyncio.Semaphore(_AT_ONCE)

    async def trip(number: int) -> None:
        body = {"traveller": f"t{number}", "city": "Nowhere" if number % 10 == 0 else "Turin", "card": "4711"}
        async with slots:
            answer = await http.post("/trips", json=body, headers={"Prefer": "wait=30"})
            assert answer.is_success, answer.text

    await asyncio.gather(*(trip(number) for number in range(count)))


async def _measured(http: httpx2.AsyncClient, name: str, count: int, **body: Any) -> None:
    pauses, began, spent = _Pauses(), time.perf_counter(), processor_s()
    answer = await http.post("/v1/what-if", json={"last": count, **body})
    assert answer.status_code == 202, answer.text
    while True:
        operation = (await http.get(answer.headers["Location"], params={"wait": 60})).json()
        if operation["status"] != "running":
            break
    spent, took = processor_s() - spent, time.perf_counter() - began
    pauses.stop()
    told = operation["result"]
    counts = ", ".join(f"{told[each]} {each}" for each in ("same", "other", "cannot_continue"))
    print(
        f"{name}: {told['considered']} histories, {counts}: {spent:.1f} s of processor time, {took:.1f} s, "
        f"longest pause {1000 * pauses.longest_s:.0f} ms",
        flush=True,
    )


async def _run(count: int, folder: Path) -> None:
    async with Participants().serving() as participants:
        text = _TRIP.read_text(encoding="utf-8").replace("http://127.0.0.1:8090", participants.url)
        settings = Settings(database=f"sqlite:///{folder}/w.db", allow_loopback=True, auth="none")
        service: Service = await open_service(settings, functions={}, development=False)
        try:
            transport = httpx2.ASGITransport(app=service.app)
            async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=90) as http:
                document: Any = load(text, "application/yaml").value
                assert (await http.post("/v1/definitions", json=document)).status_code == 201
                calm_collector()  # as a server does
                began = time.perf_counter()
                await _travel(http, count)
                print(f"{count} trips made in {time.perf_counter() - began:.0f} s", flush=True)
                await _measured(http, "the same definition", count, definition="travel/trip-booking")
                refused = [{"task": "bookFlight", "outcome": "refused"}]
                await _measured(http, "no flights", count, definition="travel/trip-booking", changes=refused)
                insured = {"insure": {"set": {"id": '${ "i-" + $workflow.id }'}}}
                new = {**document, "document": {**document["document"], "version": "1.1.0"}}
                new["do"] = [*document["do"][:3], insured, document["do"][3]]
                await _measured(http, "another task before the payment", count, definition=new)
        finally:
            await service.close()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=10_000)
    count = parser.parse_args().count
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_run(count, Path(folder)))


if __name__ == "__main__":
    main()
