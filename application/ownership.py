"""Which partitions are ours: joins, keeps leases, takes what is free, lets go of what others should have, leaves.

One loop looks every twentieth of a lease: it prolongs what is held, sees who else is there, and does what
`application.placement` says. A partition whose lease is over is taken only at the second look that finds it so: after an
outage of the database every lease is over, and those who come back need a moment to prolong theirs.

Who owns a partition is told to its tenants (`gained`, `lost`) without a gap between: whatever they held of a partition that
is lost is dropped. Before a partition is let go it is *leaving*: requests are still carried out, no new ids are drawn in it,
and what is in flight may end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from datetime import datetime
from typing import Final, Protocol

import msgspec
import structlog

from application.inbox import Signals
from application.leases import Holding, Leases, Liveness, NodeIdentity, Overview
from application.placement import is_free, place
from application.ports import Clock
from application.storage import Head
from domain.errors import StorageError

_log = structlog.get_logger(__name__)
LOOKS_PER_LEASE: Final = 20
_READABLE: Final = 0.75
"""The part of a lease in which its owner may answer from memory."""
_CLOCKS_APART_S: Final = 1.0


class Tenant(Protocol):
    """Holds something of partitions."""

    def gained(self, head: Head) -> None:
        """This partition is ours, from this head on."""
        ...

    def lost(self, partition: int) -> None:
        """It is another's, or was let go: forget what is known of it."""
        ...


