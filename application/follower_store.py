"""The port of those who follow the log and tell others about it: up to which position of a partition they have.

A follower tells first and moves then, so what it tells is told at least once. Whoever owns the partition moves it; one that
has lost it moves nothing late, since every move is a compare-and-set.
"""

from __future__ import annotations

from typing import Protocol


class FollowerStore(Protocol):
    """Each call is a transaction of its own."""

    async def begin(self, partition: int, name: str, position: int) -> int:
        """Where the follower goes on: behind this position, or where it was before. Idempotent."""
        ...

    async def move(self, partition: int, name: str, after: int, until: int) -> bool:
        """From `after` to `until`; False (nothing done) when it is not at `after`."""
        ...
