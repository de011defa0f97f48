"""How much is taken on at once: so many requests in progress, so many that wait, and no more.

A request beyond the bound is refused before its body is read, so what is refused costs next to nothing and memory cannot
grow with the number of clients. Long polls and streams, which cost little but last, have a bound of their own: they never
keep a start from being served. What is always open (health, readiness) has none.
"""

from __future__ import annotations

import sys

from domain.errors import OverloadedError


class Gate:
    """A door with a counter. Whoever enters leaves."""

    __slots__ = ("_limit", "_refusal", "inside")

    def __init__(self, limit: int, refusal: str = "") -> None:
        self._limit = limit
        self._refusal = refusal
        self.inside = 0

    def enter(self) -> None:
        """Raises OverloadedError when as many are inside as may be."""
        if self.inside >= self._limit:
            raise OverloadedError(self._refusal)
        self.inside += 1

    def leave(self) -> None:
        self.inside -= 1


class Admission:
    """The gates of one process."""

    def __init__(self, max_requests: int = 1000, max_waiting: int = 2000) -> None:
        self.requests = Gate(max_requests, f"{max_requests} requests are in progress here; more are not taken on.")
        self.waiting = Gate(max_waiting, f"{max_waiting} clients wait for news here; more are not taken on.")
        self.always = Gate(sys.maxsize)
