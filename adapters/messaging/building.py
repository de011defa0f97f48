"""Makes sinks and sources of what the settings name; the library of a broker is imported only here, when it is wanted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from aiohttp import ClientSession

from adapters.callouts.sink import HttpBatchSink, HttpEventSink
from adapters.messaging.addresses import Address, Inlet
from adapters.messaging.encoding import Mode
from application.intake import EventSource
from application.ports import EventSink

Close = Callable[[], Awaitable[None]]


def build_sink(address: Address, mode: Mode, session: ClientSession) -> tuple[EventSink, Close]:
    """A sink, and what closes it."""
    if address.kind == "amqp":
        from adapters.messaging.amqp import AmqpEventSink

        amqp = AmqpEventSink(address, mode)
        return amqp, amqp.close
    if address.kind == "nats":
        from adapters.messaging.jetstream import NatsEventSink

        stream = NatsEventSink(address, mode)
        return stream, stream.close
    http = HttpEventSink(address.url, session, mode=mode)
    if mode != "batch":
        return http, _nothing
    batches = HttpBatchSink(http)
    return batches, batches.close


def build_sources(inlets: Iterable[Inlet], most_bytes: int) -> list[EventSource]:
    """`most_bytes`: longer messages are rejected."""
    return [_source(inlet, most_bytes) for inlet in inlets]


def _source(inlet: Inlet, most_bytes: int) -> EventSource:
    if inlet.address.kind == "amqp":
        from adapters.messaging.amqp import AmqpEventSource

        return AmqpEventSource(inlet, most_bytes)
    from adapters.messaging.jetstream import NatsEventSource

    return NatsEventSource(inlet, most_bytes)


async def _nothing() -> None:
    """The session is everybody's."""
