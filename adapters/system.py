"""The machine's clock and chance."""

from __future__ import annotations

import gc
import os
from datetime import UTC, datetime


class SystemClock:
    """Implements `application.ports.Clock`."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class SystemChance:
    """Implements `application.identity.Chance` with the operating system's generator, asked for a page at a time."""

    _PAGE = 4096

    def __init__(self) -> None:
        self._page = b""
        self._used = 0

    def random_bytes(self, count: int) -> bytes:
        if self._used + count > len(self._page):
            self._page, self._used = os.urandom(max(self._PAGE, count)), 0
        start = self._used
        self._used += count
        return self._page[start : self._used]


def calm_collector() -> None:
    """Let Python's cycle collector look rarely, and never again at what exists now. For a process that serves.

    What a node keeps (states, plans, modules) is large and free of cycles; looking at all of it after every 700 new
    objects costs a quarter of the throughput and shows in the slowest answers.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
