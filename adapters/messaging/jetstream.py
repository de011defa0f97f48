"""NATS JetStream with nats-py: a sink that waits for the acknowledgement of the stream, a source over a durable consumer.

Streams are the operator's; the durable consumer of a source is made when there is none. Connections do not mend themselves
in the library: one that is lost is closed and made anew, so that nothing is buffered that nobody has committed.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import nats
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig
from nats.js.errors import APIError, NoStreamResponseError, NotFoundError

from adapters.messaging.addresses import Address, Inlet
from adapters.messaging.connecting import Connecting
from adapters.messaging.encoding import Mode, encoded, header_safe
from adapters.messaging.reading import read_event
from application.intake import Delivery, Settle, SourceAwayError
from application.ports import DeliveryError, SinkAwayError

_CONNECT_S: Final = 5
_TIMEOUT_S: Final = 10.0
_FETCH_S: Final = 5.0
_ACK_WAIT_S: Final = 30.0
"""Longer than the pauses between attempts, each of which says that the message is still worked on."""
_PING_S: Final = 10
_LOST: Final = (nats.errors.Error, OSError, TimeoutError, EOFError)
_LONGEST_SUBJECT_BYTES: Final = 2048
"""A server reads 4096 bytes of a command by default, the address for the answer among them."""
_NOT_IN_A_TOKEN = re.compile(r"[\s*>]")
_Link = tuple[Client, JetStreamContext]


class NatsEventSink:
    """`EventSink` that publishes to a stream. Its server drops repeats within the stream's window by ``Nats-Msg-Id``."""

    def __init__(self, address: Address, mode: Mode, *, timeout_s: float = _TIMEOUT_S) -> None:
        self._address = address
        self._mode = mode
        self._timeout_s = timeout_s
        self._connecting: Connecting[_Link] = Connecting(self._connect, _end)

    async def publish(self, event: dict[str, Any]) -> None:
        """See `EventSink`."""
        link = await self._connecting.get()
        form = encoded(event, self._mode)
        subject = subject_of(self._address.options["subject"], event["type"])
        headers = {name: header_safe(value) for name, value in form.attributes.items()}
        headers |= {"content-type": form.content_type} if form.content_type else {}
        headers["Nats-Msg-Id"] = message_id(event)
        # A server ends the connection for either, and with it whatever else is under way.
        if len(subject.encode()) > _LONGEST_SUBJECT_BYTES:
            raise DeliveryError(f"the subject is longer than {_LONGEST_SUBJECT_BYTES} bytes: {subject[:100]}...")
        if (size := message_bytes(form.body, headers)) > link[0].max_payload:
            raise DeliveryError(f"the event has {size} bytes with its headers, the server takes {link[0].max_payload}")
        try:
            await link[1].publish(subject, form.body, timeout=self._timeout_s, headers=headers)
        except NoStreamResponseError:
            if link[0].is_connected:
                raise DeliveryError(f"no stream takes the subject {subject}") from None
            await self._lose(link, "it was closed")
        except (
            APIError,
            nats.errors.MaxPayloadError,
            nats.errors.BadSubjectError,
            nats.errors.BadHeaderError,
        ) as error:
            raise DeliveryError(f"the stream refused the event: {_told(error)}") from None
        except _LOST as problem:
            await self._lose(link, _told(problem))

    async def close(self) -> None:
        """What is on its way may be sent again."""
        await self._connecting.close()

    async def _lose(self, link: _Link, why: str) -> None:
        await self._connecting.drop(link)
        raise SinkAwayError(f"the connection to the broker is lost: {why}") from None

    async def _connect(self) -> _Link:
        try:
            client = await _client(self._address)
        except _LOST as problem:
            raise SinkAwayError(f"the broker cannot be reached: {_told(problem)}") from None
        return client, client.jetstream(timeout=self._timeout_s)


def message_bytes(body: bytes, headers: Mapping[str, str]) -> int:
    """What a server counts against its ``max_payload``."""
    lines = sum(len(name.encode()) + len(value.encode()) + 4 for name, value in headers.items())
    return len(body) + len(b"NATS/1.0\r\n\r\n") + lines


def message_id(event: dict[str, Any]) -> str:
    """The same for every repeat, of bounded length, fit for a header."""
    return hashlib.sha256(f"{event['source']}\0{event['id']}".encode()).hexdigest()[:40]


def subject_of(template: str, type_: str) -> str:
    """``{type}`` becomes the event's type, whose dots separate tokens; what a subject cannot hold becomes ``_``."""
    tokens = _NOT_IN_A_TOKEN.sub("_", type_).split(".")
    return template.replace("{type}", ".".join(token or "_" for token in tokens))


