"""The port of schedules: one row for each definition that has, or had, one.

A row lies in partition hash(namespace, name), whose owner runs it; every change is a compare-and-set of its revision, so
that other nodes (a deployment, an operator) may change it too and a node that has lost the partition changes nothing late.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec


class ScheduleRow(msgspec.Struct, frozen=True):
    """`course`: `domain.schedule.Course` as JSON. `revision` counts its changes, from 1."""

    namespace: str
    name: str
    revision: int
    course: bytes


class ScheduleStore(Protocol):
    """All calls but `change` and `put` may be repeated; each is a transaction of its own."""

    async def put(self, namespace: str, name: str, course: bytes) -> bool:
        """Insert with revision 1, or do nothing; whether there was none."""
        ...

    async def change(self, namespace: str, name: str, revision: int, course: bytes) -> bool:
        """Compare-and-set of a row with this revision, which is raised by one; whether it still had it."""
        ...

    async def get(self, namespace: str, name: str) -> ScheduleRow | None: ...

    async def of(self, partitions: Sequence[int]) -> list[ScheduleRow]:
        """Every row of these partitions, by namespace and name."""
        ...
