"""A queue in memory as `EventSource`: what a broker does, without one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from adapters.messaging.reading import read_event
from application.intake import Settle, SourceAwayError
from application.ports import DeliveryError

Message = tuple[str | None, dict[str, str], bytes]


class QueuedSource:
    """Delivers again what was not settled when the connection was lost."""

    def __init__(self, name: str, prefetch: int) -> None:
        self.name = name
        self.prefetch = prefetch
        self.waiting: deque[Message] = deque()
        self.dead: list[tuple[bytes, str]] = []
        self.dead_away = False
        self.away = False
        self.kept = 0
        self.unsettled: list[Message] = []
        self._moved = asyncio.Event()

    def put(self, content_type: str | None, headers: dict[str, str], body: bytes) -> None:
        self.waiting.append((content_type, headers, body))
        self._moved.set()

    def cut(self) -> None:
        self.away = True
        self._moved.set()

    async def consume(self, settle: Settle, connected: Callable[[], None]) -> None:
        if self.away:
            raise SourceAwayError("away")
        connected()
        working: set[asyncio.Task[None]] = set()
        try:
            while True:
                while self.waiting and len(self.unsettled) < self.prefetch:
                    message = self.waiting.popleft()
                    self.unsettled.append(message)
                    task = asyncio.ensure_future(settle(_Delivery(self, message)))
                    working.add(task)
                    task.add_done_callback(working.discard)
                self._moved.clear()
                await self._moved.wait()
                if self.away:
                    raise SourceAwayError("cut")
        finally:
            for task in working:
                task.cancel()
            await asyncio.gather(*working, return_exceptions=True)
            self.waiting.extendleft(reversed(self.unsettled))
            self.unsettled.clear()

    def settled(self, message: Message) -> None:
        if message in self.unsettled:
            self.unsettled.remove(message)
            self._moved.set()


class _Delivery:
    def __init__(self, source: QueuedSource, message: Message) -> None:
        self._source = source
        self._message = message

    def event(self) -> dict[str, Any]:
        return read_event(*self._message, most_bytes=1000)

    async def accept(self) -> None:
        self._source.settled(self._message)

    async def reject(self, reason: str) -> None:
        if self._source.dead_away:
            raise DeliveryError("no place for dead letters")
        self._source.dead.append((self._message[2], reason))
        self._source.settled(self._message)

    async def keep(self) -> None:
        self._source.kept += 1
