"""Where emitted CloudEvents go over HTTP: one at a time or in batches.

Structured mode by default, binary mode or batches where the settings say so (CloudEvents HTTP binding 1.0.2, sections 3.1 to
3.3). Any 2xx is a receipt; anything else is a `DeliveryError` and the outbox tries again, so receivers drop repeats by
``source`` and ``id``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import aiohttp
import msgspec

from adapters.callouts.http import user_agent
from adapters.messaging.encoding import BATCH, Mode, encoded, header_safe
from application.ports import DeliveryError, SinkAwayError

TIMEOUT_S = 30.0
_MOST_TOGETHER: Final = 100


class RefusedError(DeliveryError):
    """The receiver answered, and not with a receipt."""


class HttpEventSink:
    """Posts events to one address over the shared, guarded session; closes nothing."""

    def __init__(
        self, url: str, session: aiohttp.ClientSession, *, mode: Mode = "structured", timeout_s: float = TIMEOUT_S
    ) -> None:
        self._url = url
        self._session = session
        self._mode = mode
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)

    async def publish(self, event: dict[str, Any]) -> None:
        """Deliver one event. Raises DeliveryError when it must be tried again."""
        form = encoded(event, self._mode)
        await self._post(
            form.content_type, {name: header_safe(each) for name, each in form.attributes.items()}, form.body
        )

    async def publish_together(self, events: Sequence[dict[str, Any]]) -> None:
        """Deliver all of them in one request, or nobody knows which. Raises DeliveryError."""
        await self._post(BATCH, {}, msgspec.json.encode(events))

    async def _post(self, content_type: str | None, attributes: dict[str, str], body: bytes) -> None:
        headers = {**attributes, "User-Agent": user_agent()}
        if content_type:
            charset = "; charset=utf-8" if content_type.startswith("application/cloudevents") else ""
            headers["Content-Type"] = content_type + charset
        try:
            async with self._session.post(
                self._url,
                data=body,
                headers=headers,
                skip_auto_headers=("Content-Type",),
                timeout=self._timeout,
                allow_redirects=False,
            ) as response:
                status = response.status
        except aiohttp.ClientConnectorError as problem:
            raise SinkAwayError(f"the sink could not be reached: {problem}") from problem
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as problem:
            raise DeliveryError(f"the sink could not be reached: {str(problem) or type(problem).__name__}") from problem
        if not 200 <= status < 300:
            raise RefusedError(f"the sink answered {status}")


class HttpBatchSink:
    """Sends in one request what came while the last one was on its way. Where the receiver refuses a batch, its events go one
    by one, each as a batch, so that one that cannot be taken delays only itself.
    """

    def __init__(self, sink: HttpEventSink) -> None:
        self._sink = sink
        self._waiting: list[tuple[dict[str, Any], asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None

    async def publish(self, event: dict[str, Any]) -> None:
        """See `EventSink`."""
        sent: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((event, sent))
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._send())
        await sent

    async def close(self) -> None:
        """What is on its way may be sent again."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _send(self) -> None:
        while self._waiting:
            together, self._waiting = self._waiting[:_MOST_TOGETHER], self._waiting[_MOST_TOGETHER:]
            try:
                await self._sink.publish_together([event for event, _ in together])
            except RefusedError as error:
                if len(together) == 1:
                    _settle(together[0][1], error)
                else:
                    await self._send_each(together)
            except DeliveryError as error:
                for _, sent in together:
                    _settle(sent, error)
            else:
                for _, sent in together:
                    _settle(sent, None)

    async def _send_each(self, events: Sequence[tuple[dict[str, Any], asyncio.Future[None]]]) -> None:
        for event, sent in events:
            try:
                await self._sink.publish_together([event])
            except DeliveryError as error:
                _settle(sent, error)
            else:
                _settle(sent, None)


def _settle(sent: asyncio.Future[None], error: DeliveryError | None) -> None:
    if sent.done():
        return  # whoever asked waits no longer
    if error is None:
        sent.set_result(None)
    else:
        sent.set_exception(error)
