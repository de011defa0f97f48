"""RabbitMQ (AMQP 0-9-1) with aio-pika: a sink with publisher confirms, a source with manual acknowledgements.

Exchanges, queues and their policies are the operator's: nothing is declared here, and what does not exist is told. Messages
go out persistent and `mandatory`, so one that no queue would get is refused instead of lost.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

import aio_pika
from aio_pika import exceptions as errors
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange, AbstractIncomingMessage

from adapters.messaging.addresses import Address, Inlet
from adapters.messaging.connecting import Connecting
from adapters.messaging.encoding import Mode, encoded
from adapters.messaging.reading import read_event
from application.intake import Delivery, Settle, SourceAwayError
from application.ports import DeliveryError, SinkAwayError

_HEARTBEAT_S: Final = 15
_CONNECT_S: Final = 10.0
_TIMEOUT_S: Final = 30.0
_LOOKS_EVERY_S: Final = 30.0
_LOST: Final = (*errors.CONNECTION_EXCEPTIONS, TimeoutError)
_Link = tuple[AbstractConnection, AbstractExchange]


class AmqpEventSink:
    """`EventSink` that publishes to an exchange."""

    def __init__(self, address: Address, mode: Mode, *, timeout_s: float = _TIMEOUT_S) -> None:
        self._address = address
        self._mode = mode
        self._timeout_s = timeout_s
        self._exchange = address.options.get("exchange", "")
        self._routing_key = address.options.get("routing_key")
        self._connecting: Connecting[_Link] = Connecting(self._connect, _end)

    async def publish(self, event: dict[str, Any]) -> None:
        """See `EventSink`."""
        link = await self._connecting.get()
        message = self._message(event)
        key = event["type"] if self._routing_key is None else self._routing_key
        if _short(key) is None:
            raise DeliveryError(f"a routing key holds 255 bytes, and the event's type has more: {key[:100]}...")
        try:
            async with asyncio.timeout(self._timeout_s):
                await link[1].publish(message, key, mandatory=True)
        except errors.PublishError:
            raise DeliveryError(f"no queue gets what is published with the routing key {key!r}") from None
        except errors.DeliveryError:
            raise DeliveryError("the broker refused the event") from None
        except _LOST as problem:
            await self._connecting.drop(link)
            raise SinkAwayError(f"the connection to the broker is lost: {_told(problem)}") from None

    async def close(self) -> None:
        """What is on its way may be sent again."""
        await self._connecting.close()

    def _message(self, event: dict[str, Any]) -> aio_pika.Message:
        form = encoded(event, self._mode)
        return aio_pika.Message(
            form.body,
            headers={**form.attributes},
            content_type=form.content_type,
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            message_id=_short(event["id"]),
            type=_short(event["type"]),
        )

    async def _connect(self) -> _Link:
        try:
            connection = await _connection(self._address)
        except _LOST as problem:
            raise SinkAwayError(f"the broker cannot be reached: {_told(problem)}") from None
        try:
            async with asyncio.timeout(_CONNECT_S):
                channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
                if not self._exchange:
                    return connection, channel.default_exchange
                return connection, await channel.get_exchange(self._exchange, ensure=True)
        except _LOST as problem:
            await _close(connection)
            raise SinkAwayError(f"the exchange cannot be used: {_told(problem)}") from None


class AmqpEventSource:
    """`EventSource` over a queue."""

    def __init__(self, inlet: Inlet, most_bytes: int) -> None:
        self.name = inlet.name
        self._inlet = inlet
        self._most_bytes = most_bytes
        self._dead_letter = inlet.address.options.get("dead_letter")

    async def consume(self, settle: Settle, connected: Callable[[], None]) -> None:
        """See `EventSource`."""
        try:
            connection = await _connection(self._inlet.address)
        except _LOST as problem:
            raise SourceAwayError(f"the broker cannot be reached: {_told(problem)}") from None
        try:
            await self._consume(connection, settle, connected)
        except _LOST as problem:
            raise SourceAwayError(f"the queue cannot be read: {_told(problem)}") from None
        finally:
            await _close(connection)

    async def _consume(self, connection: AbstractConnection, settle: Settle, connected: Callable[[], None]) -> None:
        lost = asyncio.Event()
        async with asyncio.timeout(_CONNECT_S):
            channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
            channel.close_callbacks.add(lambda *_: lost.set())
            connection.close_callbacks.add(lambda *_: lost.set())
            await channel.set_qos(prefetch_count=self._inlet.prefetch)
            queue = await channel.get_queue(self._inlet.address.options["queue"], ensure=True)
        working: set[asyncio.Task[None]] = set()

        async def take(message: AbstractIncomingMessage) -> None:
            # Not awaited here: the pause of one that is delayed must not hold up the others.
            task = asyncio.ensure_future(settle(self._delivery(message, channel)))
            working.add(task)
            task.add_done_callback(working.discard)
            task.add_done_callback(_heard)

        await queue.consume(take, timeout=_CONNECT_S)
        connected()
        try:
            while not lost.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(lost.wait(), _LOOKS_EVERY_S)
                    break
                # A queue that was deleted and made again has forgotten its consumers without a word.
                if not (await queue.declare(timeout=_CONNECT_S)).consumer_count:
                    break
            raise SourceAwayError("the connection to the queue is lost")
        finally:
            for task in working:
                task.cancel()
            await asyncio.gather(*working, return_exceptions=True)

    def _delivery(self, message: AbstractIncomingMessage, channel: AbstractChannel) -> Delivery:
        return _AmqpDelivery(message, channel, self._dead_letter, self._most_bytes)


class _AmqpDelivery:
    def __init__(
        self, message: AbstractIncomingMessage, channel: AbstractChannel, dead_letter: str | None, most_bytes: int
    ) -> None:
        self._message = message
        self._channel = channel
        self._dead_letter = dead_letter
        self._most_bytes = most_bytes

    def event(self) -> dict[str, Any]:
        message = self._message
        return read_event(message.content_type, message.headers, message.body, self._most_bytes)

    async def accept(self) -> None:
        with contextlib.suppress(*_LOST):
            await self._message.ack()

    async def reject(self, reason: str) -> None:
        with contextlib.suppress(*_LOST):
            if self._dead_letter is not None:
                await self._bury(self._dead_letter, reason)
                await self._message.ack()
            else:
                await self._message.reject(requeue=False)

    async def keep(self) -> None:
        """An open channel is all that RabbitMQ asks."""

    async def _bury(self, queue: str, reason: str) -> None:
        message = self._message
        copy = aio_pika.Message(
            message.body,
            headers={**message.headers, "retrace-rejected": reason[:500]},
            content_type=message.content_type,
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            message_id=message.message_id,
            type=message.type,
        )
        try:
            await self._channel.default_exchange.publish(copy, queue, mandatory=True, timeout=_TIMEOUT_S)
        except errors.DeliveryError:
            raise DeliveryError(f"there is no queue {queue!r} for dead letters") from None


async def _connection(address: Address) -> AbstractConnection:
    parts = urlsplit(address.url)
    query = parts.query if "heartbeat=" in parts.query else f"{parts.query}&heartbeat={_HEARTBEAT_S}".lstrip("&")
    return await aio_pika.connect(parts._replace(query=query).geturl(), timeout=_CONNECT_S)


async def _end(link: _Link) -> None:
    await _close(link[0])


async def _close(connection: AbstractConnection) -> None:
    with contextlib.suppress(*_LOST):
        async with asyncio.timeout(2.0):
            await connection.close()


def _heard(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.exception()  # the broker delivers it again


def _short(text: str) -> str | None:
    """Properties of AMQP hold 255 bytes."""
    return text if len(text.encode()) <= 255 else None


def _told(problem: BaseException) -> str:
    return (str(problem) or type(problem).__name__)[:200]
