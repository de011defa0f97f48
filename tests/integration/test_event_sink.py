"""Delivery of emitted events to an HTTP receiver."""

from __future__ import annotations

import pytest

from adapters.callouts.network import NetworkPolicy, open_session
from adapters.callouts.sink import HttpEventSink
from application.ports import DeliveryError
from application.sinks import NoSink
from tests.integration.participants import answering, free_port, raw_server, reset, silent

pytestmark = pytest.mark.anyio

EVENT = {"specversion": "1.0", "id": "1", "source": "urn:test", "type": "booked", "data": {"name": "Zoë"}}


@pytest.fixture
async def session():
    async with open_session(NetworkPolicy(allow_loopback=True)) as session:
        yield session


@pytest.mark.parametrize("status", [200, 202, 204])
async def test_posts_the_event_in_structured_mode(session, httpserver, status):
    httpserver.expect_oneshot_request("/events", method="POST").respond_with_data("", status)
    await HttpEventSink(httpserver.url_for("/events"), session).publish(EVENT)
    request, _ = httpserver.log[0]
    assert request.headers["Content-Type"].startswith("application/cloudevents+json")
    assert request.get_json(force=True) == EVENT


@pytest.mark.parametrize("status", [302, 400, 404, 429, 500])
async def test_anything_else_than_a_receipt_is_tried_again(session, httpserver, status):
    httpserver.expect_request("/events").respond_with_data("", status)
    with pytest.raises(DeliveryError, match=str(status)):
        await HttpEventSink(httpserver.url_for("/events"), session).publish(EVENT)


@pytest.mark.parametrize("handler", [silent, answering(then=reset), answering(b"garbage\r\n\r\n")])
async def test_no_receipt_is_tried_again(session, handler):
    async with raw_server(handler) as url:
        with pytest.raises(DeliveryError):
            await HttpEventSink(url, session, timeout_s=0.2).publish(EVENT)


async def test_nobody_there_is_tried_again(session):
    with pytest.raises(DeliveryError):
        await HttpEventSink(f"http://127.0.0.1:{free_port()}/", session).publish(EVENT)


async def test_the_guard_holds_for_the_sink_too(httpserver):
    async with open_session(NetworkPolicy()) as session:
        with pytest.raises(DeliveryError, match="loopback"):
            await HttpEventSink(httpserver.url_for("/"), session).publish(EVENT)


async def test_without_a_sink_an_event_is_delivered_at_once():
    await NoSink().publish(EVENT)
