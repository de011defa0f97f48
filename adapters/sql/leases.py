"""Nodes and the leases of their partitions, over a SQL database.

Statements of their own, each in a transaction of its own and beside the writer: a renewal waits at most for one
transaction of the hot path, and a claim for the last one of the owner before.
"""

from __future__ import annotations

from collections.abc import Sequence

from adapters.sql.database import Database, Transaction
from adapters.sql.rows import as_head, as_instant
from application.leases import Holding, Member, NodeIdentity, Overview
from application.storage import Head


class SqlLeases:
    """`Leases` over a SQL database."""

    def __init__(self, database: Database, *, alone: bool) -> None:
        self._database = database
        self.alone = alone

    async def renew(self, me: NodeIdentity, lease_s: float, held: Sequence[tuple[int, int]], *, eligible: bool) -> None:
        lease = {"lease_us": int(lease_s * 1_000_000)}
        members = {field: getattr(me, field) for field in me.__struct_fields__}

        def renew(transaction: Transaction) -> None:
            transaction.run("put_node", {**members, **lease, "eligible": eligible})
            for partition, epoch in held:
                transaction.run("renew_lease", {"partition": partition, "epoch": epoch, **lease})

        await self._database.lease(renew)

    async def overview(self) -> Overview:
        def look(transaction: Transaction) -> Overview:
            holdings = [Holding(*row) for row in transaction.run("holdings", {})]
            members = [
                Member(NodeIdentity(node, host, pid, process, version, as_instant(started_at)), bool(eligible), left_s)
                for node, host, pid, process, version, started_at, eligible, left_s in transaction.run("nodes", {})
            ]
            [(now,)] = transaction.run("database_time", {})
            return Overview(as_instant(now), members, holdings)

        return await self._database.lease(look)

    async def claim(self, node: str, partition: int, epoch: int, lease_s: float, *, forced: bool) -> Head | None:
        params = {
            "node": node,
            "partition": partition,
            "epoch": epoch,
            "forced": forced,
            "lease_us": int(lease_s * 1_000_000),
        }
        rows = await self._database.lease(lambda transaction: transaction.run("claim", params))
        return as_head(rows[0]) if rows else None

    async def release(self, node: str, partition: int, epoch: int) -> None:
        params = {"node": node, "partition": partition, "epoch": epoch}
        await self._database.lease(lambda transaction: transaction.run("release", params))

    async def leave(self, node: str) -> None:
        await self._database.lease(lambda transaction: transaction.run("drop_node", {"node": node}))
