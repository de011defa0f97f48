"""What every implementation of the port `EventSource` promises: a queue in memory, RabbitMQ, NATS.

A *place* puts messages into the queue, tells what is left there and what went to the dead letters, and cuts the connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import aio_pika
import pytest

from adapters.messaging.addresses import read_sources
from adapters.messaging.building import build_sources
from application.intake import Delivery, EventSource, SourceAwayError, UnreadableMessageError
from tests.support.brokers import nats_server, rabbit
from tests.support.queued import QueuedSource

pytestmark = pytest.mark.anyio

PREFETCH = 3


def event(number: int) -> dict[str, Any]:
    return {"specversion": "1.0", "id": f"{number}", "source": "/x", "type": "go", "data": {"n": number}}


class MemoryPlace:
    def __init__(self) -> None:
        self.source = QueuedSource("orders", PREFETCH)

    def again(self) -> EventSource:
        self.source.away = False
        return self.source

    async def put(self, body: bytes, content_type: str | None = None, headers: dict[str, str] | None = None) -> None:
        self.source.put(content_type, headers or {}, body)

    async def left(self) -> int:
        return len(self.source.waiting) + len(self.source.unsettled)

    async def dead(self) -> list[bytes]:
        return [body for body, _ in self.source.dead]

    async def cut(self) -> None:
        self.source.cut()

    async def mend(self) -> None: ...


class AmqpPlace:
    def __init__(self, broker: Any, queue: Any, dead: Any) -> None:
        self._broker, self._queue, self._dead = broker, queue, dead
        self._url = f"{broker.url}?queue={queue.name}&prefetch={PREFETCH}&dead_letter={dead.name}"

    def again(self) -> EventSource:
        return build_sources(read_sources({"RETRACE_SOURCE_ORDERS": self._url}), 1000)[0]

    async def put(self, body: bytes, content_type: str | None = None, headers: dict[str, str] | None = None) -> None:
        message = aio_pika.Message(body, content_type=content_type, headers={**(headers or {})})
        await self._broker.channel.default_exchange.publish(message, self._queue.name)

    async def left(self) -> int:
        """Ready ones; those that are unsettled come back when their connection ends."""
        return int((await self._queue.declare()).message_count)

    async def dead(self) -> list[bytes]:
        found = []
        while (message := await self._dead.get(fail=False)) is not None:
            assert message.headers["retrace-rejected"]
            found.append(message.body)
            await message.ack()
        return found

    async def cut(self) -> None:
        await self._broker.proxy.cut()

    async def mend(self) -> None:
        await self._broker.proxy.start()


class NatsPlace:
    def __init__(self, server: Any) -> None:
        self._server = server
        options = f"stream=IN&consumer=retrace&subject=in.%3E&prefetch={PREFETCH}&dead_letter=dead.orders"
        self._url = f"{server.url}?{options}"

    def again(self) -> EventSource:
        return build_sources(read_sources({"RETRACE_SOURCE_ORDERS": self._url}), 1000)[0]

    async def put(self, body: bytes, content_type: str | None = None, headers: dict[str, str] | None = None) -> None:
        given = {**(headers or {}), **({"content-type": content_type} if content_type else {})}
        async with self._server.client() as client:
            await client.jetstream().publish("in.orders", body, headers=given or None)

    async def left(self) -> int:
        async with self._server.client() as client:
            info = await client.jetstream().consumer_info("IN", "retrace")
            return int(info.num_pending or 0) + int(info.num_ack_pending or 0)

    async def dead(self) -> list[bytes]:
        async with self._server.client() as client:
            stream = client.jetstream()
            last = (await stream.stream_info("DEAD")).state.last_seq
            return [(await stream.get_msg("DEAD", seq)).data or b"" for seq in range(1, last + 1)]

    async def cut(self) -> None:
        await self._server.kill()

    async def mend(self) -> None:
        await self._server.start()


@pytest.fixture(params=["memory", *(pytest.param(kind, marks=pytest.mark.services) for kind in ("amqp", "nats"))])
async def place(request, tmp_path) -> AsyncIterator[Any]:
    if request.param == "memory":
        yield MemoryPlace()
    elif request.param == "amqp":
        async with rabbit() as broker:
            names = [await broker.queue(each) for each in ("in", "dead")]
            queues = [await broker.channel.get_queue(name) for name in names]
            yield AmqpPlace(broker, *queues)
            for queue in queues:
                await queue.delete(if_unused=False, if_empty=False)
    else:
        async with nats_server(tmp_path) as server:
            async with server.client() as client:
                await client.jetstream().add_stream(name="IN", subjects=["in.>"])
                await client.jetstream().add_stream(name="DEAD", subjects=["dead.>"])
            yield NatsPlace(server)


@contextlib.asynccontextmanager
async def consuming(source: EventSource, settle: Any) -> AsyncIterator[asyncio.Task[None]]:
    connected = asyncio.Event()
    task = asyncio.ensure_future(source.consume(settle, connected.set))
    async with asyncio.timeout(10):
        await asyncio.wait({task, waiting := asyncio.ensure_future(connected.wait())}, return_when="FIRST_COMPLETED")
        waiting.cancel()
    assert connected.is_set()
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while True:
            found = holds()
            if await found if asyncio.iscoroutine(found) else found:
                return
            await asyncio.sleep(0.02)


async def test_what_is_accepted_comes_once_and_is_gone(place):
    got: list[int] = []

    async def settle(delivery: Delivery) -> None:
        got.append(delivery.event()["data"]["n"])
        await delivery.accept()

    async with consuming(place.again(), settle):
        for number in range(20):
            await place.put(json.dumps(event(number)).encode(), "application/cloudevents+json")
        await until(lambda: len(got) == 20)

        async def nothing_left() -> bool:
            return int(await place.left()) == 0

        await until(nothing_left)
    assert sorted(got) == list(range(20))


async def test_no_more_are_in_hand_than_was_said(place):
    came: list[Delivery] = []
    in_hand: set[str] = set()
    most = 0
    one_ends = asyncio.Event()

    async def settle(delivery: Delivery) -> None:
        nonlocal most
        came.append(delivery)
        in_hand.add(delivery.event()["id"])
        most = max(most, len(in_hand))
        await (one_ends if len(came) == 1 else asyncio.Event()).wait()
        in_hand.remove(delivery.event()["id"])
        await delivery.accept()

    for number in range(10):
        await place.put(json.dumps(event(number)).encode())
    async with consuming(place.again(), settle):
        await until(lambda: len(came) == PREFETCH)
        one_ends.set()
        await until(lambda: len(came) == PREFETCH + 1)  # the next comes for the one that ended
        assert most == PREFETCH

    # What was not settled comes again: nothing is lost.
    again: set[str] = set()

    async def accept(delivery: Delivery) -> None:
        again.add(delivery.event()["id"])
        await delivery.accept()

    if isinstance(place, NatsPlace):
        return  # there it comes again after the consumer's time for an acknowledgement
    async with consuming(place.again(), accept):
        await until(lambda: len(again) == 9)


async def test_what_is_rejected_goes_to_the_dead_letters_and_holds_up_nobody(place):
    good: list[str] = []

    async def settle(delivery: Delivery) -> None:
        try:
            found = delivery.event()
        except UnreadableMessageError as error:
            await delivery.reject(str(error))
        else:
            good.append(found["id"])
            await delivery.accept()

    bad = [
        b"\xff",
        b"{}",
        b"[]",
        json.dumps({**event(1), "id": ""}).encode(),
        json.dumps({**event(1), "data": "x" * 1000}).encode(),
    ]
    for body in bad:
        await place.put(body, "application/json")
    await place.put(json.dumps([event(1)]).encode(), "application/cloudevents-batch+json")
    await place.put(json.dumps(event(7)).encode())
    async with consuming(place.again(), settle):
        await until(lambda: good == ["7"])
        dead: list[bytes] = []

        async def buried() -> bool:
            found = await place.dead()
            dead[:] = found if isinstance(place, NatsPlace | MemoryPlace) else dead + found
            return len(dead) == len(bad) + 1

        await until(buried)
    assert set(bad) < set(dead)


async def test_a_rejected_message_as_long_as_a_server_takes_finds_its_place(place):
    body = b"z" * (1_048_576 - 5)
    await place.put(body)

    async def settle(delivery: Delivery) -> None:
        with pytest.raises(UnreadableMessageError):
            delivery.event()
        await delivery.reject("it is too long")

    async with consuming(place.again(), settle):

        async def buried() -> bool:
            return list(await place.dead()) == [body]

        await until(buried)


@pytest.mark.parametrize("prefix", ["ce-", "cloudEvents:", "cloudEvents_"])
async def test_binary_mode_is_understood(place, prefix):
    if isinstance(place, NatsPlace) and prefix != "ce-":
        pytest.skip("a name of AMQP")
    got: list[dict[str, Any]] = []

    async def settle(delivery: Delivery) -> None:
        got.append(delivery.event())
        await delivery.accept()

    attributes = {name: value for name, value in event(3).items() if name != "data"}
    headers = {f"{prefix}{name}": value for name, value in attributes.items()}
    await place.put(b'{"n":3}', "application/json", headers)
    async with consuming(place.again(), settle):
        await until(lambda: got)
    assert got == [{**event(3), "datacontenttype": "application/json"}]


async def test_an_idle_queue_keeps_its_connection(place, monkeypatch):
    monkeypatch.setattr("adapters.messaging.jetstream._FETCH_S", 0.2)
    got: list[str] = []

    async def settle(delivery: Delivery) -> None:
        got.append(delivery.event()["id"])
        await delivery.accept()

    async with consuming(place.again(), settle) as task:
        for number in range(5):
            await place.put(json.dumps(event(number)).encode())
            await asyncio.wait({task}, timeout=0.5)
            assert not task.done()
        await until(lambda: len(got) == 5)


async def test_a_connection_that_is_lost_is_told_and_can_be_made_again(place):
    got: list[str] = []

    async def settle(delivery: Delivery) -> None:
        got.append(delivery.event()["id"])
        await delivery.accept()

    async with consuming(place.again(), settle) as task:
        await place.cut()
        with pytest.raises(SourceAwayError):
            async with asyncio.timeout(10):
                await task
    if not isinstance(place, MemoryPlace):
        with pytest.raises(SourceAwayError):
            await place.again().consume(settle, lambda: None)
    await place.mend()
    await place.put(json.dumps(event(5)).encode())
    async with consuming(place.again(), settle):
        await until(lambda: got == ["5"])