class Ownership:
    """One loop per process. `tenants` are told in their order, and in reverse when something is lost."""

    def __init__(
        self,
        me: NodeIdentity,
        leases: Leases,
        liveness: Liveness,
        signals: Signals,
        clock: Clock,
        *,
        lease_s: float,
        drain_s: float,
    ) -> None:
        self.me = me
        self._leases = leases
        self._liveness = liveness
        self._clock = clock
        self._lease_s = lease_s
        self._drain_s = drain_s
        self._epochs: dict[int, int] = {}
        self._leaving: set[int] = set()
        self._readable_until: float = 0.0
        self._overdue: set[tuple[int, int]] = set()
        self._eligible = True
        self._tenants: list[Tenant] = []
        self._drains: list[Callable[[int], Awaitable[None]]] = []
        self._task: asyncio.Task[None] | None = None
        self._releases: dict[int, asyncio.Task[None]] = {}
        self._stopping = False
        self._unreleased: dict[int, int] = {}
        self._wake = asyncio.Event()
        self.overview: Overview | None = None
        """What the last look saw."""
        signals.listen(lambda hint: self._wake.set() if hint == "nodes" else None)
        self._signals = signals

    def add(self, tenant: Tenant) -> None:
        self._tenants.append(tenant)

    def drain_with(self, drain: Callable[[int], Awaitable[None]]) -> None:
        """Have this called before a partition is let go: it returns when nothing is in flight that somebody would miss."""
        self._drains.append(drain)

    # What is ours -----------------------------------------------------------------------------------------------------

    def holds(self, partition: int) -> bool:
        """Whether it is ours, also while it is about to be let go: until then requests for it are carried out here."""
        return partition in self._epochs

    def answers(self, partition: int) -> bool:
        """Whether memory may be trusted: ours, and the lease far from its end. Else the log has to be asked."""
        return partition in self._epochs and asyncio.get_running_loop().time() < self._readable_until

    @property
    def owned(self) -> list[int]:
        """Partitions in which something new may begin."""
        return [partition for partition in self._epochs if partition not in self._leaving]

    @property
    def held(self) -> list[int]:
        return list(self._epochs)

    @property
    def eligible(self) -> bool:
        """False while this machine's clock is too far from the database's to own anything."""
        return self._eligible

    def lose(self, partition: int) -> None:
        """It has turned out to be another's."""
        if self._epochs.pop(partition, None) is not None:
            self._leaving.discard(partition)
            _log.warning("partition.lost", partition=partition, node=self.me.node)
            self._tell_lost(partition)

    def _tell_lost(self, partition: int) -> None:
        for tenant in reversed(self._tenants):
            tenant.lost(partition)

    # Life -------------------------------------------------------------------------------------------------------------

    async def join(self) -> None:
        """Introduce this node and take what is free. Raises StorageError."""
        await self._prolong()
        await self._look(first=True)
        await self._signals.tell("nodes")

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="ownership")

    async def stop(self) -> None:
        """Look no more; what is held stays held, and its leases are prolonged, until `leave`."""
        self._stopping = True
        await _ended(*self._releases.values())

    async def leave(self) -> None:
        """Let go of everything at once, so that nobody has to wait for a lease. What is in flight was ended before."""
        if self._task is not None:
            await _ended(self._task)
        held, self._epochs = {**self._unreleased, **self._epochs}, {}
        try:
            for partition, epoch in held.items():
                await self._leases.release(self.me.node, partition, epoch)
            await self._leases.leave(self.me.node)
        except StorageError as error:
            _log.warning("partitions.not_released", detail=error.detail)
        else:
            await self._signals.tell("nodes")

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        pause_s = self._lease_s / LOOKS_PER_LEASE
        looks = 0
        while True:
            try:
                async with asyncio.timeout(pause_s):
                    await self._wake.wait()
            except TimeoutError:
                looks += 1
            self._wake.clear()
            began = loop.time()
            try:
                if looks % (LOOKS_PER_LEASE // 5) == 0 or began > self._readable_until:
                    await self._prolong()
                    looks = 1
                if not self._stopping:
                    await self._look(first=False)
            except StorageError as error:
                _log.warning("leases.not_renewed", detail=error.detail)
            except Exception:
                _log.exception("leases.broken")

    async def _prolong(self) -> None:
        until = asyncio.get_running_loop().time() + self._lease_s * _READABLE
        await self._leases.renew(self.me, self._lease_s, list(self._epochs.items()), eligible=self._eligible)
        self._readable_until = until

    async def _look(self, *, first: bool) -> None:
        asked_at = self._clock.now()
        self.overview = overview = await self._leases.overview()
        self._check_clock(_apart_s(asked_at, overview.now, self._clock.now()))
        for each in overview.holdings:
            if self._epochs.get(each.partition, each.epoch) != each.epoch:
                self.lose(each.partition)
        gone = self._gone(overview)
        placement = place(self.me.node, self._without_strays(overview), gone)
        overdue = {(each.partition, each.epoch) for each in overview.holdings if is_free(each, gone)}
        before = set(self._epochs)
        for each in placement.claim if self._eligible else ():
            certain = first or each.owner is None or each.owner in gone
            if certain or (each.partition, each.epoch) in self._overdue:
                await self._claim(each, forced=each.owner is None or each.owner in gone)
        if gained := sorted(self._epochs.keys() - before):
            _log.info("partitions.gained", partitions=gained, node=self.me.node)
        self._overdue = overdue
        if not self._stopping:
            for partition in placement.release if self._eligible else self.held:
                self._release(partition)

    def _without_strays(self, overview: Overview) -> Overview:
        """A claim or a release whose answer was lost leaves a partition that is ours in the database only: it is free."""
        holdings = [
            msgspec.structs.replace(each, owner=None, left_s=0.0)
            if each.owner == self.me.node and each.partition not in self._epochs
            else each
            for each in overview.holdings
        ]
        return msgspec.structs.replace(overview, holdings=holdings)

    def _gone(self, overview: Overview) -> Collection[str]:
        others = [member.identity for member in overview.members if member.identity.node != self.me.node]
        if self._leases.alone:
            known = {other.node for other in others}
            return known | {each.owner for each in overview.holdings if each.owner and each.owner != self.me.node}
        return {other.node for other in others if self._liveness.is_gone(other)}

    def _check_clock(self, apart_s: float) -> None:
        eligible = apart_s <= _CLOCKS_APART_S or self._leases.alone
        if eligible != self._eligible:
            self._eligible = eligible
            _log.log(
                20 if eligible else 40,
                "clock.near_again" if eligible else "clock.too_far",
                apart_s=round(apart_s, 3),
                detail="the clocks of this machine and of the database differ; this node owns nothing meanwhile",
            )

    async def _claim(self, holding: Holding, *, forced: bool) -> None:
        partition = holding.partition
        if partition in self._epochs:
            return
        head = await self._leases.claim(self.me.node, partition, holding.epoch, self._lease_s, forced=forced)
        if head is not None:
            self._epochs[partition] = head.epoch
            for tenant in self._tenants:
                tenant.gained(head)

    # Letting go -------------------------------------------------------------------------------------------------------

    def _release(self, partition: int) -> None:
        if partition not in self._releases and partition in self._epochs:
            task = asyncio.get_running_loop().create_task(self._let_go(partition))
            self._releases[partition] = task
            task.add_done_callback(lambda _: self._releases.pop(partition, None))

    async def _let_go(self, partition: int) -> None:
        epoch = self._epochs.get(partition)
        if epoch is None:
            return  # lost before this began
        self._leaving.add(partition)
        try:
            async with asyncio.timeout(self._drain_s):
                await asyncio.gather(*(drain(partition) for drain in self._drains))
        except TimeoutError:
            _log.warning(
                "partition.not_drained", partition=partition, detail="what is in flight is sent again elsewhere"
            )
        if self._epochs.get(partition) != epoch:
            return  # lost meanwhile
        del self._epochs[partition]
        self._unreleased[partition] = epoch  # until the database knows, in case this node leaves meanwhile
        self._leaving.discard(partition)
        self._tell_lost(partition)
        _log.info("partition.released", partition=partition, node=self.me.node)
        try:
            await self._leases.release(self.me.node, partition, epoch)
            self._unreleased.pop(partition, None)
        except StorageError as error:
            _log.warning("partition.not_released", partition=partition, detail=error.detail)
        await self._signals.tell("nodes")


async def _ended(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _apart_s(asked_at: datetime, told: datetime, answered_at: datetime) -> float:
    """How far the database's clock is from ours at least: what it told lies between the question and the answer, so a slow
    answer proves nothing.
    """
    return max((asked_at - told).total_seconds(), (told - answered_at).total_seconds(), 0.0)
