"""A whole site for a fault test: nodes over one database, participants with a ledger, clients that start sagas.

A scenario breaks things while `under_load`; afterwards `verdict` waits until all is done and says what does not hold.
Faults wait for progress (`ledger.reached`), not for time, so they always hit work under way.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2

from tests.faults.ledger import Ledger
from tests.faults.load import Load, definition
from tests.faults.nodes import Node
from tests.faults.verdict import endings, verdict
from tests.support.damaging import KEY
from tests.support.stored import at_rest, read_stored

PARTITIONS = 4
LEASE_S = 2
_CALM_WITHIN_S = 60.0
_SHOWN = 30


class Site:
    """`seen_at`: the database for nodes, where a proxy may be in between; `database`: the same, for the verdict."""

    def __init__(self, folder: Path, database: str, *, seen_at: str, ledger: Ledger, nodes: int, seed: int) -> None:
        settings: dict[str, Any] = {
            "database": seen_at,
            "partitions": PARTITIONS,
            "allow_loopback": "true",
            "expression_workers": 1,
            "definitions": folder,
            "grace": 2,
            "lease": LEASE_S,
            "audit_key": KEY,
            "checkpoint_every": 0.5,
        }
        self.database = database
        self.ledger = ledger
        self.seed = seed
        self.nodes = [Node(f"node {number}", settings) for number in range(nodes)]
        self.loads: list[Load] = []
        self.ended: Counter[str] = Counter()

    def addresses(self) -> list[str]:
        """Of the nodes that serve now."""
        return [node.url for node in self.nodes if node.url is not None]

    @contextlib.asynccontextmanager
    async def under_load(self, count: int) -> AsyncIterator[Load]:
        """Start `count` sagas while the block runs; leave it when all are acknowledged."""
        load = Load(self.addresses, count, self.seed)
        self.loads.append(load)
        async with asyncio.TaskGroup() as group:
            group.create_task(load.run())
            yield load

    async def at_moments(self, count: int, sagas: int) -> AsyncIterator[int]:
        """`count` moments spread over the time in which so many sagas run, told by what has happened by then."""
        for moment in range(1, count + 1):
            await self.ledger.reached(2 * sagas * moment // (count + 1))
            yield moment

    async def verdict(self) -> list[str]:
        """Everything that does not hold once all is done, or after a while in which it should have been."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CALM_WITHIN_S):
                while not await asyncio.to_thread(at_rest, self.database):  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.1)
        stored = await asyncio.to_thread(read_stored, self.database)
        self.ended = endings(stored)
        acknowledged = {name: id_ for load in self.loads for name, id_ in load.acknowledged.items()}
        found = verdict(stored, self.ledger, acknowledged)
        found += await self._verified()
        found += [complaint for load in self.loads for complaint in load.complaints]
        return found + [complaint for node in self.nodes for complaint in node.complaints]

    async def _verified(self) -> list[str]:
        """What the nodes themselves find wrong with the log, which nobody has damaged."""
        for address in self.addresses():
            async with httpx2.AsyncClient(base_url=address, timeout=60) as http:
                shown = (await http.post("/v1/audit/verify")).json()
                while shown["status"] == "running":
                    shown = (await http.get(f"/v1/operations/{shown['id']}", params={"wait": 30})).json()
            if shown["status"] != "completed":
                return [f"the log was not verified: {shown}"]
            if not shown["result"]["checkpoints"]:
                return ["there are no checkpoints"]
            return [f"a verification found {each}" for each in shown["result"]["findings"]]
        return []


@contextlib.asynccontextmanager
async def site(
    folder: Path, database: str, *, seen_at: str | None = None, nodes: int = 1, seed: int = 0
) -> AsyncIterator[Site]:
    """A site at work."""
    async with Ledger(seed).serving() as ledger:
        documents = folder / "definitions"
        documents.mkdir()
        (documents / "trip.yaml").write_text(definition(ledger.url), encoding="utf-8")
        opened = Site(documents, database, seen_at=seen_at or database, ledger=ledger, nodes=nodes, seed=seed)
        try:
            for node in opened.nodes:
                await node.start()
            yield opened
        finally:
            for node in opened.nodes:
                await node.close()


async def sound(found: Site, sagas: int) -> None:
    """Nothing is lost, doubled or stuck, and there were so many sagas, of both endings. Raises AssertionError."""
    wrong = await found.verdict()
    said = [f"{node.name}: {line}" for node in found.nodes for line in node.said] if wrong else []
    assert not wrong, "\n".join([f"{len(wrong)} complaints:", *wrong[:_SHOWN], *said])
    assert found.ended.keys() == {"completed", "compensated"}
    assert found.ended.total() == sagas
