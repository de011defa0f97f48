"""The worker of the Python package against a server that is made up: what it does when something is wrong."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from collections import deque
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from retrace import TaskContext, worker
from retrace.connection import RetraceProblem
from retrace.functions import Registry, load_functions
from retrace.worker import Worker

pytestmark = pytest.mark.anyio

FUNCTIONS = """
import asyncio
from retrace import Refused, TaskContext, function
from tests.integration import test_worker_library as outside

@function("forever")
async def forever() -> None:
    outside.seen.append("began")
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        outside.seen.append("cancelled")

@function("thread")
def thread() -> str:
    outside.seen.append("began")
    outside.released.wait(20)
    return "ended"

@function("pack")
async def pack(item: str, context: TaskContext) -> str:
    outside.seen.append(context)
    await outside.between()
    return item

@function("refuse")
async def refuse(text: str) -> None:
    raise Refused("full", text * 20_000)
"""
seen: list[Any] = []
released = threading.Event()
steps: dict[str, Any] = {}


async def between() -> None:
    """What happens while a function runs."""
    if "between" in steps:
        await steps["between"]()


class Server:
    """Answers from a script: claims from `tasks`, everything else from `answers` by verb, 200 without one."""

    def __init__(self) -> None:
        self.tasks: deque[Any] = deque()
        self.answers: dict[str, deque[Any]] = {}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.heard = asyncio.Condition()
        self.headers: dict[str, str] = {}
        self.lease_s = 0.03

    def task(self, function, *, left_s=30.0, **arguments):
        deadline = datetime.now(UTC) + timedelta(seconds=left_s)
        return {
            "task_id": f"t{len(self.asked)}{function}",
            "token": "00",
            "function": function,
            "arguments": arguments,
            "attempt": 1,
            "idempotency_key": "k",
            "compensates": None,
            "lease_until": deadline.isoformat(),
            "deadline": deadline.isoformat(),
            "orchestration": "o_1",
            "task": "/do/0/pack",
        }

    async def __call__(self, request):
        verb, body = request.url.path.rpartition("/")[2], msgspec.json.decode(await request.aread())
        self.asked.append((verb, body))
        async with self.heard:
            self.heard.notify_all()
        script = self.answers.get(verb)
        if script:
            answer = script.popleft()
            if isinstance(answer, Exception):
                raise answer
            return answer
        if verb != "claim":
            return httpx2.Response(200, json={})
        items = [self.tasks.popleft() for _ in range(min(body["max"], len(self.tasks)))]
        if not items:
            await asyncio.sleep(0.01)
        return httpx2.Response(200, json={"items": items}, headers=self.headers)

    async def hears(self, verb, count=1):
        """The bodies of the requests of this kind, once there are so many."""
        async with asyncio.timeout(15), self.heard:
            await self.heard.wait_for(lambda: len(self.of(verb)) >= count)
        return self.of(verb)

    def of(self, verb):
        return [body for name, body in self.asked if name == verb]


@pytest.fixture
def server():
    seen.clear()
    steps.clear()
    released.clear()
    yield Server()
    released.set()


@pytest.fixture
def functions(tmp_path) -> Registry:
    (tmp_path / "work.py").write_text(FUNCTIONS)
    return load_functions(tmp_path / "work.py")


@asynccontextmanager
async def working(server, functions, **members):
    made = Worker(
        "http://made.up", functions=functions, transport=httpx2.MockTransport(server), lease_s=server.lease_s, **members
    )
    running = asyncio.create_task(made.run(signals=False))
    try:
        yield made, running
    finally:
        made.stop()
        await asyncio.wait_for(asyncio.gather(running, return_exceptions=True), 20)


async def until(holds):
    async with asyncio.timeout(15):
        while not holds():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.005)


async def test_a_lost_lease_cancels_a_coroutine_and_nothing_is_reported(server, functions):
    server.tasks.append(server.task("forever"))
    server.answers["heartbeat"] = deque([httpx2.Response(200, json={}), httpx2.Response(409, json={})])
    async with working(server, functions, concurrency=1):
        await until(lambda: "cancelled" in seen)
        await server.hears("claim", 3)
    assert server.of("complete") == server.of("fail") == []


async def test_a_thread_that_is_given_up_keeps_its_place_until_it_ends(server, functions):
    server.tasks += [server.task("thread"), server.task("pack", item="next")]
    server.answers["heartbeat"] = deque([httpx2.Response(409, json={})])
    async with working(server, functions, concurrency=1):
        await server.hears("heartbeat")
        await asyncio.sleep(0.1)  # nothing is claimed meanwhile, which nobody tells
        assert len(server.of("claim")) == 1
        released.set()
        [done] = await server.hears("complete")
        assert done["output"] == "next"
    assert server.of("fail") == []


async def test_what_is_in_hand_ends_when_the_server_refuses_to_hand_out_more(server, functions):
    server.lease_s = 30
    server.tasks.append(server.task("pack", item="lamp"))
    refused = asyncio.Event()
    steps["between"] = refused.wait
    async with working(server, functions) as (_, running):
        await until(lambda: seen)
        server.answers["claim"] = deque([httpx2.Response(401, json={})] * 100)
        await server.hears("claim", 3)
        refused.set()
        assert (await server.hears("complete"))[0]["output"] == "lamp"
        with pytest.raises(RetraceProblem, match="401"):
            await asyncio.wait_for(running, 10)


async def test_pauses_grow_and_are_not_the_same_for_all(server, functions, monkeypatch):
    pauses = []

    def jittered(pause_s):
        pauses.append(pause_s)
        return 0.0

    assert {0.5 <= worker._jittered(1.0) <= 1.0 for _ in range(100)} == {True}
    assert len({worker._jittered(1.0) for _ in range(100)}) > 50
    monkeypatch.setattr(worker, "_jittered", jittered)
    away = httpx2.ConnectError("away")
    server.answers["claim"] = deque(
        [httpx2.Response(503), httpx2.Response(429), away, httpx2.Response(200, text="<html>"), *[away] * 6]
    )
    server.tasks.append(server.task("pack", item="lamp"))
    async with working(server, functions):
        await server.hears("complete")
    assert pauses[:10] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30]


@pytest.mark.parametrize(("refusals", "warnings"), [(1, 0), (2, 1)])
async def test_a_server_that_is_about_to_start_is_no_warning(
    server, functions, monkeypatch, caplog, refusals, warnings
):
    monkeypatch.setattr(worker, "_FIRST_PAUSE_S", 0.001)
    caplog.set_level(logging.WARNING, logger="retrace.worker")
    server.answers["claim"] = deque(httpx2.ConnectError("refused") for _ in range(refusals))
    async with working(server, functions):
        await server.hears("claim", refusals + 1)
    assert len([each for each in caplog.records if each.name == "retrace.worker"]) == warnings


async def test_a_report_is_repeated_until_it_is_taken(server, functions, monkeypatch):
    monkeypatch.setattr(worker, "_FIRST_PAUSE_S", 0.001)
    server.answers["complete"] = deque([httpx2.ReadError("cut"), httpx2.Response(503), httpx2.Response(429)])
    server.tasks.append(server.task("pack", item="lamp"))
    async with working(server, functions):
        reports = await server.hears("complete", 4)
    assert reports == [{"token": "00", "output": "lamp"}] * 4


async def test_an_output_that_is_too_large_is_reported_as_done_by_nobody_knows(server, functions):
    server.answers["complete"] = deque([httpx2.Response(413, text="too large")])
    server.tasks.append(server.task("pack", item="x" * 2_000_000))
    async with working(server, functions):
        [told] = await server.hears("fail")
    assert (told["uncertain"], told["retryable"]) == (True, False)
    assert "413" in told["error"]["detail"]


async def test_the_log_of_a_function_that_raises_has_no_values_of_variables():
    """In a process of its own: nobody has set up any log there, and what a claim brings may be a secret."""
    script = """
