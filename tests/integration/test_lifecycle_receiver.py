"""Emitted and lifecycle events of a real service at receivers over HTTP, in each mode, after a time without them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from werkzeug import Request, Response

from adapters.messaging.reading import read_event
from tests.support.service import Api, running_service

pytestmark = pytest.mark.anyio

EMITTING = """
document: {dsl: '1.0.3', namespace: shop, name: emitting, version: '1.0.0'}
do:
  - first: {emit: {event: {with: {source: /shop, type: first, data: {n: 1}}}}}
  - second: {emit: {event: {with: {source: /shop, type: second, data: {n: 2}}}}}
"""
OPERATOR = "io.serverlessworkflow."


class Receiver:
    def __init__(self) -> None:
        self.status = 204
        self.got: list[dict[str, Any]] = []
        self.forms: set[str] = set()

    def __call__(self, request: Request) -> Response:
        if self.status < 300:
            media = str(request.content_type)
            self.forms.add(media.partition(";")[0])
            body = request.get_data()
            many = json.loads(body) if "batch" in media else [read_event(media, dict(request.headers), body, 10**6)]
            self.got += many
        return Response(status=self.status)


@pytest.fixture
def receivers(httpserver) -> tuple[Receiver, Receiver]:
    found = Receiver(), Receiver()
    for path, receiver in zip(("/events", "/life"), found, strict=True):
        httpserver.expect_request(path, method="POST").respond_with_handler(receiver)
    return found


async def until(holds: Any) -> None:
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 - it is another thread that moves
            await asyncio.sleep(0.02)


async def metrics(api: Api) -> dict[str, str]:
    text = (await api.http.get("/metrics")).text
    return dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))


@pytest.mark.parametrize(
    ("mode", "form"),
    [
        ("structured", "application/cloudevents+json"),
        ("binary", "application/json"),
        ("batch", "application/cloudevents-batch+json"),
    ],
)
async def test_everything_is_told_in_each_mode(tmp_path, httpserver, receivers, mode, form):
    events, life = receivers
    settings: dict[str, Any] = {
        "event_sink": httpserver.url_for("/events"),
        "lifecycle_events": httpserver.url_for("/life"),
    }
    async with running_service(tmp_path, event_mode=mode, **settings) as api:
        await api.deploy(EMITTING)
        id_ = (await api.start("shop/emitting"))["id"]
        await until(lambda: len(events.got) == 2 and life.got and life.got[-1]["data"].get("status") == "completed")
        shown = await metrics(api)
    assert [each["type"] for each in events.got] == ["first", "second"]
    assert events.forms == life.forms == {form}
    assert {each["subject"] for each in life.got} == {id_}
    assert len({each["id"] for each in life.got}) == len(life.got) == 10
    assert shown['retrace_sink_connected{sink="lifecycle"}'] == "1.0"
    assert float(shown['retrace_sink_events_total{outcome="delivered",sink="events"}']) == 2


async def test_what_a_receiver_missed_it_gets_later(tmp_path, httpserver, receivers):
    events, life = receivers
    events.status = life.status = 503
    settings: dict[str, Any] = {
        "event_sink": httpserver.url_for("/events"),
        "lifecycle_events": httpserver.url_for("/life"),
    }
    async with running_service(tmp_path, **settings) as api:
        await api.deploy(EMITTING)
        await api.ended((await api.start("shop/emitting"))["id"])
        async with asyncio.timeout(10):
            while (await metrics(api)).get("retrace_outbox_delayed") != "2.0":  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert float((await metrics(api))["retrace_lifecycle_lag_events"]) > 0
    async with running_service(tmp_path) as api:  # without the setting for a while
        await api.start("shop/emitting")
        assert "retrace_lifecycle_lag_events" not in [
            name for name, value in (await metrics(api)).items() if float(value)
        ]
    events.status = life.status = 202
    async with running_service(tmp_path, **settings):
        ended = f"{OPERATOR}workflow.completed.v1"
        await until(lambda: sum(each["type"] == ended for each in life.got) == 2)


async def test_a_broker_that_is_not_there_keeps_nobody_from_work(tmp_path, monkeypatch):
    monkeypatch.setenv("RETRACE_SOURCE_ORDERS", "amqp://me:hunter22@127.0.0.1:9/?queue=q")
    monkeypatch.setenv("RETRACE_SOURCE_OTHERS", "nats://me:hunter22@127.0.0.1:9?stream=S&consumer=c")
    settings: dict[str, Any] = {
        "event_sink": "nats://127.0.0.1:9?subject=x",
        "lifecycle_events": "amqp://127.0.0.1:9/?exchange=x",
    }
    async with running_service(tmp_path, **settings) as api:
        await api.deploy(EMITTING)
        assert (await api.ended((await api.start("shop/emitting"))["id"]))["status"] == "completed"
        async with asyncio.timeout(20):
            while (await metrics(api))['retrace_sink_connected{sink="events"}'] != "0.0":  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        shown = await metrics(api)
    assert shown['retrace_source_connected{source="orders"}'] == "0.0"
    assert shown['retrace_source_connected{source="others"}'] == "0.0"


async def test_passwords_of_brokers_are_in_no_log(tmp_path, monkeypatch, capfd):
    from adapters.cli.logs import configure_logs

    configure_logs("json", "debug")
    monkeypatch.setenv("RETRACE_SOURCE_ORDERS", "amqp://me:hunter22@127.0.0.1:9/?queue=q")
    async with running_service(tmp_path, event_sink="amqp://me:hunter33@127.0.0.1:9/?exchange=x") as api:
        await api.deploy(EMITTING)
        await api.ended((await api.start("shop/emitting"))["id"])
        async with asyncio.timeout(20):
            while (await metrics(api))['retrace_sink_connected{sink="events"}'] != "0.0":  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    told = capfd.readouterr().err
    assert "source.away" in told
    assert "sink.away" in told
    assert "hunter" not in told
