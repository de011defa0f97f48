"""Taking every partition of a storage, for tests that write without a node."""

from __future__ import annotations

from datetime import UTC, datetime

from application.database import Storage
from application.leases import NodeIdentity
from application.storage import Head


async def own(storage: Storage, node: str, partitions: int, lease_s: float = 10.0) -> list[Head]:
    """Open it and take all of its partitions, whoever has them; their heads."""
    await storage.log.open(partitions, lease_s)
    me = NodeIdentity(node, "here", 1, "", "0", datetime(2030, 1, 1, tzinfo=UTC))
    await storage.leases.renew(me, lease_s, [], eligible=True)
    heads = []
    for each in (await storage.leases.overview()).holdings:
        head = await storage.leases.claim(node, each.partition, each.epoch, lease_s, forced=True)
        assert head is not None
        heads.append(head)
    return heads
