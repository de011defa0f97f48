"""Hints within one process: the only one that can be at work on a SQLite file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class LocalSignals:
    """`Signals` that reach this process only."""

    def __init__(self) -> None:
        self._hear: list[Callable[[str], None]] = []

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    def listen(self, hear: Callable[[str], None]) -> None:
        self._hear.append(hear)

    async def tell(self, hint: str) -> None:
        for hear in self._hear:
            asyncio.get_running_loop().call_soon(hear, hint)
