"""Waiting for an orchestration to move: long polls and streams are woken by commits, nobody polls."""

from __future__ import annotations

import asyncio
from uuid import UUID

from application.engine import Engine
from application.live import Live
from domain import events as e


class Watch:
    """Follows commits and wakes whoever watches that orchestration."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting: dict[UUID, set[asyncio.Future[None]]] = {}
        self._closed = False
        engine.follow(self)

    def committed(self, live: Live, events: list[e.Event]) -> None:
        for future in self._waiting.pop(live.orchestration, ()):
            if not future.done():
                future.set_result(None)

    def close(self) -> None:
        """Everyone who waits returns; nobody waits any more."""
        self._closed = True
        for futures in self._waiting.values():
            for future in futures:
                if not future.done():
                    future.set_result(None)
        self._waiting.clear()

    @property
    def closed(self) -> bool:
        return self._closed

    async def changed(self, orchestration: UUID, timeout_s: float) -> bool:
        """Whether something was committed for it before the time was over."""
        if self._closed or timeout_s <= 0:
            return False
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        watchers = self._waiting.setdefault(orchestration, set())
        watchers.add(future)
        try:
            await asyncio.wait_for(future, timeout_s)
        except TimeoutError:
            return False
        finally:
            watchers.discard(future)
            if not watchers and self._waiting.get(orchestration) is watchers:
                del self._waiting[orchestration]
        return not self._closed
