"""A host goes away and comes back, over real sockets: what is sent, what waits, and what operators see."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import pytest
from yarl import URL

from adapters.callouts.circuits import Circuits
from adapters.callouts.exchange import Exchange, LostError, PostponedError, Request, UnsentError
from adapters.callouts.http import HttpCallouts
from adapters.callouts.network import NetworkPolicy, open_session
from adapters.callouts.openapi import OpenApiCallouts
from adapters.callouts.resources import HttpResources
from adapters.callouts.secrets import EnvironmentSecrets
from adapters.system import SystemClock
from application.ports import Doubtful, Postponed, ResourceError
from domain.errors import SPEC
from tests.integration.participants import answering, http_callout, raw_server
from tests.support.service import Api, running_service

pytestmark = pytest.mark.anyio

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Type: application/json\r\n\r\n1"
LOCAL = NetworkPolicy(allow_loopback=True)
FLOW = """
document: {dsl: '1.0.3', namespace: demo, name: flow, version: '1.0.0'}
do:
  - pay:
      call: http
      with: {method: post, endpoint: URL}
      retry: {delay: {milliseconds: 10}, limit: {attempt: {count: 4}}}
      compensate: {call: http, with: {method: delete, endpoint: URL}}
"""


def answer(status: int) -> bytes:
    return f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode()


async def turned_away(api: Api, times: int) -> list[dict[str, Any]]:
    """The circuits, once the first has turned away so many; nothing tells of that, so look again and again."""
    async with asyncio.timeout(60):
        while True:
            circuits: list[dict[str, Any]] = (await api.done("GET", "/v1/circuits"))["items"]
            if circuits and circuits[0]["turned_away"] >= times:
                return circuits
            await asyncio.sleep(0.005)  # answered at once, it would leave the loop to nobody else


@pytest.fixture
async def guarded():
    """(callouts, circuits, a clock that the test sets)."""
    clock = [0.0]
    circuits = Circuits(failures=3, pause_s=10, time=lambda: clock[0], now=SystemClock().now)
    session = open_session(LOCAL)
    yield HttpCallouts(session, EnvironmentSecrets({}), circuits=circuits), circuits, clock
    await session.close()


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.mark.parametrize(
    ("status", "opens"), [(502, True), (503, True), (504, True), (500, False), (429, False), (404, False)]
)
async def test_answers_that_tell_of_the_host(guarded, status, opens):
    http, circuits, _ = guarded
    async with raw_server(answering(answer(status))) as url:
        for _ in range(3):
            await http.send(http_callout(method="post", endpoint=url))
        assert circuits.count("open") == opens


async def test_while_it_is_open_nothing_is_sent_and_one_probe_finds_out(guarded):
    http, circuits, clock = guarded
    callout = http_callout(method="post", endpoint=f"http://127.0.0.1:{free_port()}/")
    for _ in range(3):
        await http.send(callout)
    [shown] = circuits.shown()
    assert (shown["state"], shown["failures"]) == ("open", 3)
    assert shown["last_failure"].startswith("cannot connect"), "no path is told"
    turned_away = await http.send(callout)
    assert isinstance(turned_away, Postponed)
    assert (turned_away.fault.type, turned_away.fault.status) == (SPEC + "communication", 503)
    assert 10 <= turned_away.retry_after_s < 11
    clock[0] += 10
    assert not isinstance(await http.send(callout), Postponed)
    assert isinstance(await http.send(callout), Postponed)


async def test_who_hardly_waits_does_not_shut_it_for_others(guarded):
    http, circuits, _ = guarded

    async def silent(reader, _writer):
        await reader.read(-1)

    async with raw_server(silent) as url:
        for _ in range(4):
            assert isinstance(await http.send(http_callout(method="get", endpoint=url, timeout_s=0.05)), Doubtful)
    assert circuits.shown() == []


async def test_a_probe_that_is_cut_off_leaves_its_place(guarded):
    http, circuits, clock = guarded
    asked = asyncio.Event()

    async def silent(reader, _writer):
        asked.set()
        await reader.read(-1)

    async with raw_server(silent) as url:
        callout = http_callout(method="get", endpoint=url)
        host = url.rstrip("/")
        for _ in range(3):
            circuits.failed(host, 0, "it was away")
        clock[0] += 10
        task = asyncio.create_task(http.send(callout))
        await asked.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert circuits.enter(host) == 2


async def test_tokens_documents_and_schemas_meet_the_same_circuit(guarded):
    http, circuits, _ = guarded
    url = "http://127.0.0.1:9"
    circuits.hold_open(url, "ada", None)
    oauth = {"oauth2": {"authority": url, "grant": "client_credentials", "client": {"id": "x"}}}
    endpoint = {"uri": "http://127.0.0.1:10/", "authentication": oauth}
    assert isinstance(await http.send(http_callout(method="get", endpoint=endpoint)), Postponed)
    openapi = OpenApiCallouts(http, LOCAL)
    call = http_callout(document={"endpoint": f"{url}/openapi.json"}, operationId="x")
    assert isinstance(await openapi.send(call), Postponed)
    with pytest.raises(ResourceError, match="opened by ada"):
        await HttpResources(http).fetch({"endpoint": f"{url}/schema.json"})


async def test_the_exchange_raises_it_as_what_was_not_sent():
    circuits = Circuits(failures=1, pause_s=10, time=lambda: 0.0, now=SystemClock().now)
    async with open_session(LOCAL) as session:
        exchange = Exchange(session, circuits=circuits)
        deadline = asyncio.get_running_loop().time() + 5
        request = Request("GET", URL(f"http://127.0.0.1:{free_port()}/"), {})
        with pytest.raises(UnsentError) as first:
            await exchange.send(request, deadline)
        assert not isinstance(first.value, PostponedError)
        with pytest.raises(PostponedError):
            await exchange.send(request, deadline)
        assert not issubclass(PostponedError, LostError)


async def test_a_service_waits_for_a_host_that_comes_back(tmp_path):
    """Ten orchestrations meet a host that is away; it comes back, and each is served once, without an undo."""
    served: list[str] = []
    port = free_port()

    async def serve(reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        served.append(head.split()[0])
        writer.write(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        await writer.drain()
        writer.close()

    async with running_service(tmp_path, circuit_failures=3, circuit_pause=0.3) as api:
        await api.deploy(FLOW.replace("URL", f"http://127.0.0.1:{port}/"))
        ids = [(await api.start("demo/flow"))["id"] for _ in range(10)]
        circuits = await turned_away(api, 10)
        assert (circuits[0]["host"], circuits[0]["opened_by"]) == (f"http://127.0.0.1:{port}", None)
        assert "cannot connect" in circuits[0]["last_failure"]
        metrics = (await api.http.get("/metrics")).text
        assert f'retrace_circuit_open{{host="http://127.0.0.1:{port}"}} 1.0' in metrics
        server = await asyncio.start_server(serve, "127.0.0.1", port)
        ended = [await api.ended(id_) for id_ in ids]
        server.close()
        assert {each["status"] for each in ended} == {"completed"}
        assert served == ["POST"] * 10
        [circuit] = (await api.done("GET", "/v1/circuits"))["items"]
        assert (circuit["state"], circuit["failures"]) == ("closed", 0)


async def test_an_operator_opens_and_closes_by_hand(tmp_path):
    async with raw_server(answering(OK)) as url, running_service(tmp_path) as api:
        await api.deploy(FLOW.replace("URL", url))
        body = {"host": url, "reason": "they migrate"}
        [shown] = (await api.done("POST", "/v1/circuits/open", json=body))["items"]
        assert (shown["state"], shown["opened_by"], shown["reason"]) == ("open", "anonymous", "they migrate")
        id_ = (await api.start("demo/flow"))["id"]
        await turned_away(api, 1)
        assert (await api.status(id_))["tasks"][0]["status"] == "running"
        [shown] = (await api.done("POST", "/v1/circuits/close", json={"host": url}))["items"]
        assert (shown["state"], shown["opened_by"]) == ("closed", None)
        assert (await api.ended(id_))["status"] == "completed"


@pytest.mark.parametrize(
    "host", ["car.test", "ftp://car.test", "http://car.test/path", "http://u:p@car.test", "", "http://:1", 7]
)
async def test_a_host_is_an_origin(tmp_path, host):
    async with running_service(tmp_path) as api:
        answered = await api.http.post("/v1/circuits/open", json={"host": host})
        assert (answered.status_code, answered.json()["errors"][0]["pointer"]) == (422, "/host"), json.dumps(
            answered.json()
        )
        unknown = await api.http.post("/v1/circuits/close", json={"host": "http://nobody.test"})
        assert unknown.status_code == 404
