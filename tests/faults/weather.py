"""Faults drawn from a seed: which, where, how long, and after how much work. One seed always draws the same story.

The story is the same; how it ends for each request is not, because real processes and a real clock play in it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, Literal

import msgspec

from tests.faults.proxy import Mishap, PostgresProxy
from tests.faults.server import OwnPostgres
from tests.faults.site import LEASE_S, Site

Kind = Literal["crash", "cut", "mishap", "stall", "slow", "kill", "pause", "replace"]
_OF_NODES: Final[tuple[Kind, ...]] = ("kill", "pause", "replace")
_OF_THE_DATABASE: Final[tuple[Kind, ...]] = ("crash", "cut", "mishap", "mishap", "stall", "slow")
_LONGEST_S: Final = 2.0 * LEASE_S


class Fault(msgspec.Struct, frozen=True):
    """What happens once `effects` effects have happened. `node` and `lasts_s` where they apply."""

    effects: int
    kind: Kind
    node: int
    lasts_s: float
    mishaps: tuple[Mishap | None, ...]


class Story(msgspec.Struct, frozen=True):
    """Everything that a seed decides."""

    seed: int
    database: Literal["postgresql", "sqlite"]
    nodes: int
    sagas: int
    faults: tuple[Fault, ...]


def story_of(seed: int) -> Story:
    """The story of a seed."""
    chance = random.Random(f"weather {seed}")
    database: Literal["postgresql", "sqlite"] = "sqlite" if chance.random() < 0.2 else "postgresql"
    nodes = 1 if database == "sqlite" else chance.randint(1, 3)
    sagas = chance.randint(40, 120)
    moments = sorted(chance.randint(1, 2 * sagas) for _ in range(chance.randint(3, 7)))
    kinds = _OF_NODES if database == "sqlite" else (*_OF_NODES, *_OF_THE_DATABASE)
    faults = tuple(
        Fault(
            moment,
            chance.choice(kinds),
            chance.randrange(nodes),
            round(chance.uniform(0.1, _LONGEST_S), 1),
            tuple(chance.choice((*Mishap, None)) for _ in range(chance.randint(1, 4))),
        )
        for moment in moments
    )
    return Story(seed, database, nodes, sagas, faults)


class Weather:
    """Makes the faults of a story happen to a site. Without a server and a proxy only those of nodes can."""

    def __init__(self, site: Site, server: OwnPostgres | None = None, proxy: PostgresProxy | None = None) -> None:
        self._site = site
        self._server = server
        self._proxy = proxy

    async def follow(self, faults: tuple[Fault, ...]) -> None:
        """One after the other, each at its moment; every one is over before the next."""
        by_kind: dict[Kind, Callable[[Fault], Awaitable[None]]] = {
            "crash": self._crash,
            "cut": self._cut,
            "mishap": self._mishap,
            "stall": self._stall,
            "slow": self._slow,
            "kill": self._kill,
            "pause": self._pause,
            "replace": self._replace,
        }
        for fault in faults:
            await self._site.ledger.reached(fault.effects)
            await by_kind[fault.kind](fault)

    async def _crash(self, fault: Fault) -> None:
        assert self._server is not None
        await self._server.crash()
        await asyncio.sleep(fault.lasts_s / 2)
        await self._server.start()

    async def _cut(self, fault: Fault) -> None:
        assert self._proxy is not None
        self._proxy.cut()

    async def _mishap(self, fault: Fault) -> None:
        assert self._proxy is not None
        self._proxy.next_commits(*fault.mishaps)

    async def _stall(self, fault: Fault) -> None:
        assert self._proxy is not None
        self._proxy.stall()
        await asyncio.sleep(fault.lasts_s)
        self._proxy.go_on()

    async def _slow(self, fault: Fault) -> None:
        assert self._proxy is not None
        self._proxy.delay_s = 0.005
        await asyncio.sleep(fault.lasts_s)
        self._proxy.delay_s = 0.0

    async def _kill(self, fault: Fault) -> None:
        node = self._site.nodes[fault.node]
        await node.kill()
        await node.start()

    async def _pause(self, fault: Fault) -> None:
        node = self._site.nodes[fault.node]
        node.pause()
        await asyncio.sleep(fault.lasts_s)
        node.go_on()

    async def _replace(self, fault: Fault) -> None:
        node = self._site.nodes[fault.node]
        await node.stop()
        await node.start()
