"""Where partitions belong: a pure function of what every node sees, so that all come to the same result.

Each living node has a quota; the quotas add up to all partitions and differ by at most one. Who has more lets go, who has
less takes what is free. A node whose lease is over owns nothing in the eyes of the others.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from application.leases import Holding, Overview


class Placement(msgspec.Struct, frozen=True):
    """What one node has to do: holdings to claim, in this order, and partitions to let go."""

    claim: list[Holding]
    release: list[int]


def quotas(nodes: Sequence[str], partitions: int) -> dict[str, int]:
    """How many partitions each node should own; the first in order of name own one more when it does not come out even."""
    if not nodes:
        return {}
    each, more = divmod(partitions, len(nodes))
    return {node: each + (rank < more) for rank, node in enumerate(sorted(nodes))}


def place(me: str, overview: Overview, gone: Collection[str]) -> Placement:
    """What `me` has to do. `gone`: nodes that are certainly dead, however long their leases last."""
    nodes = sorted(
        member.identity.node
        for member in overview.members
        if member.eligible and member.alive and member.identity.node not in gone
    )
    if me not in nodes:
        return Placement([], [each.partition for each in overview.holdings if each.owner == me])
    quota = quotas(nodes, len(overview.holdings))[me]
    mine = [each.partition for each in overview.holdings if each.owner == me]
    free = [each for each in overview.holdings if is_free(each, gone)]
    # Nodes that look at the same moment begin at different places, so that they seldom want the same partition.
    begin = len(free) * nodes.index(me) // len(nodes)
    wanted = (free[begin:] + free[:begin])[: max(0, quota - len(mine))]
    return Placement(wanted, sorted(mine)[quota:])


def is_free(holding: Holding, gone: Collection[str]) -> bool:
    """Whether a partition may be taken."""
    return holding.owner is None or holding.left_s <= 0 or holding.owner in gone
