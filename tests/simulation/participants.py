"""The systems outside, in memory: they misbehave as the seed says and keep a ledger of what really happened.

They behave as participants of a saga should: a repeat under the same key has no second effect and gets the same answer,
and what was undone stays undone even when the request it undoes arrives afterwards. Everything else may go wrong: a
request is lost, an answer is lost, both are late, it refuses, its answer cannot be used.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Collection
from typing import Any

import msgspec

from application.ports import (
    Answered,
    Callout,
    CalloutResult,
    Declined,
    DeliveryError,
    Doubtful,
    ResourceError,
    Unusable,
)
from domain.errors import Fault, fault
from tests.simulation.loop import outside

REFUSED = Fault("https://test.invalid/errors/refused", 409, "Refused")


class Effect(msgspec.Struct, frozen=True):
    """A line of the ledger."""

    key: str
    function: str
    orchestration: str
    task: str
    compensates: str | None


class Moods(msgspec.Struct, frozen=True):
    """How likely each misbehaviour is."""

    refuses: float = 0.08
    loses_request: float = 0.06
    loses_answer: float = 0.06
    unusable: float = 0.03
    slow: float = 0.1
    undo_refuses: float = 0.03


class SimulatedParticipants:
    """`Callouts`. `ledger`: effects by idempotency key, in their order; `sent`: every attempt that arrived here."""

    def __init__(self, chance: random.Random, moods: Moods) -> None:
        self._chance = chance
        self._moods = moods
        self.ledger: dict[str, Effect] = {}
        self.undone: set[str] = set()
        self.sent: list[Callout] = []
        self.calm = False
        self._refused: set[tuple[str, int]] = set()

    def knows(self, function: str) -> bool:
        return True

    async def send(self, callout: Callout) -> CalloutResult:
        self.sent.append(callout)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[CalloutResult] = loop.create_future()
        # The participant is another system: it goes on with what it got when the node that sent it dies.
        outside(lambda: loop.create_task(self._work(callout, answer)))
        try:
            return await asyncio.wait_for(answer, callout.timeout_s)
        except TimeoutError:
            return Doubtful(fault("timeout", "no answer in time"))

    def _happens(self, likelihood: float) -> bool:
        return not self.calm and self._chance.random() < likelihood

    async def _work(self, callout: Callout, answer: asyncio.Future[CalloutResult]) -> None:
        moods = self._moods
        slow = self._happens(moods.slow)
        await asyncio.sleep(self._chance.uniform(0, 60 if slow else 0.5))
        if self._happens(moods.loses_request):
            return
        result = self.act(callout)
        await asyncio.sleep(self._chance.uniform(0, 60 if slow else 0.5))
        if self._happens(moods.loses_answer):
            result = Doubtful(fault("communication", "the connection was lost after sending"))
        if not answer.done():
            answer.set_result(result)

    def act(self, callout: Callout) -> CalloutResult:
        """What it does there, at once."""
        key = callout.idempotency_key
        done: CalloutResult = Answered({"key": key, "ok": True})
        if key in self.ledger:
            return done
        if callout.compensates is None and key in self.undone:
            return Declined(REFUSED)
        # The same sending may arrive twice, when its node died in between: what was refused once stays refused.
        if (key, callout.attempt) in self._refused or self._happens(
            self._moods.undo_refuses if callout.compensates else self._moods.refuses
        ):
            self._refused.add((key, callout.attempt))
            return Declined(REFUSED)
        self.ledger[key] = Effect(key, callout.function, callout.orchestration, callout.task, callout.compensates)
        if callout.compensates is not None:
            self.undone.add(callout.compensates)
        elif self._happens(self._moods.unusable):
            return Unusable(fault("communication", "the answer is not JSON"), None)
        return done


class Elsewhere:
    """`Callouts` of a node that lacks some functions: `missing` are work for remote workers."""

    def __init__(self, participants: SimulatedParticipants, missing: Collection[str]) -> None:
        self._participants = participants
        self._missing = missing

    def knows(self, function: str) -> bool:
        return function not in self._missing

    async def send(self, callout: Callout) -> CalloutResult:
        assert self.knows(callout.function)
        return await self._participants.send(callout)


class SimulatedSink:
    """`EventSink` that keeps what it gets."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    async def publish(self, event: dict[str, Any]) -> None:
        await asyncio.sleep(0)
        self.events.append(event)


class UnreliableSink:
    """`EventSink` that refuses some events, and takes some while the sender is told otherwise. `calm`: neither any more."""

    def __init__(self, chance: random.Random, unreliable: float) -> None:
        self.calm = False
        self.events: list[dict[str, Any]] = []
        self._chance = chance
        self._unreliable = unreliable

    async def publish(self, event: dict[str, Any]) -> None:
        await asyncio.sleep(self._chance.choice((0, 0, 0.01)))
        trouble = not self.calm and self._chance.random() < self._unreliable
        if trouble and self._chance.random() < 0.5:
            raise DeliveryError("refused")
        self.events.append(event)
        if trouble:
            raise DeliveryError("nobody knows")


class NoResources:
    """`Resources`: nothing can be fetched in a simulated world."""

    async def fetch(self, resource: Any) -> Any:
        raise ResourceError("there is no network here")


class KnownSecrets:
    """`Secrets` from a dictionary."""

    def __init__(self, **secrets: Any) -> None:
        self._secrets = secrets

    def get(self, name: str) -> Any | None:
        return self._secrets.get(name)

    def redact(self, value: Any) -> Any:
        match value:
            case str():
                for secret in self._secrets.values():
                    value = value.replace(str(secret), "***")
                return value
            case dict():
                return {self.redact(key): self.redact(item) for key, item in value.items()}
            case list():
                return [self.redact(item) for item in value]
        return value
