"""A `retrace dev` between queues that is killed with messages in hand, and started again: nothing is lost, nothing doubled."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_brokers import ORDER, Amqp, Nats, broker, ordered, told_to_the_end, until  # noqa: F401 - a fixture
from tests.integration.test_cli_servers import introduction, running

pytestmark = [pytest.mark.anyio, pytest.mark.services, pytest.mark.slow, pytest.mark.timeout(300)]

EVENTS = 200
FUNCTIONS = """
import os
from retrace import TaskContext, function

@function("book")
def book(order, context: TaskContext):
    file = os.open("effects", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(file, f"{order} {context.idempotency_key}\\n".encode())
    os.close(file)
    return {"booked": order}
"""


@contextlib.asynccontextmanager
async def one_life(folder: Any, **settings: str) -> AsyncIterator[Any]:
    with running(folder, "dev", "--port", "0", **settings) as process:
        if process.stderr is not None:
            process.stderr.close()  # nobody reads it
        await asyncio.to_thread(introduction, process)
        yield process


async def test_a_service_that_is_killed_with_messages_in_hand(broker, tmp_path):  # noqa: F811
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "functions.py").write_text(FUNCTIONS)
    (folder / "order.yaml").write_text(ORDER)
    settings = {**broker.settings, "source_orders": broker.source, "allow_loopback": "true"}
    done = asyncio.Event()

    async def load() -> None:
        for number in range(EVENTS):
            await broker.put(ordered(number))
            if number % 7 == 0:
                await broker.put(ordered(number))
            await asyncio.sleep(0.02)
        done.set()

    loading = asyncio.ensure_future(load())
    lives = 0
    while lives < 3 or not done.is_set():
        async with one_life(folder, **settings) as process:
            lives += 1
            before = len(effects(folder))

            async def some_more(before: int = before) -> bool:
                return len(effects(folder)) >= min(before + 20, EVENTS)

            await until(some_more)
            process.kill()
    await loading
    async with one_life(folder, **settings):

        async def all_out() -> bool:
            return len({each["id"] for each in await broker.out("OUT")}) >= EVENTS

        await until(all_out, 90.0)

        async def all_told() -> bool:
            return len(told_to_the_end(await broker.out("LIFE"))) >= EVENTS

        await until(all_told, 90.0)
        out, life = await broker.out("OUT"), await broker.out("LIFE")
    by_id = {(each["source"], each["id"]): each for each in out}
    assert sorted(each["data"]["order"] for each in by_id.values()) == list(range(EVENTS)), "each is told once"
    keys: dict[str, set[str]] = {}
    for line in effects(folder):
        order, key = line.split()
        keys.setdefault(order, set()).add(key)
    assert {int(order) for order in keys} == set(range(EVENTS))
    assert all(len(each) == 1 for each in keys.values()), "an event again is the same orchestration"
    told: dict[str, dict[str, str]] = {}
    for each in life:
        told.setdefault(each["subject"], {}).setdefault(each["id"], each["type"])
    assert len(told) == EVENTS
    for types in told.values():
        assert next(iter(types.values())) == "io.serverlessworkflow.workflow.started.v1"
        assert list(types.values())[-2] == "io.serverlessworkflow.workflow.completed.v1"


def effects(folder: Path) -> list[str]:
    try:
        return (folder / "effects").read_text().splitlines()
    except OSError:
        return []
