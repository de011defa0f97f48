"""Remote workers in a simulated world: they claim at any node, and misbehave as the seed says.

They stall beyond their lease, die before or after their effect, report twice, or something else than before, or under a token
that does not count any more. What they do they do through the same participants as everyone else, whose ledger tells what
really happened; what they were handed out and what was taken of their reports, `Handed` remembers for the checker.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Protocol

import msgspec

from application.claims import ClaimRequest
from application.ports import Answered, Callout, CalloutResult, Declined
from application.runtime import Node
from domain.errors import NodeUnavailableError, NotFoundError, StaleTokenError, StorageError
from tests.simulation.loop import ProcessDiedError
from tests.simulation.participants import SimulatedParticipants

FUNCTIONS = ("work", "unwork")
Json = dict[str, Any]
_AGAIN = (StorageError, NodeUnavailableError, ProcessDiedError)


class Asking(Protocol):
    """What a worker knows of the world: some node answers, or none."""

    def __call__(self, work: Callable[[Node], Coroutine[Any, Any, Any]]) -> Coroutine[Any, Any, Any]: ...


class Tempers(msgspec.Struct, frozen=True):
    """How likely each misbehaviour is."""

    dies_before: float = 0.05
    dies_after: float = 0.08
    stalls: float = 0.15
    beats: float = 0.5
    doubts: float = 0.05
    repeats: float = 0.2
    contradicts: float = 0.1


class Handed:
    """What all workers together were handed out, and what was taken of what they reported."""

    def __init__(self) -> None:
        self.tasks: list[Json] = []
        self.taken: dict[str, set[tuple[str, str]]] = {}
        """Task -> (token, outcome) of the reports that were taken."""
        self.completed: list[Json] = []
        """Those of which it was taken that they are done."""
        self.stale = 0
        self.stalled = 0
        self.died = 0


class SimulatedWorker:
    """One program that asks for work, over and over; as many tasks at once as it gets."""

    def __init__(
        self,
        name: str,
        ask: Asking,
        participants: SimulatedParticipants,
        handed: Handed,
        chance: random.Random,
        tempers: Tempers,
    ) -> None:
        self._name = name
        self._ask = ask
        self._participants = participants
        self._handed = handed
        self._chance = chance
        self._tempers = tempers
        self._doing: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """For ever."""
        chance = self._chance
        while True:
            calm = self._participants.calm
            lease_s = chance.choice((2.0, 10.0, 30.0))
            request = ClaimRequest(
                functions=FUNCTIONS,
                worker=self._name,
                most=chance.choice((1, 1, 3)),
                wait_s=60.0 if calm else chance.uniform(0, 20),
                lease_s=lease_s,
            )
            try:
                tasks = await self._ask(partial(_claim, request))
            except _AGAIN:
                await asyncio.sleep(chance.uniform(0.1, 2))
                continue
            self._handed.tasks += tasks
            for task in tasks:
                doing = asyncio.ensure_future(self._carry_out(task, lease_s))
                self._doing.add(doing)
                doing.add_done_callback(self._doing.discard)
            await asyncio.sleep(chance.uniform(0.01, 1))

    def _happens(self, likelihood: float) -> bool:
        return not self._participants.calm and self._chance.random() < likelihood

    async def _carry_out(self, task: Json, lease_s: float) -> None:
        tempers, chance = self._tempers, self._chance
        if self._happens(tempers.dies_before):
            self._handed.died += 1
            return
        beating = asyncio.ensure_future(self._beat(task, lease_s)) if self._happens(tempers.beats) else None
        stalls = self._happens(tempers.stalls)
        self._handed.stalled += stalls
        await asyncio.sleep(chance.uniform(0, 3 * lease_s) if stalls else chance.uniform(0, 1.5))
        result = self._participants.act(_callout(task))
        await asyncio.sleep(chance.uniform(0, 3 * lease_s) if stalls else chance.uniform(0, 0.5))
        if beating is not None:
            beating.cancel()
        if self._happens(tempers.dies_after):
            self._handed.died += 1
            return
        doubts = self._happens(tempers.doubts)
        await self._report(task, result, doubts=doubts)
        if self._happens(tempers.repeats):
            await self._report(task, result, doubts=doubts)
        if self._happens(tempers.contradicts):
            await self._report(task, result, doubts=not doubts)

    async def _beat(self, task: Json, lease_s: float) -> None:
        while True:
            await asyncio.sleep(lease_s / 3)
            try:
                await self._ask(lambda node: node.claims.heartbeat(task["task_id"], task["token"], lease_s))
            except _AGAIN:
                continue
            except (StaleTokenError, NotFoundError):
                return

    async def _report(self, task: Json, result: CalloutResult, *, doubts: bool) -> None:
        """Until there is an answer, like `retrace.Worker`."""
        outcome = _outcome(result, doubts=doubts)
        while True:
            try:
                await self._ask(partial(_report, task, outcome, result))
            except _AGAIN:
                await asyncio.sleep(self._chance.uniform(0.1, 2))
            except (StaleTokenError, NotFoundError):
                self._handed.stale += 1
                return
            else:
                self._handed.taken.setdefault(task["task_id"], set()).add((task["token"], outcome))
                if outcome == "completed":
                    self._handed.completed.append(task)
                return


def _callout(task: Json) -> Callout:
    return Callout(
        kind="function",
        function=task["function"],
        arguments=task["arguments"],
        idempotency_key=task["idempotency_key"],
        attempt=task["attempt"],
        timeout_s=30.0,
        orchestration=task["orchestration"],
        task=task["task"],
        compensates=task["compensates"],
    )


def _outcome(result: CalloutResult, *, doubts: bool) -> str:
    if doubts:
        return "uncertain"
    return "refused" if isinstance(result, Declined) else "completed" if isinstance(result, Answered) else "uncertain"


def _claim(request: ClaimRequest, node: Node) -> Coroutine[Any, Any, Any]:
    return node.claims.claim(request)


def _report(task: Json, outcome: str, result: CalloutResult, node: Node) -> Coroutine[Any, Any, Any]:
    if outcome == "completed":
        assert isinstance(result, Answered)
        return node.claims.complete(task["task_id"], task["token"], result.output)
    return node.claims.fail(
        task["task_id"],
        task["token"],
        {"detail": "as the seed has it"},
        retryable=None,
        uncertain=outcome == "uncertain",
    )
