"""The nodes of a database as an operator sees them: who is there, who owns which partitions, and how far each has got."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from application.leases import Holding, Leases, Member, Overview
from application.ownership import Ownership
from application.status import instant

Json = dict[str, Any]


class Nodes:
    """Read from the database, so every node tells the same."""

    def __init__(self, leases: Leases, ownership: Ownership) -> None:
        self._leases = leases
        self._ownership = ownership

    async def list(self) -> Json:
        """``{"items": [node], "next": None, "partitions": number, "unowned": [partition]}``. A node is ``{node, version,
        started_at, this, alive, eligible, lease_until, partitions: [{partition, epoch, lease_until, position, lag}]}``; `lag`
        counts the events that the status view has not seen. Raises StorageError.
        """
        overview = await self._leases.overview()
        known = {member.identity.node for member in overview.members}
        unowned = [each for each in overview.holdings if each.owner is None or each.owner not in known]
        return {
            "items": [self._node(overview, member) for member in overview.members],
            "next": None,
            "partitions": len(overview.holdings),
            "unowned": [_partition(overview, each) for each in unowned],
        }

    def _node(self, overview: Overview, member: Member) -> Json:
        identity = member.identity
        owned = [each for each in overview.holdings if each.owner == identity.node]
        return {
            "node": identity.node,
            "version": identity.version,
            "started_at": instant(identity.started_at),
            "this": identity.node == self._ownership.me.node,
            "alive": member.alive,
            "eligible": member.eligible,
            "lease_until": _until(overview, member.left_s),
            "partitions": [_partition(overview, each) for each in owned],
        }


def _partition(overview: Overview, holding: Holding) -> Json:
    return {
        "partition": holding.partition,
        "epoch": holding.epoch,
        "lease_until": _until(overview, holding.left_s) if holding.owner else None,
        "position": holding.position,
        "lag": holding.position - holding.projected,
    }


def _until(overview: Overview, left_s: float) -> str | None:
    return instant(overview.now + timedelta(seconds=left_s))
