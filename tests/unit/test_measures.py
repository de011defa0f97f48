"""Distributions, and the counting of requests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.rest.metering import METER, Meter, Metering
from application.measures import Distribution

pytestmark = pytest.mark.anyio


@given(st.lists(st.floats(-5, 100)))
def test_every_size_is_counted_once_and_below_its_bound(sizes):
    seen = Distribution((1.0, 10.0))
    for size in sizes:
        seen.add(size)
    assert seen.count == len(sizes)
    assert seen.counts == [sum(s <= 1 for s in sizes), sum(1 < s <= 10 for s in sizes), sum(s > 10 for s in sizes)]
    assert seen.total == pytest.approx(sum(max(size, 0) for size in sizes))


async def _nothing() -> dict[str, str]:
    return {}


async def _ask(app, meter: Meter, method: str = "GET") -> None:
    async def send(_message) -> None:
        return None

    await Metering(app, meter)({"type": "http", "method": method}, _nothing, send)


def answering(status: int, operation: str | None = None, *, waits: bool = False):
    async def app(scope, receive, send) -> None:
        if operation is not None:
            scope[METER].operation, scope[METER].waits = operation, waits
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    return app


async def test_requests_are_counted_by_what_they_led_to():
    meter = Meter()
    await _ask(answering(200, "health"), meter)
    await _ask(answering(204, "health"), meter)
    await _ask(answering(404), meter, "BREW")
    await _ask(answering(503, "health"), meter)
    await _ask(answering(429, "start"), meter, "POST")
    assert meter.requests == {
        ("GET", "health", "2xx"): 2,
        ("other", "none", "4xx"): 1,
        ("GET", "health", "5xx"): 1,
        ("POST", "start", "4xx"): 1,
    }
    assert meter.refused == {429: 1, 503: 1}
    assert {name: seconds.count for name, seconds in meter.seconds.items()} == {"health": 3, "none": 1, "start": 1}


async def test_long_polls_are_counted_and_not_timed():
    meter = Meter()
    await _ask(answering(200, "stream", waits=True), meter)
    assert meter.requests == {("GET", "stream", "2xx"): 1}
    assert meter.seconds == {}


async def test_a_request_that_breaks_is_counted_and_not_in_progress_any_more():
    meter = Meter()

    async def breaks(scope, receive, send) -> None:
        assert meter.in_progress == 1
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await _ask(breaks, meter)
    assert meter.requests == {("GET", "none", "none"): 1}
    assert meter.in_progress == 0
