"""Sinks of no transport: one that counts what goes through it, and none at all."""

from __future__ import annotations

from typing import Any

import structlog

from application.ports import DeliveryError, EventSink, SinkAwayError

_log = structlog.get_logger(__name__)


class CountedSink:
    """`EventSink` in front of another. `connected`: whether the last attempt reached the receiver."""

    def __init__(self, name: str, sink: EventSink) -> None:
        self.name = name
        self.connected = True
        self.sent = 0
        self.failed = 0
        self._sink = sink

    async def publish(self, event: dict[str, Any]) -> None:
        try:
            await self._sink.publish(event)
        except SinkAwayError as error:
            self.failed += 1
            if self.connected:
                self.connected = False
                _log.warning("sink.away", sink=self.name, detail=str(error))
            raise
        except DeliveryError:
            self.failed += 1
            raise
        self.sent += 1
        if not self.connected:
            self.connected = True
            _log.info("sink.back", sink=self.name)


class NoSink:
    """No receiver outside: emitted events reach only the ``listen`` tasks of this service."""

    async def publish(self, event: dict[str, Any]) -> None:
        """Done at once."""
