"""The REST API behind a real server and real sockets: what only shows there, such as streams that stay open, bodies that
are refused while they arrive, and clients that go away.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn

from adapters.bootstrap import Service, open_service
from adapters.settings import Settings
from retrace.client import Client
from tests.integration.test_rest_service import PATIENT

pytestmark = pytest.mark.anyio


@contextlib.asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[tuple[httpx2.AsyncClient, Service, uvicorn.Server]]:
    """A client of a service on a free port, the service and its server."""
    settings = Settings(database=f"sqlite:///{folder}/retrace.db", partitions=2, grace=1.0)
    service = await open_service(settings, functions={}, development=False)
    server = uvicorn.Server(uvicorn.Config(service.app, port=0, log_level="error", lifespan="off"))
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup()
    port = port_of(server)
    turning = asyncio.create_task(server.main_loop())
    try:
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:
            await http.post("/v1/definitions", content=PATIENT, headers={"Content-Type": "application/yaml"})
            yield http, service, server
    finally:
        server.should_exit = True
        service.leave()
        await turning
        await server.shutdown()
        await service.close()


def port_of(server: uvicorn.Server) -> int:
    return int(server.servers[0].sockets[0].getsockname()[1])


@contextlib.asynccontextmanager
async def listening(folder: Path) -> AsyncIterator[tuple[httpx2.AsyncClient, Service, int]]:
    """The same with the port in place of the server."""
    async with serving(folder) as (http, service, server):
        yield http, service, port_of(server)


async def _next(lines: AsyncIterator[str], wanted: str) -> str:
    async for line in lines:
        if line.startswith(wanted):
            return line
    raise AssertionError(f"the stream ended before {wanted}")


async def test_a_stream_shows_events_as_they_happen_and_ends_with_the_final_one(tmp_path):
    async with listening(tmp_path) as (http, _, _):
        started = (await http.post("/v1/orchestrations", json={"definition": "patient"})).json()
        path = f"/v1/orchestrations/{started['id']}"
        async with http.stream("GET", f"{path}/stream") as answer:
            lines = aiter(answer.aiter_lines())
            await _next(lines, "event: orchestration.started")
            await http.post(f"{path}/notes", json={"text": "while you look"})
            while "while you look" not in await _next(lines, "data: "):
                pass
            await http.post(f"{path}/cancel")
            rest = [line async for line in lines]
        status = (await http.get(path)).json()
        assert status["status"] == "cancelled"
        assert f"id: {status['version']}" in rest


async def test_streams_and_long_polls_end_when_the_service_leaves(tmp_path):
    async with listening(tmp_path) as (http, service, _):
        started = (await http.post("/v1/orchestrations", json={"definition": "patient"})).json()
        path = f"/v1/orchestrations/{started['id']}"
        poll = asyncio.create_task(http.get(f"{path}?wait=60&after=1000"))
        async with http.stream("GET", f"{path}/stream") as answer:
            lines = aiter(answer.aiter_lines())
            await _next(lines, "event: ")
            service.leave()
            assert [line async for line in lines]
        assert (await poll).status_code == 200
        assert (await http.get("/readyz")).status_code == 503


async def test_a_hundred_megabytes_are_refused_while_they_arrive(tmp_path):
    async with listening(tmp_path) as (http, _, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = "POST /v1/orchestrations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
        answer = asyncio.create_task(reader.readline())
        sent = 0
        while not answer.done() and sent < 100_000_000:
            writer.write(chunk)
            await writer.drain()
            sent += 65_536
            await asyncio.sleep(0)
        assert b"413" in await answer
        assert sent < 20_000_000
        writer.close()
        assert (await http.get("/healthz")).status_code == 200


async def test_head_has_the_length_of_get(tmp_path):
    async with listening(tmp_path) as (http, _, _):
        path = "/v1/definitions/default/patient/1.0.0"
        got, answer = await http.get(path), await http.head(path)
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["Content-Length"] == got.headers["Content-Length"] == str(len(got.content))


async def test_paths_as_they_come_over_the_wire_never_break_anything(tmp_path):
    async with listening(tmp_path) as (_, _, port):
        for target in (
            "/v1/orchestrations/%00",
            "/v1/orchestrations/%ff%fe",
            "/%2e%2e/%2e%2e/etc",
            "//",
            "/v1//",
            "/x?%00",
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            status = (await reader.readline()).split()[1]
            assert status in {b"400", b"404"}, (target, status)
            writer.close()


@pytest.mark.parametrize("accept", ["application/x-ndjson", "text/event-stream"])
async def test_what_a_client_does_not_read_stays_in_the_database(tmp_path, accept):
    async with serving(tmp_path) as (http, _, server):
        started = (await http.post("/v1/orchestrations", json={"definition": "patient"})).json()
        path = f"/v1/orchestrations/{started['id']}"
        for number in range(110):
            event = {"specversion": "1.0", "id": str(number), "source": "test", "type": "large", "data": "x" * 80_000}
            await http.post(f"{path}/events", json=event, headers={"Content-Type": "application/cloudevents+json"})
        await http.post(f"{path}/cancel")
        version = (await http.get(f"{path}?wait=10")).json()["version"]
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port_of(server)))
        before = set(server.server_state.connections)
        what = "stream" if accept == "text/event-stream" else "history"
        request = f"GET {path}/{what} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
        await asyncio.get_running_loop().sock_sendall(client, request.encode())
        stalled = await _stalled(server, before)
        # As much as the server lets a socket fall behind, and the slice that told.
        assert stalled.transport.get_write_buffer_size() < 4 * 65_536
        assert (await http.get("/healthz")).status_code == 200
        reader, writer = await asyncio.open_connection(sock=client)
        received = await reader.read()
        writer.close()
        assert received.count(b"event.received") >= 110
        assert f'"version":{version}'.encode() in received


async def _stalled(server: uvicorn.Server, before: set[Any]) -> Any:
    """The new connection, once its client takes no more."""
    async with asyncio.timeout(30):
        while True:
            new: set[Any] = server.server_state.connections - before
            for each in new:
                if each.flow is not None and each.flow.write_paused:
                    return each
            await asyncio.sleep(0)


async def test_the_feed_of_everything_is_followed_by_the_client_until_the_service_stops(tmp_path):
    followed: list[tuple[Any, str]] = []
    came = asyncio.Event()
    loop = asyncio.get_running_loop()

    def follow(port: int, after: str | None = None) -> None:
        with Client(f"http://127.0.0.1:{port}") as client:
            for event, cursor in client.audit.follow({"type": "note.*"}, after=after):
                followed.append((event, cursor))
                loop.call_soon_threadsafe(came.set)

    async with serving(tmp_path) as (http, service, server):
        started = (await http.post("/v1/orchestrations", json={"definition": "patient"})).json()
        notes = f"/v1/orchestrations/{started['id']}/notes"
        await http.post(notes, json={"text": "before"})
        following = asyncio.create_task(asyncio.to_thread(follow, port_of(server)))
        for text in ("before", "later"):
            if text == "later":
                await http.post(notes, json={"text": text})
            await asyncio.wait_for(came.wait(), 20)
            came.clear()
            assert followed[-1][0]["data"] == {"text": text}
        resumed = asyncio.create_task(asyncio.to_thread(follow, port_of(server), followed[0][1]))
        await asyncio.wait_for(came.wait(), 20)
        assert followed[-1] == followed[1]
        with Client(f"http://127.0.0.1:{port_of(server)}") as client:
            lines = await asyncio.to_thread(lambda: list(client.audit.export({"type": "note.*"})))
        assert '"events":2' in lines[-1]
    await asyncio.wait_for(asyncio.gather(following, resumed), 20)
    assert len(followed) == 3
    assert service.node.watch.closed
