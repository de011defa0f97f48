"""Remote workers against the real service: over HTTP, with the worker of the Python package."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
import uvicorn

from retrace.functions import Registry, load_functions
from retrace.worker import Worker
from tests.support.service import running_service

pytestmark = pytest.mark.anyio

DEFINITION = """
document: {dsl: '1.0.3', namespace: shop, name: parcel, version: '1.0.0'}
do:
  - pack:
      call: pack
      with: {item: '${ $workflow.input.item }', pieces: '${ $workflow.input.pieces }'}
      compensate: {call: unpack, with: {box: '${ .box }'}}
  - ship: {call: ship, with: {box: '${ .box }'}}
"""
FUNCTIONS = """
import threading
from pydantic import BaseModel
from retrace import Refused, TaskContext, function

class Box(BaseModel):
    box: str

undone = []

@function("pack")
async def pack(item: str, pieces: int, context: TaskContext) -> Box:
    return Box(box=f"{item} x {pieces} #{context.attempt}")

@function("ship")
def ship(box: str) -> dict:
    if "bomb" in box:
        raise Refused("forbidden", "not with us")
    return {"shipped": box, "main": threading.current_thread() is threading.main_thread()}

@function("unpack")
async def unpack(box: str) -> None:
    undone.append(box)
"""


@pytest.fixture
def functions(tmp_path) -> Registry:
    (tmp_path / "work.py").write_text(FUNCTIONS)
    return load_functions(tmp_path / "work.py")


@asynccontextmanager
async def working(api, functions, **members):
    """A worker of the service while the block runs; it has stopped by itself at the end."""
    transport = api.http._transport
    worker = Worker("http://127.0.0.1:8080", functions=functions, transport=transport, **members)
    running = asyncio.create_task(worker.run(signals=False))
    try:
        yield worker
    finally:
        worker.stop()
        await asyncio.wait_for(running, 20)


async def claimed(api, **members):
    body = {"functions": ["pack"], "worker": "by hand", "wait": 5, **members}
    return (await api.done("POST", "/v1/tasks/claim", json=body))["items"]


async def test_a_worker_carries_a_saga_through_and_undoes_it(tmp_path, functions):
    async with running_service(tmp_path) as api:
        await api.deploy(DEFINITION)
        async with working(api, functions):
            good = await api.start("shop/parcel", {"item": "lamp", "pieces": 2})
            bad = await api.start("shop/parcel", {"item": "bomb", "pieces": 1})
            wrong = await api.start("shop/parcel", {"item": "lamp", "pieces": "many"})
            assert (await api.ended(good["id"]))["output"] == {"shipped": "lamp x 2 #1", "main": False}
            found = await api.ended(bad["id"])
            assert (found["status"], found["error"]["type"].rpartition("/")[2]) == ("compensated", "forbidden")
            assert found["tasks"][0]["compensation"]["status"] == "completed"
            found = await api.ended(wrong["id"])
            assert (found["status"], found["error"]["type"].rpartition("/")[2]) == ("faulted", "validation")
        listed = {each["function"]: each for each in (await api.done("GET", "/v1/functions"))["items"]}
        assert set(listed) == {"pack", "ship", "unpack"}
        assert listed["pack"]["last_claimed_at"]


async def test_the_protocol_over_http(tmp_path):
    async with running_service(tmp_path) as api:
        await api.deploy(DEFINITION)
        id_ = (await api.start("shop/parcel", {"item": "lamp", "pieces": 2}))["id"]
        assert (await api.status(id_))["waiting_for"][0]["kind"] == "worker"
        [task] = await claimed(api)
        assert task["arguments"] == {"item": "lamp", "pieces": 2}
        path = f"/v1/tasks/{task['task_id']}"
        lease = await api.done("POST", f"{path}/heartbeat", json={"token": task["token"], "lease": 60})
        assert lease["deadline"] == task["deadline"]
        stale = await api.http.post(f"{path}/complete", json={"token": "00", "output": {}})
        assert (stale.status_code, stale.json()["type"]) == (409, "/problems/stale-token")
        for _ in range(2):
            done = await api.http.post(f"{path}/complete", json={"token": task["token"], "output": {"box": "b"}})
            assert done.status_code == 200
        other = await api.http.post(f"{path}/fail", json={"token": task["token"]})
        assert other.status_code == 409
        unknown = await api.http.post("/v1/tasks/nothing/complete", json={"token": "00"})
        assert unknown.status_code == 404
        invalid = await api.http.post("/v1/tasks/claim", json={"functions": [], "worker": ""})
        assert invalid.status_code == 422
        [task] = await claimed(api, functions=["ship"])
        error = {"title": "Full", "detail": "no room"}
        await api.done("POST", f"/v1/tasks/{task['task_id']}/fail", json={"token": task["token"], "error": error})
        found = await api.reached(id_, lambda found: found["status"] == "compensating")
        assert found["error"]["detail"] == "no room"
        [task] = await claimed(api, functions=["unpack"])
        assert task["compensates"]
        await api.done("POST", f"/v1/tasks/{task['task_id']}/complete", json={"token": task["token"]})
        assert (await api.ended(id_))["status"] == "compensated"
        assert "partition" not in json.dumps(await api.history(id_))


@pytest.mark.parametrize(
    ("error", "uncertain", "seen"),
    [
        ({}, False, ("https://retrace.invalid/errors/failed", 422, "Failed", None)),
        ({"type": "too heavy"}, False, ("https://retrace.invalid/errors/too%20heavy", 422, "Refused", None)),
        ({"type": "urn:x", "status": 409, "title": "T"}, False, ("urn:x", 409, "T", None)),
        (
            {"type": "jam"},
            True,
            ("https://retrace.invalid/errors/jam", 500, "Runtime Error", "the worker gave no reason"),
        ),
    ],
)
async def test_what_a_worker_says_of_a_failure_is_what_a_catch_sees(tmp_path, error, uncertain, seen):
    """As with functions in the process: a type is a URI, or a word that becomes one."""
    async with running_service(tmp_path) as api:
        await api.deploy(DEFINITION)
        id_ = (await api.start("shop/parcel", {"item": "lamp", "pieces": 2}))["id"]
        [task] = await claimed(api)
        failed = {"token": task["token"], "error": error, "uncertain": uncertain}
        await api.done("POST", f"/v1/tasks/{task['task_id']}/fail", json=failed)
        found = await api.reached(id_, lambda found: found["error"] is not None)
        assert tuple(found["error"].get(name) for name in ("type", "status", "title", "detail")) == seen


async def test_a_token_that_is_void_is_not_said_to_be_somebody_elses(tmp_path):
    async with running_service(tmp_path) as api:
        await api.deploy(DEFINITION)
        id_ = (await api.start("shop/parcel", {"item": "lamp", "pieces": 2}))["id"]
        [task] = await claimed(api)
        await api.done("POST", f"/v1/orchestrations/{id_}/cancel", json={})
        stale = await api.http.post(f"/v1/tasks/{task['task_id']}/complete", json={"token": task["token"]})
        assert stale.status_code == 409
        assert "not wanted any more" in stale.json()["detail"]


async def test_what_a_rollback_gives_up_is_decided_again_like_all_else(tmp_path):
    async with running_service(tmp_path) as api:
        await api.deploy(DEFINITION)
        ids = [(await api.start("shop/parcel", {"item": "lamp", "pieces": each}))["id"] for each in range(3)]
        [first] = await claimed(api)
        [second] = await claimed(api)
        failed = {"token": second["token"], "retryable": False, "uncertain": True}
        await api.done("POST", f"/v1/tasks/{second['task_id']}/fail", json=failed)
        for id_ in {*ids} - {second["orchestration"]}:
            await api.done("POST", f"/v1/orchestrations/{id_}/cancel", json={})
        for _ in range(2):  # the first claimed, and the second in doubt, are undone
            [undo] = await claimed(api, functions=["unpack"])
            await api.done("POST", f"/v1/tasks/{undo['task_id']}/complete", json={"token": undo["token"]})
        statuses = {id_: (await api.ended(id_))["tasks"][0]["status"] for id_ in ids}
        assert statuses.pop(first["orchestration"]) == statuses.pop(second["orchestration"]) == "compensated"
        assert list(statuses.values()) == ["cancelled"]
        stale = await api.http.post(f"/v1/tasks/{first['task_id']}/complete", json={"token": first["token"]})
        assert stale.status_code == 409


async def test_secrets_reach_the_worker_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setenv("RETRACE_SECRET_KEY", "swordfish")
    document = DEFINITION.replace("do:", "use: {secrets: [KEY]}\ndo:", 1).replace(
        "pieces: '${ $workflow.input.pieces }'", "pieces: '${ $secrets.KEY }'"
    )
    async with running_service(tmp_path) as api:
        assert (await api.deploy(document))["http_status"] == 201
        id_ = (await api.start("shop/parcel", {"item": "lamp"}))["id"]
        [task] = await claimed(api)
        assert task["arguments"]["pieces"] == "swordfish"
        report = {"token": task["token"], "output": {"box": "with swordfish"}}
        await api.done("POST", f"/v1/tasks/{task['task_id']}/complete", json=report)
        assert "swordfish" not in json.dumps([await api.history(id_), await api.status(id_)])


async def test_operators_hold_functions_back(tmp_path):
    async with running_service(tmp_path) as api:
        await api.deploy(DEFINITION)
        await api.start("shop/parcel", {"item": "lamp", "pieces": 2})
        await api.done("POST", "/v1/functions/pack/pause")
        assert await claimed(api, wait=0) == []
        limited = await api.done("PUT", "/v1/functions/pack/limits", json={"max_per_second": 0.5})
        assert (limited["paused"], limited["max_per_second"]) == (True, 0.5)
        await api.done("POST", "/v1/functions/pack/resume")
        assert len(await claimed(api)) == 1
        assert (await api.http.post("/v1/functions/nobody/pause")).status_code == 404


async def test_a_worker_waits_for_a_server_that_is_away(functions):
    asked = asyncio.Event()

    async def away(request):
        asked.set()
        raise httpx2.ConnectError("nobody there", request=request)

    worker = Worker("http://127.0.0.1:9", functions=functions, transport=httpx2.MockTransport(away))
    running = asyncio.create_task(worker.run(signals=False))
    await asyncio.wait_for(asked.wait(), 10)
    worker.stop()
    await asyncio.wait_for(running, 10)


def test_a_worker_has_functions():
    with pytest.raises(ValueError, match="not decorated"):
        Worker("http://127.0.0.1:9", functions=[print])
    with pytest.raises(ValueError, match="no function"):
        Worker("http://127.0.0.1:9", functions={})


JAVASCRIPT = re.findall(
    r"```javascript\n(.*?)```", (Path(__file__).parents[2] / "docs" / "workers.md").read_text(), re.DOTALL
)[0]


@asynccontextmanager
async def listening(tmp_path):
    """A service on a port of this machine, and a client of it."""
    async with running_service(tmp_path) as api:
        server = uvicorn.Server(
            uvicorn.Config(
                vars(api.http._transport)["app"], port=0, log_level="error", lifespan="off", timeout_graceful_shutdown=1
            )
        )
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        serving = asyncio.create_task(server._serve([listener]))
        try:
            yield api, f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving


@asynccontextmanager
async def process(*command, **environment):
    """A process that is told to stop at the end, and does so in order."""
    running = await asyncio.create_subprocess_exec(*command, env={**os.environ, **environment})
    try:
        yield running
    finally:
        if running.returncode is None:
            running.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(running.wait(), 30) == 0


async def carried_out(api):
    good = await api.start("shop/parcel", {"item": "lamp", "pieces": 2})
    return await api.ended(good["id"])


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node")
async def test_the_worker_of_the_documentation(tmp_path):
    (tmp_path / "worker.mjs").write_text(JAVASCRIPT)
    async with listening(tmp_path) as (api, url):
        await api.deploy(DEFINITION)
        async with process("node", str(tmp_path / "worker.mjs"), url):
            assert (await carried_out(api))["output"] == {"shipped": "lamp x 2"}


async def test_the_command_carries_out_functions_and_stops_in_order(tmp_path):
    (tmp_path / "work.py").write_text(FUNCTIONS)
    async with listening(tmp_path) as (api, url):
        await api.deploy(DEFINITION)
        command = (sys.executable, "-m", "retrace", "worker", str(tmp_path / "work.py"), "--server", url)
        async with process(*command):
            assert (await carried_out(api))["output"]["shipped"] == "lamp x 2 #1"


async def test_a_worker_that_is_killed_after_its_effect_is_followed_by_another_under_the_same_key(tmp_path):
    """It appends the key to a file, then dies: the next attempt has the same key."""
    (tmp_path / "work.py").write_text(
        f"""
