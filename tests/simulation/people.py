"""People of a simulated world: they look at the list through any node, take tasks, give them back, answer, too late or twice.

What was taken of their answers `Answers` remembers for the checker.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from application.human_tasks import Acting, HumanListRequest
from application.runtime import Node
from domain.errors import Fault, RetraceError, StorageError
from tests.simulation.workers import _AGAIN, Asking

NAMES = ("ann", "bob")
Json = dict[str, Any]
Work = Callable[[Node], Coroutine[Any, Any, Any]]


class Answers:
    """What all people together were told that it was taken: task -> (person, what)."""

    def __init__(self) -> None:
        self.taken: dict[str, set[tuple[str, str]]] = {}


class SimulatedPerson:
    """Looks at the list now and then, and does something with what stands there. In the calm it answers everything."""

    def __init__(
        self, name: str, ask: Asking, answers: Answers, chance: random.Random, calm: Callable[[], bool]
    ) -> None:
        self._acting = Acting(actor=name)
        self._ask = ask
        self._answers = answers
        self._chance = chance
        self._calm = calm
        self._seen: list[str] = []

    async def run(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(self._chance.uniform(0.5, 10))
            try:
                found = await self._ask(lambda node: node.human_tasks.list(HumanListRequest()))
            except _AGAIN:
                continue
            self._seen += [item["id"] for item in found["items"] if item["id"] not in self._seen]
            for task in found["items"] if self._calm() else [{"id": id_} for id_ in self._some()]:
                await self._do(task["id"])

    def _some(self) -> list[str]:
        """Also what is no longer there."""
        return self._chance.sample(self._seen[-6:], min(2, len(self._seen[-6:])))

    async def _do(self, id_: str) -> None:
        what = self._chance.choice(("claim", "complete", "complete", "refuse", "release", "reassign"))
        if self._calm():
            await self._insist(id_, "reassign")
            what = "complete"
        if await self._insist(id_, what) and what in ("complete", "refuse"):
            self._answers.taken.setdefault(id_, set()).add((self._acting.actor, what))

    async def _insist(self, id_: str, what: str) -> bool:
        """Until there is an answer. Whether it was taken."""
        while True:
            try:
                await self._ask(partial(_tell, what, id_, self._acting))
            except _AGAIN:
                await asyncio.sleep(self._chance.uniform(0.1, 2))
            except StorageError:
                raise
            except RetraceError:
                return False
            else:
                return True


def _tell(what: str, id_: str, acting: Acting, node: Node) -> Coroutine[Any, Any, Any]:
    tasks = node.human_tasks
    match what:
        case "complete":
            return tasks.complete(id_, acting, {"by": acting.actor})
        case "refuse":
            return tasks.refuse(id_, acting, Fault("https://test.invalid/errors/refused", 403, "No"))
        case "reassign":
            return tasks.reassign(id_, acting, "it is mine", assignee=acting.actor)
        case "claim":
            return tasks.claim(id_, acting)
    return tasks.release(id_, acting)
