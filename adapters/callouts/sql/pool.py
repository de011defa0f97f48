"""Connections to one database and the threads that use them: as many of each, made when they are needed.

A thread takes a kept connection or opens one, and begins its transaction with that: a kept one that has died meanwhile is
replaced without anyone noticing, because nothing was sent over it. A connection comes back only after a transaction whose
end is known.
"""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from adapters.callouts.sql.drivers import Driver


class Unreachable(Exception):
    """No connection stands; nothing was sent."""


class Pool:
    """The connections of one target. `take` and `give_back` are called on the pool's own threads."""

    def __init__(self, name: str, driver: Driver, size: int) -> None:
        self.name = name
        self.driver = driver
        self.ledger_made = False
        self.threads = ThreadPoolExecutor(size, thread_name_prefix=f"retrace-sql-{name}")
        self._kept: list[Any] = []
        self._lock = threading.Lock()
        self._closed = False

    def take(self, deadline: float, *, reads: bool) -> Any:
        """A connection in a new transaction; `deadline` is of `time.monotonic`. Raises Unreachable."""
        with self._lock:
            kept = self._kept.pop() if self._kept else None
        if kept is not None:
            try:
                self.driver.begin(kept, _left(deadline), reads=reads)
                return kept
            except Exception as problem:
                self.discard(kept)
                trouble = self.driver.explain(problem)
                if trouble is None or trouble.kind != "lost":
                    raise
        try:
            fresh = self.driver.connect(_left(deadline))
        except Exception as problem:
            trouble = self.driver.explain(problem)
            if trouble is None:
                raise
            raise Unreachable(trouble.message) from problem
        try:
            self.driver.begin(fresh, _left(deadline), reads=reads)
        except BaseException:
            self.discard(fresh)
            raise
        return fresh

    def give_back(self, connection: Any) -> None:
        """Keep it for the next one."""
        with self._lock:
            if not self._closed:
                self._kept.append(connection)
                return
        self.discard(connection)

    def discard(self, connection: Any) -> None:
        """Close it; never fails."""
        with contextlib.suppress(Exception):
            self.driver.close(connection)

    def close(self) -> None:
        """Close what is kept; what is in use is closed when it comes back. Waits for nothing."""
        self.threads.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            self._closed = True
            kept, self._kept = self._kept, []
        for connection in kept:
            self.discard(connection)


def _left(deadline: float) -> float:
    return max(0.001, deadline - time.monotonic())
