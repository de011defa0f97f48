"""The work on DBOS, run by its own Python: ``dbos_program.py ORDER`` measures W1 to W3, ``dbos_program.py serve ...`` is W4.

The order is JSON: measure, url, mode (``async``: one event loop, what DBOS recommends for asyncio programs; ``threads``:
plain functions on its thread pool) and sizes; the values are printed as JSON. Settings are the defaults of DBOS, which are
what its documentation recommends, with its log at ERROR.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import uvicorn
import uvloop
from dbos import DBOS, SendMessage
from fastapi import FastAPI
from pydantic import BaseModel

_SIGNALS_AT_ONCE = 500


class Order(BaseModel):
    """Body of a start over HTTP."""

    n: int


@DBOS.step()
async def step(n: int) -> dict[str, int]:
    return {"n": n}


@DBOS.step()
async def undo(n: int) -> dict[str, int]:
    return {"undone": n}


@DBOS.step()
async def refuse(n: int) -> dict[str, int]:
    raise RuntimeError(f"there is no {n}")


@DBOS.workflow()
async def steps(n: int) -> Any:
    first = await step(n)
    second = await step(first["n"])
    return await step(second["n"])


@DBOS.workflow()
async def undone(n: int) -> dict[str, Any]:
    done: list[int] = []
    try:
        done.append((await step(n))["n"])
        done.append((await step(n))["n"])
        await refuse(n)
    except RuntimeError as refusal:
        for each in reversed(done):
            await undo(each)
        return {"compensated": str(refusal)}
    return {}


@DBOS.workflow()
async def parked(n: int) -> Any:
    await DBOS.recv_async("go", timeout_seconds=3600)
    return await step(n)


@DBOS.step()
def step_in_thread(n: int) -> dict[str, int]:
    return {"n": n}


@DBOS.step()
def undo_in_thread(n: int) -> dict[str, int]:
    return {"undone": n}


@DBOS.step()
def refuse_in_thread(n: int) -> dict[str, int]:
    raise RuntimeError(f"there is no {n}")


@DBOS.workflow()
def steps_in_thread(n: int) -> Any:
    first = step_in_thread(n)
    second = step_in_thread(first["n"])
    return step_in_thread(second["n"])


@DBOS.workflow()
def undone_in_thread(n: int) -> dict[str, Any]:
    done: list[int] = []
    try:
        done.append(step_in_thread(n)["n"])
        done.append(step_in_thread(n)["n"])
        refuse_in_thread(n)
    except RuntimeError as refusal:
        for each in reversed(done):
            undo_in_thread(each)
        return {"compensated": str(refusal)}
    return {}


def launch(url: str) -> None:
    """Start DBOS on a database."""
    config = {"name": "bench", "system_database_url": url, "log_level": "ERROR", "console_log_level": "ERROR"}
    DBOS(config=config)
    DBOS.launch()


async def many(workflow: Any, count: int, at_once: int) -> list[float]:
    """Workflows from their start to their result, so many at a time; seconds of each."""
    slots = asyncio.Semaphore(at_once)

    async def one(number: int) -> float:
        async with slots:
            begun = time.perf_counter()
            handle = await DBOS.start_workflow_async(workflow, number)
            _check(await handle.get_result())
            return time.perf_counter() - begun

    return await asyncio.gather(*(one(number) for number in range(count)))


async def many_in_threads(workflow: Any, count: int, at_once: int) -> list[float]:
    """The same with plain functions."""

    def one(number: int) -> float:
        begun = time.perf_counter()
        _check(DBOS.start_workflow(workflow, number).get_result())
        return time.perf_counter() - begun

    def everything() -> list[float]:
        with ThreadPoolExecutor(at_once) as threads:
            return list(threads.map(one, range(count)))

    return await asyncio.to_thread(everything)


def _check(result: Any) -> None:
    assert "n" in result or "compensated" in result, result


async def measure_sagas(order: dict[str, Any]) -> dict[str, float]:
    """W1 with one alone, and W2."""
    sizes, threads = order["sizes"], order["mode"] == "threads"
    run = many_in_threads if threads else many
    happy, sad = (steps_in_thread, undone_in_thread) if threads else (steps, undone)
    workflow = happy if order["measure"] == "w1" else sad
    await run(workflow, sizes["warm_up"], 8)
    values = {}
    if order["measure"] == "w1":
        cuts = statistics.quantiles(await run(workflow, sizes["alone"], 1), n=100)
        values = {"p50_ms": cuts[49] * 1000, "p99_ms": cuts[98] * 1000}
    wall, cpu = time.perf_counter(), time.process_time()
    await run(workflow, sizes["sagas"], sizes["at_once"])
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return values | {"sagas_per_s": sizes["sagas"] / wall, "cpu_us": cpu / sizes["sagas"] * 1e6}


async def measure_parked(order: dict[str, Any]) -> dict[str, float]:
    """W3, with the bulk call that DBOS has for many messages."""
    count, slots = order["sizes"]["parked"], asyncio.Semaphore(order["sizes"]["at_once"])

    async def park(number: int) -> Any:
        async with slots:
            return await DBOS.start_workflow_async(parked, number)

    begun = time.perf_counter()
    handles = await asyncio.gather(*(park(number) for number in range(count)))
    started = time.perf_counter() - begun
    waiting_mb = _resident_mb()
    begun = time.perf_counter()
    ids = [handle.get_workflow_id() for handle in handles]
    for first in range(0, count, _SIGNALS_AT_ONCE):
        messages = [SendMessage(each, "go", "go") for each in ids[first : first + _SIGNALS_AT_ONCE]]
        await DBOS.send_bulk_async(messages)
    signalled = time.perf_counter() - begun
    for result in await asyncio.gather(*(handle.get_result() for handle in handles)):
        _check(result)
    ended = time.perf_counter() - begun
    memory_mb = max(waiting_mb, _resident_mb())
    return {
        "parked": count,
        "started_s": started,
        "started_per_s": count / started,
        "signalled_s": signalled,
        "ended_s": ended,
        "ended_per_s": count / ended,
        "memory_mb": memory_mb,
    }


def _resident_mb() -> float:
    return psutil.Process().memory_info().rss / 2**20


def serve(url: str, port: int) -> None:
    """W4: a start over HTTP, in the way DBOS shows it with FastAPI; answered once the workflow is safe."""
    app = FastAPI()

    @app.get("/ready")
    async def ready() -> dict[str, bool]:
        return {"ready": True}

    @app.post("/start", status_code=202)
    async def start(order: Order) -> dict[str, str]:
        handle = await DBOS.start_workflow_async(steps, order.n)
        return {"id": handle.get_workflow_id()}

    launch(url)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False, loop="uvloop")


async def main() -> None:
    order = json.loads(sys.argv[1])
    launch(order["url"])
    measure = measure_parked if order["measure"] == "w3" else measure_sagas
    values = await measure(order)
    print(json.dumps([{"metric": metric, "value": value} for metric, value in values.items()]), flush=True)
    os._exit(0)  # its threads would take seconds to notice that nothing comes any more


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2], int(sys.argv[3]))
    else:
        uvloop.run(main())