class NatsEventSource:
    """`EventSource` over a durable pull consumer."""

    def __init__(self, inlet: Inlet, most_bytes: int) -> None:
        self.name = inlet.name
        self._inlet = inlet
        self._options = inlet.address.options
        self._most_bytes = most_bytes

    async def consume(self, settle: Settle, connected: Callable[[], None]) -> None:
        """See `EventSource`."""
        try:
            client = await _client(self._inlet.address)
        except _LOST as problem:
            raise SourceAwayError(f"the broker cannot be reached: {_told(problem)}") from None
        working: set[asyncio.Task[None]] = set()
        try:
            subscription = await self._subscription(client.jetstream(timeout=_TIMEOUT_S))
            connected()
            await self._fetch(client, subscription, settle, working)
        except _LOST as problem:
            raise SourceAwayError(f"the stream cannot be read: {_told(problem)}") from None
        finally:
            for task in working:
                task.cancel()
            await asyncio.gather(*working, return_exceptions=True)
            await _close(client)

    async def _subscription(self, stream: JetStreamContext) -> JetStreamContext.PullSubscription:
        name, of = self._options["consumer"], self._options["stream"]
        try:
            await stream.consumer_info(of, name)
        except NotFoundError:
            config = ConsumerConfig(
                durable_name=name,
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=_ACK_WAIT_S,
                filter_subject=self._options.get("subject"),
            )
            await stream.add_consumer(of, config)
        return await stream.pull_subscribe_bind(consumer=name, stream=of)

    async def _fetch(
        self,
        client: Client,
        subscription: JetStreamContext.PullSubscription,
        settle: Settle,
        working: set[asyncio.Task[None]],
    ) -> None:
        while client.is_connected:
            if len(working) >= self._inlet.prefetch:
                await asyncio.wait(working, return_when=asyncio.FIRST_COMPLETED)
                continue
            try:
                messages = await subscription.fetch(self._inlet.prefetch - len(working), timeout=_FETCH_S)
            except TimeoutError:  # the library's own, or the one that it is made of
                continue  # there is nothing
            for message in messages:
                delivery = _NatsDelivery(message, client, self._options.get("dead_letter"), self._most_bytes)
                task = asyncio.ensure_future(_settled(settle, delivery))
                working.add(task)
                task.add_done_callback(working.discard)
        raise SourceAwayError("the connection to the broker is lost")


async def _settled(settle: Settle, delivery: Delivery) -> None:
    with contextlib.suppress(*_LOST, DeliveryError):  # then it is delivered again
        await settle(delivery)


class _NatsDelivery:
    def __init__(self, message: Msg, client: Client, dead_letter: str | None, most_bytes: int) -> None:
        self._message = message
        self._client = client
        self._dead_letter = dead_letter
        self._most_bytes = most_bytes

    def event(self) -> dict[str, Any]:
        headers = {name.lower(): value for name, value in (self._message.headers or {}).items()}
        attributes = {name: unquote(value) for name, value in headers.items() if name.startswith("ce-")}
        return read_event(headers.get("content-type"), attributes, self._message.data, self._most_bytes)

    async def accept(self) -> None:
        await self._message.ack()

    async def reject(self, reason: str) -> None:
        if self._dead_letter is not None:
            headers = {**(self._message.headers or {}), "Retrace-Rejected": header_safe(reason[:500])}
            headers.pop("Nats-Msg-Id", None)  # that window belongs to the first stream
            if message_bytes(self._message.data, headers) > self._client.max_payload:
                del headers["Retrace-Rejected"]  # as it came, it was not too long
            try:
                await self._client.jetstream(timeout=_TIMEOUT_S).publish(
                    self._dead_letter, self._message.data, headers=headers or None
                )
            except NoStreamResponseError:
                raise DeliveryError(f"no stream takes the subject {self._dead_letter} of dead letters") from None
        await self._message.term()

    async def keep(self) -> None:
        with contextlib.suppress(*_LOST):
            await self._message.in_progress()


async def _client(address: Address) -> Client:
    parts = urlsplit(address.url)
    user, password = parts.username, parts.password
    host = parts.netloc.rpartition("@")[2]  # an IPv6 address keeps its brackets
    server = parts._replace(netloc=host, query="").geturl()
    options: dict[str, Any] = {}
    if user and password is not None:
        options = {"user": unquote(user), "password": unquote(password)}
    elif user:
        options = {"token": unquote(user)}
    return await nats.connect(
        server,
        name="retrace",
        allow_reconnect=False,
        max_reconnect_attempts=1,  # of the first connection, which else is tried for ever
        reconnect_time_wait=0,
        connect_timeout=_CONNECT_S,
        ping_interval=_PING_S,
        max_outstanding_pings=2,
        error_cb=_quiet,
        **options,
    )


async def _quiet(error: Exception) -> None:
    """What matters is raised where it was asked for."""


async def _end(link: _Link) -> None:
    await _close(link[0])


async def _close(client: Client) -> None:
    with contextlib.suppress(*_LOST):
        await client.close()


def _told(problem: BaseException) -> str:
    return (str(problem) or type(problem).__name__)[:200]
