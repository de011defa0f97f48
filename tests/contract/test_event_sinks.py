"""What every implementation of the port `EventSink` promises, over HTTP and over the brokers, in every mode.

A *receiver* is what stands behind a sink: it tells what it got, can be away, and refuses events of the type ``refused``.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from adapters.callouts.network import NetworkPolicy, open_session
from adapters.messaging.addresses import read_sink
from adapters.messaging.building import build_sink
from adapters.messaging.encoding import BATCH, STRUCTURED
from adapters.messaging.reading import read_event
from application.ports import DeliveryError, EventSink, SinkAwayError
from tests.support.brokers import free_port, nats_server, rabbit

pytestmark = pytest.mark.anyio

EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": 'é 1%"',
    "source": "/orders",
    "type": "booked.today",
    "time": "2026-01-01T00:00:00.120Z",
    "datacontenttype": "application/json",
    "tenant": "Zoë",
    "data": {"name": "Zoë", "n": 1.5},
}


class HttpReceiver:
    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/events"
        self.got: list[dict[str, Any]] = []
        self.requests = 0
        self._runner: web.AppRunner | None = None

    async def back(self) -> None:
        app = web.Application()
        app.router.add_post("/events", self._receive)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def away(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def received(self, _count: int) -> list[dict[str, Any]]:
        return self.got

    async def _receive(self, request: web.Request) -> web.Response:
        self.requests += 1
        body, media = await request.read(), request.content_type
        if media == BATCH:
            events = json.loads(body)
        else:
            from urllib.parse import unquote

            headers = {name: unquote(value) for name, value in request.headers.items()}
            assert (media == STRUCTURED) is (self.mode == "structured")
            events = [read_event(request.headers.get("Content-Type"), headers, body, 10**6)]
        if any(each["type"] == "refused" for each in events):
            return web.Response(status=400)
        self.got += events
        return web.Response(status=202)


class AmqpReceiver:
    def __init__(self, broker: Any, exchange: str, queue: Any) -> None:
        self._broker, self._queue = broker, queue
        self.url = f"{broker.url}?exchange={exchange}"
        self.got: list[dict[str, Any]] = []

    async def back(self) -> None:
        await self._broker.proxy.start()

    async def away(self) -> None:
        await self._broker.proxy.cut()

    async def received(self, count: int) -> list[dict[str, Any]]:
        while len(self.got) < count:
            message = await self._queue.get(timeout=5)
            assert message.delivery_mode == 2
            self.got.append(read_event(message.content_type, message.headers, message.body, 10**6))
            await message.ack()
        return self.got


class NatsReceiver:
    def __init__(self, server: Any) -> None:
        self._server = server
        self.url = f"{server.url}?subject=out.{{type}}"

    async def back(self) -> None:
        await self._server.start()

    async def away(self) -> None:
        await self._server.kill()

    async def received(self, _count: int) -> list[dict[str, Any]]:
        from urllib.parse import unquote

        async with self._server.client() as client:
            stream = client.jetstream()
            last = (await stream.stream_info("OUT")).state.last_seq
            messages = [await stream.get_msg("OUT", seq) for seq in range(1, last + 1)]
        found = []
        for message in messages:
            headers = {name: unquote(value) for name, value in (message.headers or {}).items()}
            found.append(read_event(headers.get("content-type"), headers, message.data or b"", 10**6))
        return found


@contextlib.asynccontextmanager
async def receiver_of(kind: str, mode: str, folder: Any) -> AsyncIterator[Any]:
    if kind == "http":
        http = HttpReceiver(mode)
        await http.back()
        try:
            yield http
        finally:
            await http.away()
    elif kind == "amqp":
        async with rabbit() as broker:
            name = await broker.queue("out")
            exchange = await broker.channel.declare_exchange(f"{broker.tag}-x", "topic", auto_delete=True)
            queue = await broker.channel.get_queue(name)
            await queue.bind(exchange, "booked.#")
            yield AmqpReceiver(broker, exchange.name, queue)
            await queue.delete(if_unused=False, if_empty=False)
    else:
        async with nats_server(folder) as server:
            async with server.client() as client:
                await client.jetstream().add_stream(name="OUT", subjects=["out.booked.>"])
            yield NatsReceiver(server)


BROKERS = [
    pytest.param((kind, mode), marks=pytest.mark.services)
    for kind in ("amqp", "nats")
    for mode in ("structured", "binary")
]
ALL = [("http", "structured"), ("http", "binary"), ("http", "batch"), *BROKERS]


@pytest.fixture(params=ALL, ids=lambda each: "-".join(each) if isinstance(each, tuple) else None)
async def place(request, tmp_path) -> AsyncIterator[tuple[EventSink, Any]]:
    kind, mode = request.param
    async with (
        receiver_of(kind, mode, tmp_path) as receiver,
        open_session(NetworkPolicy(allow_loopback=True)) as session,
    ):
        sink, close = build_sink(read_sink(receiver.url), mode, session)
        yield sink, receiver
        await close()


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"data": None},
        {"data": "text", "datacontenttype": "text/plain"},
        {"data": [1, "Zoë"], "datacontenttype": "application/x+json"},
        {"data_base64": base64.b64encode(b"\0\xff").decode(), "datacontenttype": "image/png"},
    ],
    ids=["object", "null", "text", "json", "binary"],
)
async def test_an_event_arrives_as_it_was(place, content):
    sink, receiver = place
    sent = {name: value for name, value in EVENT.items() if name != "data" or "data_base64" not in content} | content
    await sink.publish(sent)
    assert await receiver.received(1) == [sent]


async def test_an_event_without_data_says_nothing_of_its_type(place):
    sink, receiver = place
    sent = {name: value for name, value in EVENT.items() if name not in {"data", "datacontenttype"}}
    await sink.publish(sent)
    assert await receiver.received(1) == [sent]


async def test_many_at_a_time_arrive_once_each(place):
    sink, receiver = place
    events = [{**EVENT, "id": f"{number}"} for number in range(100)]
    await asyncio.gather(*map(sink.publish, events))
    found = await receiver.received(100)
    assert sorted(int(each["id"]) for each in found) == list(range(100))
    if getattr(receiver, "mode", "") == "batch":
        assert receiver.requests < 10


async def test_what_is_awaited_one_by_one_arrives_in_order(place):
    sink, receiver = place
    for number in range(20):
        await sink.publish({**EVENT, "id": f"{number}"})
    assert [int(each["id"]) for each in await receiver.received(20)] == list(range(20))


async def test_one_that_is_refused_delays_only_itself(place):
    sink, receiver = place
    events = [{**EVENT, "id": f"{number}", "type": "refused" if number == 3 else "booked.now"} for number in range(6)]
    ended = await asyncio.gather(*map(sink.publish, events), return_exceptions=True)
    assert [isinstance(each, DeliveryError) for each in ended] == [number == 3 for number in range(6)]
    assert not isinstance(ended[3], SinkAwayError)
    assert {each["id"] for each in await receiver.received(5)} == {"0", "1", "2", "4", "5"}


async def test_a_receiver_that_was_away_gets_what_is_tried_again(place):
    sink, receiver = place
    await sink.publish({**EVENT, "id": "before"})
    await receiver.away()
    for _ in range(3):
        with pytest.raises(DeliveryError):
            await sink.publish(EVENT)
    await receiver.back()
    await until_taken(sink, EVENT)
    assert {each["id"] for each in await receiver.received(2)} == {"before", EVENT["id"]}


async def until_taken(sink: EventSink, event: dict[str, Any]) -> None:
    """As the outbox does, without its pauses."""
    async with asyncio.timeout(20):
        while True:
            try:
                await sink.publish(event)
                return
            except SinkAwayError:
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("hurtful", ["a type beyond what a broker routes by", "all that a server takes, and some more"])
async def test_one_that_the_broker_can_never_take_leaves_the_connection_to_others(place, hurtful):
    sink, receiver = place
    if isinstance(receiver, HttpReceiver) or (isinstance(receiver, AmqpReceiver) and hurtful.startswith("all")):
        pytest.skip("there it can")
    body = {**EVENT, "data": ""}
    if hurtful.startswith("a type"):
        body["type"] = "booked." + "x" * 5000
    else:  # with its headers it is too long, without them it is not
        body["data"] = "x" * (1_048_576 - 20 - len(json.dumps(body, ensure_ascii=False).encode()))
    for _ in range(2):
        with pytest.raises(DeliveryError) as told:
            await sink.publish(body)
        assert not isinstance(told.value, SinkAwayError)
        assert len(str(told.value)) < 300
    await sink.publish(EVENT)
    assert [each["id"] for each in await receiver.received(1)] == [EVENT["id"]]
