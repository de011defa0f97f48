"""A service between queues: events in, events and lifecycle events out, while the broker dies and comes back under load.

Nothing is lost and nothing is applied twice: each event in starts one orchestration, which takes its effect once and sends
one event out, as receivers see it that drop repeats by source and id.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import aio_pika
import pytest

from adapters.bootstrap import open_service
from adapters.messaging.reading import read_event
from adapters.settings import Settings
from retrace.functions import Function, load_functions
from tests.support.brokers import nats_server, rabbit
from tests.support.service import Api, running_service

pytestmark = [pytest.mark.anyio, pytest.mark.services, pytest.mark.slow, pytest.mark.timeout(300)]

EVENTS = 200
FUNCTIONS = """
from retrace import function

effects = []

@function("book")
def book(order):
    effects.append(order)
    return {"booked": order}
"""
ORDER = """
document: {dsl: '1.0.3', namespace: shop, name: order, version: '1.0.0'}
schedule: {on: {one: {with: {type: ordered}}}}
do:
  - book: {call: book, with: {order: '${ $workflow.input[0].data.order }'}}
  - tell: {emit: {event: {with: {source: /shop, type: booked, data: {order: '${ .booked }'}}}}}
"""


def ordered(number: int) -> bytes:
    event = {"specversion": "1.0", "id": f"{number}", "source": "/web", "type": "ordered", "data": {"order": number}}
    return json.dumps(event).encode()


class Nats:
    """Streams of a server that is killed and started again on its folder."""

    def __init__(self, server: Any) -> None:
        self._server = server
        url = server.url
        self.settings = {
            "event_sink": f"{url}?subject=out.%7Btype%7D",
            "lifecycle_events": f"{url}?subject=life.%7Btype%7D",
        }
        self.source = f"{url}?stream=IN&consumer=retrace&prefetch=10&dead_letter=dead.x"

    async def put(self, body: bytes) -> None:
        """Returns once the stream has it."""
        while True:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(3), self._server.client() as client:
                    await client.jetstream().publish("in.x", body, timeout=1)
                    return
            await asyncio.sleep(0.05)

    async def fail(self) -> None:
        await self._server.kill()

    async def mend(self) -> None:
        await self._server.start()

    async def out(self, stream: str) -> list[dict[str, Any]]:
        async with self._server.client() as client:
            jetstream = client.jetstream()
            last = (await jetstream.stream_info(stream)).state.last_seq
            return [json.loads((await jetstream.get_msg(stream, seq)).data or b"") for seq in range(1, last + 1)]


class Amqp:
    """Queues of RabbitMQ behind a way that is cut."""

    def __init__(self, broker: Any, names: dict[str, str]) -> None:
        self._broker, self._names = broker, names
        self.settings = {
            "event_sink": f"{broker.url}?routing_key={names['OUT']}",
            "lifecycle_events": f"{broker.url}?routing_key={names['LIFE']}",
        }
        self.source = f"{broker.url}?queue={names['IN']}&prefetch=10&dead_letter={names['DEAD']}"
        self._got: dict[str, list[dict[str, Any]]] = {"OUT": [], "LIFE": [], "DEAD": []}

    async def put(self, body: bytes) -> None:
        message = aio_pika.Message(body, delivery_mode=2)
        await self._broker.channel.default_exchange.publish(message, self._names["IN"])

    async def fail(self) -> None:
        await self._broker.proxy.cut()

    async def mend(self) -> None:
        await self._broker.proxy.start()

    async def out(self, stream: str) -> list[dict[str, Any]]:
        queue = await self._broker.channel.get_queue(self._names[stream])
        while (message := await queue.get(fail=False)) is not None:
            if stream == "DEAD":
                self._got[stream].append({"body": message.body})
            else:
                self._got[stream].append(read_event(message.content_type, message.headers, message.body, 10**6))
            await message.ack()
        return self._got[stream]


@pytest.fixture(params=["nats", "amqp"])
async def broker(request, tmp_path) -> AsyncIterator[Any]:
    if request.param == "nats":
        async with nats_server(tmp_path / "nats") as server:
            async with server.client() as client:
                for name, subjects in (("IN", "in.>"), ("OUT", "out.>"), ("LIFE", "life.>"), ("DEAD", "dead.>")):
                    await client.jetstream().add_stream(name=name, subjects=[subjects])
            yield Nats(server)
    else:
        async with rabbit() as broker:
            names = {name: await broker.queue(name) for name in ("IN", "OUT", "LIFE", "DEAD")}
            yield Amqp(broker, names)
            async with asyncio.timeout(20):
                for name in names.values():
                    queue = await broker.channel.get_queue(name)
                    await queue.delete(if_unused=False, if_empty=False)


@pytest.fixture
def functions(tmp_path) -> dict[str, Function]:
    file = tmp_path / "functions.py"
    file.write_text(FUNCTIONS)
    return dict(load_functions(file))


def told_to_the_end(life: list[dict[str, Any]]) -> set[str]:
    """Ids of those whose last lifecycle event is there."""
    last = "io.serverlessworkflow.workflow.status-changed.v1"
    return {each["subject"] for each in life if (each["type"], each["data"].get("status")) == (last, "completed")}


async def until(holds: Any, timeout_s: float = 60.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not await holds():  # noqa: ASYNC110 - it is another process that moves
            await asyncio.sleep(0.1)


async def metric(api: Api, name: str) -> float:
    text = (await api.http.get("/metrics")).text
    return float(next(line.rsplit(" ", 1)[1] for line in text.splitlines() if line.startswith(name)))


async def test_a_broker_that_dies_under_load_loses_nothing_and_doubles_nothing(
    broker, tmp_path, functions, monkeypatch
):
    monkeypatch.setenv("RETRACE_SOURCE_ORDERS", broker.source)
    effects = functions["book"].callable.__globals__["effects"]
    async with running_service(tmp_path, functions, **broker.settings) as api:
        assert (await api.deploy(ORDER))["http_status"] == 201
        done = asyncio.Event()

        async def weather() -> None:
            while not done.is_set():
                await asyncio.sleep(0.4)
                await broker.fail()
                await asyncio.sleep(0.3)
                await broker.mend()

        async def load() -> None:
            for number in range(EVENTS):
                await broker.put(ordered(number))
                if number % 10 == 0:
                    await broker.put(ordered(number))  # sent twice
                if number == EVENTS // 2:
                    await broker.put(b"no event")
                await asyncio.sleep(0.01)

        storm = asyncio.ensure_future(weather())
        await load()
        done.set()
        await storm

        async def all_ended() -> bool:
            name = 'retrace_orchestrations_ended_total{status="completed"}'
            return await metric(api, name) == EVENTS

        await until(all_ended)

        async def all_out() -> bool:
            return len({each["id"] for each in await broker.out("OUT")}) >= EVENTS

        await until(all_out)

        async def all_told() -> bool:
            lag = await metric(api, "retrace_lifecycle_lag_events")
            return lag == 0 and await metric(api, "retrace_outbox_delayed") == 0

        await until(all_told)
        assert await metric(api, 'retrace_source_messages_total{outcome="rejected",source="orders"}') >= 1
        assert await metric(api, "retrace_orchestrations_started_total") == EVENTS
        life = await broker.out("LIFE")
        out = await broker.out("OUT")
        dead = await broker.out("DEAD") if isinstance(broker, Amqp) else [{"body": b"no event"}]

    by_id = {(each["source"], each["id"]): each for each in out}
    assert sorted(each["data"]["order"] for each in by_id.values()) == list(range(EVENTS))
    assert sorted(effects) == list(range(EVENTS))
    assert {each["body"] for each in dead} == {b"no event"}

    told: dict[str, dict[str, str]] = {}
    for each in life:
        told.setdefault(each["subject"], {}).setdefault(each["id"], each["type"])
    assert len(told) == EVENTS
    kinds = Counter(tuple(types.values()) for types in told.values())
    assert len(kinds) == 1, "each orchestration is told alike, in order"
    ((types, _),) = kinds.items()
    assert types[0] == "io.serverlessworkflow.workflow.started.v1"
    assert types[-2] == "io.serverlessworkflow.workflow.completed.v1"
    assert types.count("io.serverlessworkflow.task.completed.v1") == 2


async def test_two_nodes_share_a_queue_and_one_leaves(broker, tmp_path, functions, monkeypatch, fresh_postgres):
    monkeypatch.setenv("RETRACE_SOURCE_ORDERS", broker.source)
    effects = functions["book"].callable.__globals__["effects"]
    settings = {"database": fresh_postgres, "partitions": 4, "lease": 2.0, "grace": 1.0, **broker.settings}
    async with running_service(tmp_path, functions, **settings) as api:
        assert (await api.deploy(ORDER))["http_status"] == 201
        other = await open_service(Settings(allow_loopback=True, **settings), functions=functions, development=False)
        try:
            for number in range(200):
                await broker.put(ordered(number))
            share = other.node.intake.outcomes

            async def both_work() -> bool:
                return share["orders", "accepted"] > 10 and len(effects) > 50

            await until(both_work)
        finally:
            await other.close()
        for number in range(150, 300):
            await broker.put(ordered(number))

        async def all_out() -> bool:
            return len({each["id"] for each in await broker.out("OUT")}) >= 300

        await until(all_out)

        async def all_told() -> bool:
            return len(told_to_the_end(await broker.out("LIFE"))) == 300

        await until(all_told)
        found = await broker.out("LIFE")
    assert sorted(effects) == list(range(300))
    told: dict[str, dict[str, str]] = {}
    for each in found:
        told.setdefault(each["subject"], {}).setdefault(each["id"], each["type"])
    assert len({tuple(types.values()) for types in told.values()}) == 1, "each is told alike, in order"
