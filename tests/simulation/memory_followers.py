"""Followers of the log in memory."""

from __future__ import annotations

from tests.simulation.memory_data import Calls, MemoryData


class MemoryFollowers:
    """`FollowerStore` in memory."""

    def __init__(self, data: MemoryData, calls: Calls) -> None:
        self._data = data
        self._calls = calls

    async def begin(self, partition: int, name: str, position: int) -> int:
        async with self._calls.call("begin follower"):
            return self._data.followers.setdefault((partition, name), position)

    async def move(self, partition: int, name: str, after: int, until: int) -> bool:
        async with self._calls.call("move follower"):
            if self._data.followers.get((partition, name)) != after:
                return False
            self._data.followers[partition, name] = until
            return True
