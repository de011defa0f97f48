"""One connection of a sink, made when it is needed and made again when it is lost.

While a broker is away, whoever asks is told so at once; it is looked for again only after a pause that grows, however often
it is asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

from application.ports import SinkAwayError

T = TypeVar("T")
_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 5.0


class Connecting(Generic[T]):
    """`make` raises SinkAwayError; `end` closes and raises nothing."""

    def __init__(self, make: Callable[[], Awaitable[T]], end: Callable[[T], Awaitable[None]]) -> None:
        self._make = make
        self._end = end
        self._made: T | None = None
        self._lock = asyncio.Lock()
        self._pause_s = _FIRST_PAUSE_S
        self._not_before_s = 0.0
        self._why = ""

    async def get(self) -> T:
        """The connection. Raises SinkAwayError."""
        if self._made is not None:
            return self._made
        async with self._lock:
            if self._made is None:
                self._made = await self._make_one()
            return self._made

    async def drop(self, lost: T) -> None:
        """It is of no use any more; the next one who asks gets another."""
        if self._made is lost:
            self._made = None
            await self._end(lost)

    async def close(self) -> None:
        """For good."""
        if self._made is not None:
            await self.drop(self._made)

    async def _make_one(self) -> T:
        loop = asyncio.get_running_loop()
        if loop.time() < self._not_before_s:
            raise SinkAwayError(self._why)
        try:
            made = await self._make()
        except SinkAwayError as error:
            self._why = str(error)
            self._not_before_s = loop.time() + self._pause_s
            self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)
            raise
        self._pause_s = _FIRST_PAUSE_S
        return made
