"""Locks by name that cost next to nothing while nobody contends. Whoever has to wait is served in turn; who only looks,
before all others.
"""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType


class Locks:
    """``async with locks.of(name): ...``. A name that nobody holds is not remembered."""

    def __init__(self) -> None:
        self._held: dict[str, deque[asyncio.Future[None]]] = {}

    def __len__(self) -> int:
        return len(self._held)

    def of(self, name: str, *, first: bool = False) -> Hold:
        """A lock to be held once; with `first` before all who wait already, for one who only looks."""
        return Hold(self._held, name, first=first)


class Hold:
    """One turn with a name."""

    __slots__ = ("_first", "_held", "_name")

    def __init__(self, held: dict[str, deque[asyncio.Future[None]]], name: str, *, first: bool = False) -> None:
        self._held = held
        self._name = name
        self._first = first

    async def __aenter__(self) -> None:
        waiting = self._held.get(self._name)
        if waiting is None:
            self._held[self._name] = deque()
            return
        turn = asyncio.get_running_loop().create_future()
        (waiting.appendleft if self._first else waiting.append)(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._pass_on()  # the turn had just come
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pass_on()

    def _pass_on(self) -> None:
        waiting = self._held[self._name]
        while waiting:
            turn = waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        del self._held[self._name]
