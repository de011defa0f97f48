"""Who owns what: the port of the leases, and what it tells.

A node keeps a row of its own and the leases of its partitions. A lease is a promise about time, measured by the database's
clock: as long as it lasts nobody else takes the partition. Correctness does not rest on it but on the epoch, which every
takeover raises and every write checks; so a guess that a node is dead may be wrong and nothing is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from application.storage import Head


class NodeIdentity(msgspec.Struct, frozen=True):
    """A node as it introduces itself. `node` is its name, never used twice. `host`, `pid` and `process` find out on the
    same machine whether the process still lives; `process` tells apart two that had the same pid.
    """

    node: str
    host: str
    pid: int
    process: str
    version: str
    started_at: datetime


class Member(msgspec.Struct, frozen=True):
    """A node that others see. `left_s`: until its lease ends, negative when it has. `eligible`: it may own partitions."""

    identity: NodeIdentity
    eligible: bool
    left_s: float

    @property
    def alive(self) -> bool:
        return self.left_s > 0


class Holding(msgspec.Struct, frozen=True):
    """A partition: whose it is and since which epoch. `left_s` as in `Member`; 0 without an owner. `position`: its head;
    `projected`: up to where the status view has seen it.
    """

    partition: int
    epoch: int
    owner: str | None
    left_s: float
    position: int
    projected: int


class Overview(msgspec.Struct, frozen=True):
    """All nodes and partitions at one instant of the database's clock."""

    now: datetime
    members: list[Member]
    holdings: list[Holding]


class Leases(Protocol):
    """Leases over one database, on a connection of their own. Every call may be repeated."""

    @property
    def alone(self) -> bool:
        """Whether no other process can be at work on this database: whatever its rows say of others is past."""
        ...

    async def renew(self, me: NodeIdentity, lease_s: float, held: Sequence[tuple[int, int]], *, eligible: bool) -> None:
        """Introduce this node or prolong its row, and the leases of (partition, epoch) that it holds. A partition that has
        another epoch is left alone.
        """
        ...

    async def overview(self) -> Overview: ...

    async def claim(self, node: str, partition: int, epoch: int, lease_s: float, *, forced: bool) -> Head | None:
        """Take a partition whose epoch is still `epoch` and whose lease is over, or, `forced`, whoever has it: raises the
        epoch, waits for a transaction in flight, and gives the true head. None when someone else was quicker.
        """
        ...

    async def release(self, node: str, partition: int, epoch: int) -> None:
        """Let go of a partition, if it is still held under this epoch: the next node need not wait for the lease."""
        ...

    async def leave(self, node: str) -> None:
        """Remove the row of this node, and of those whose lease ended more than an hour ago."""
        ...


class Liveness(Protocol):
    """What can be known of another node without asking it."""

    def is_gone(self, other: NodeIdentity) -> bool:
        """Whether its process is certainly no longer there; False when nothing is known."""
        ...