import os
from pathlib import Path
from retrace import TaskContext, function

@function("pay")
def pay(context: TaskContext) -> str:
    effects = Path({str(tmp_path / "effects")!r})
    with effects.open("a") as file:
        file.write(context.idempotency_key + "\\n")
    if context.attempt == 1:
        os._exit(9)
    return context.idempotency_key
"""
    )
    definition = """
document: {dsl: '1.0.3', namespace: shop, name: pay, version: '1.0.0'}
do: [{pay: {call: pay, retry: {delay: {milliseconds: 1}, limit: {attempt: {count: 3}}}}}]
"""
    async with listening(tmp_path) as (api, url):
        await api.deploy(definition)
        id_ = (await api.start("shop/pay"))["id"]
        command = (
            sys.executable,
            "-m",
            "retrace",
            "worker",
            str(tmp_path / "work.py"),
            "--server",
            url,
            "--lease",
            "1",
        )
        first = await asyncio.create_subprocess_exec(*command)
        assert await asyncio.wait_for(first.wait(), 30) == 9
        async with process(*command):
            found = await api.ended(id_)
        keys = (tmp_path / "effects").read_text().split()
        assert len(keys) == 2
        assert set(keys) == {found["output"]}


async def test_functions_come_in_pages(tmp_path):
    async with running_service(tmp_path) as api:
        await api.deploy(DEFINITION)
        first = await api.http.get("/v1/functions", params={"limit": 2})
        assert [each["function"] for each in first.json()["items"]] == ["pack", "ship"]
        assert first.json()["next"] == "ship"
        assert first.headers["Link"] == '</v1/functions?limit=2&after=ship>; rel="next"'
        last = await api.done("GET", "/v1/functions", params={"limit": 2, "after": "ship"})
        assert ([each["function"] for each in last["items"]], last["next"]) == (["unpack"], None)
        assert (await api.done("GET", "/v1/functions", params={"after": "zzz"}))["items"] == []
        assert (await api.http.get("/v1/functions", params={"limit": 0})).status_code == 400


async def test_a_deployment_warns_of_a_connection_that_no_setting_names(tmp_path, monkeypatch):
    monkeypatch.setenv("RETRACE_CONNECTION_MAIN_BANK", f"sqlite:///{tmp_path / 'bank.db'}")
    text = """
document: {dsl: '1.0.3', namespace: shop, name: books, version: '1.0.0'}
do:
  - here: {call: sql, with: {connection: main-bank, query: 'select 1'}}
  - there:
      call: sql
      with: {connection: ledger-2, execute: 'delete from t'}
      compensate: {call: sql, with: {connection: ledger-3, execute: 'delete from t'}}
"""
    async with running_service(tmp_path) as api:
        first, second = sorted((await api.deploy(text))["warnings"], key=lambda each: each["pointer"])
        assert (first["code"], first["pointer"]) == ("unknown-connection", "/do/1/there/compensate/with/connection")
        assert "RETRACE_CONNECTION_LEDGER_3 is not set" in first["detail"]
        assert (second["pointer"], second["line"]) == ("/do/1/there/with/connection", 7)
        assert "RETRACE_CONNECTION_LEDGER_2 is not set" in second["detail"]
        assert (await api.done("GET", "/v1/definitions"))["items"][0].get("warnings", []) == []
