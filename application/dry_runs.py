"""Decides commands on copies, for dry runs and plans of what would happen: nothing is recorded and nobody is told.

Any node can do it, whoever owns the orchestration: it works on what the log says.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import msgspec

from application.engine import Engine, Outcome
from application.facts import FactFinder, Plans
from application.live import LiveCache
from domain import commands as c
from domain import events as e
from domain.decision import Limits
from domain.errors import VersionMismatchError
from domain.orchestration import opened, step
from domain.plan import Plan
from domain.state import ROOT, State
from domain.undoing import foresee


class DryRuns:
    """One per node."""

    def __init__(self, engine: Engine, cache: LiveCache, facts: FactFinder, plans: Plans, limits: Limits) -> None:
        self._engine = engine
        self._cache = cache
        self._facts = facts
        self._plans = plans
        self._limits = limits

    async def plan_of(self, state: State) -> Plan:
        """The plan that an orchestration runs by."""
        return await self._plans.by_digest(state.digest)

    async def decide(
        self, public_id: str, make: Callable[[State], c.Command], *, if_match: int | None = None
    ) -> Outcome:
        """What a command would lead to now."""
        partition, orchestration = self._engine.identity.locate(public_id)
        state, _ = await self._cache.fold(partition, orchestration)
        version = state.version
        if if_match is not None and version != if_match:
            raise VersionMismatchError(f"It has version {version}, not {if_match}.")
        events = await self._decided(await self.plan_of(state), state, make(state), partition)
        return Outcome(public_id, state.status, version, events)

    async def begin(self, digest: str, command: c.Fork, partition: int) -> list[e.Event]:
        """What would be recorded if an orchestration began with this."""
        return await self._decided(await self._plans.by_digest(digest), State(), command, partition)

    async def cancel(self, public_id: str) -> list[e.Event]:
        """What a cancel would lead to if every attempt in flight stayed without an answer, and every undo in progress ended
        well, which may take as long as a person does.
        """
        partition, orchestration = self._engine.identity.locate(public_id)
        state, _ = await self._cache.fold(partition, orchestration)
        plan = await self.plan_of(state)
        later = self._engine.now() + timedelta(seconds=self._limits.settle_timeout_s + 1)
        cancel = self._engine.command(c.Cancel, override_pivot=True)
        found = await self._decided(plan, state, cancel, partition)
        timers = msgspec.structs.replace(self._engine.command(c.FireTimers), at=later)
        found += await self._decided(plan, state, timers, partition)
        if state.rolling_back and ROOT not in state.rollbacks:
            found += await self._decided(plan, state, timers, partition, ahead=True)
        return found

    async def _decided(
        self, plan: Plan, state: State, command: c.Command, partition: int, *, ahead: bool = False
    ) -> list[e.Event]:
        to = None if (digest := c.target_of(command)) is None else await self._plans.by_digest(digest)
        decision = opened(plan, state, command, self._limits, to=to)
        if ahead:
            decision.spawn(foresee(decision))
        questions = step(decision)
        while questions:
            questions = step(decision, await self._facts.answer(questions, partition))
        return decision.events