import asyncio
from adapters.callouts.functions import FunctionCallouts
from application.ports import Callout
from retrace import function
from retrace.functions import REGISTRY

@function("break")
def break_it(token: str) -> None:
    raise RuntimeError("broken")

callout = Callout(kind="function", function="break", arguments={"token": "open-sesame"}, idempotency_key="k", attempt=1,
    timeout_s=5, orchestration="o_1", task="/do/0/a")
asyncio.run(FunctionCallouts(REGISTRY).send(callout))
"""
    environment = {**os.environ, "FORCE_COLOR": "", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, env=environment, stderr=asyncio.subprocess.PIPE
    )
    _, told = await done.communicate()
    assert done.returncode == 0, told.decode()
    assert b"RuntimeError: broken" in told
    assert b"open-sesame" not in told


async def test_errors_are_told_as_the_server_takes_them(server, functions):
    server.tasks += [server.task("refuse", text="a\0"), server.task("pack", item=7), server.task("pack")]
    async with working(server, functions):
        told = await server.hears("fail", 3)
    details = sorted((each["error"]["detail"] for each in told), key=len)
    assert all(len(each) <= 10_000 and "\0" not in each for each in details)
    assert all("item" in each for each in details[:2])
    assert not any("uncertain" in each for each in told)


async def test_a_clock_that_is_wrong_does_not_shorten_the_time(server, functions):
    server.lease_s = 30
    server.headers = {"Date": format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True)}
    server.tasks.append(server.task("pack", item="lamp", left_s=20 - 3600))
    async with working(server, functions):
        assert (await server.hears("complete"))[0]["output"] == "lamp"


async def test_stopping_lets_what_is_in_hand_end_and_claims_nothing_more(server, functions):
    server.lease_s = 30
    server.tasks.append(server.task("pack", item="lamp"))
    stopped = asyncio.Event()
    steps["between"] = stopped.wait
    async with working(server, functions) as (made, running):
        await until(lambda: seen)
        made.stop()
        server.tasks.append(server.task("pack", item="another"))
        await asyncio.sleep(0.05)
        assert not running.done()
        stopped.set()
        await asyncio.wait_for(running, 10)
    assert [each["output"] for each in server.of("complete")] == ["lamp"]
    assert isinstance(seen[0], TaskContext)
