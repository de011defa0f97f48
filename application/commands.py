"""The use cases that change orchestrations. They implement `application.service.Commands`.

Each is one command to the engine; answers come after the commit. A dry run decides the same command on a copy.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from typing import Any, Literal

from application.definitions import DefinitionRegistry, split_reference
from application.engine import Engine, invalid_input
from application.exchange import EventExchange
from application.facts import FactFinder
from application.history import event_json
from application.service import Answer, CommandRequest, DryRun, EventOutcome, Json, StartRequest
from application.storage import KeyStore, canonical
from domain import commands as c
from domain import events as e
from domain.decision import Validation
from domain.errors import (
    BusinessKeyInUseError,
    IdempotencyKeyReusedError,
    InvalidInputError,
    NotFoundError,
    Problem,
)
from domain.plan import Plan
from domain.state import State


class OrchestrationCommands:
    """Changes of one service."""

    def __init__(
        self,
        engine: Engine,
        definitions: DefinitionRegistry,
        facts: FactFinder,
        keys: KeyStore,
        exchange: EventExchange,
    ) -> None:
        self._engine = engine
        self._definitions = definitions
        self._facts = facts
        self._keys = keys
        self._exchange = exchange

    # Starting ---------------------------------------------------------------------------------------------------------

    async def start(self, request: StartRequest) -> str:
        namespace, name, version = split_reference(request.definition)
        record = await self._definitions.record(namespace, name, version)
        plan = await self._definitions.by_digest(record.digest)
        digest = _digest(request)
        if request.idempotency_key is None:
            public_id = self._engine.identity.draw()
        else:
            public_id = self._engine.identity.derived(request.actor, request.idempotency_key)
            if (known := await self._known(public_id)) is not None:
                return _same_request(known, digest)
        await self._validate(plan, request.input)
        new = await asyncio.shield(self._begin(request, plan, public_id, digest))
        if not new:
            live = await self._engine.cache.settled(public_id)
            return _same_request(live.state, digest)
        return public_id

    async def _begin(self, request: StartRequest, plan: Plan, public_id: str, digest: bytes) -> bool:
        """Reserve the business key and start, as one step for others who want the same key: a holder without an
        orchestration has failed, it is never about to start.
        """

        def make() -> c.Start:
            return self._engine.command(
                c.Start,
                id=public_id,
                input=request.input,
                business_key=request.business_key,
                tags=dict(request.tags),
                request=digest,
                actor=request.actor,
            )

        drawn = request.idempotency_key is None
        if request.business_key is None:
            return (await self._engine.start(plan.digest, public_id, make, drawn=drawn))[1]
        definition = f"{plan.namespace}/{plan.name}"
        async with self._engine.cache.family(f"{definition} {request.business_key}"):
            await self._reserve(definition, request.business_key, public_id)
            return (await self._engine.start(plan.digest, public_id, make, drawn=drawn))[1]

    async def _known(self, public_id: str) -> State | None:
        try:
            return (await self._engine.cache.settled(public_id)).state
        except NotFoundError:
            return None

    async def _validate(self, plan: Plan, input_: Any) -> None:
        if plan.input_schema is None:
            return
        schema = plan.input_schema
        violations = await self._facts.violations(Validation(schema.document, schema.resource, input_))
        if isinstance(violations, str):
            raise InvalidInputError([Problem("", violations, "schema")])
        if violations:
            raise invalid_input(violations)

    async def _reserve(self, definition: str, key: str, public_id: str) -> None:
        """The key is ours, or an unfinished orchestration has it. A holder that is final, or whose start never happened,
        gives it up.
        """
        for _ in range(3):
            holder = await self._keys.reserve(definition, key, public_id)
            if holder == public_id:
                return
            state = await self._known(holder)
            if state is not None and not state.final:
                raise BusinessKeyInUseError(holder)
            if await self._keys.take_over(definition, key, holder, public_id):
                return
        raise BusinessKeyInUseError(None)

    # Commands for one orchestration -----------------------------------------------------------------------------------

    async def _carry_out(self, request: CommandRequest, make: Callable[[State], c.Command]) -> Answer | DryRun:
        if not self._engine.identity.well_formed(request.id):
            raise NotFoundError("There is no orchestration with this id.")
        if request.dry_run:
            outcome = await self._engine.rehearse(request.id, make, if_match=request.if_match)
            return DryRun(outcome.version, [_would_be(ev) for ev in outcome.events])
        outcome = await asyncio.shield(self._engine.execute(request.id, make, if_match=request.if_match))
        return Answer(outcome.id, outcome.status, outcome.version)

    async def cancel(self, request: CommandRequest, *, override_pivot: bool = False) -> Answer | DryRun:
        return await self._carry_out(
            request,
            lambda _: self._engine.command(
                c.Cancel, actor=request.actor, reason=request.reason, override_pivot=override_pivot
            ),
        )

    async def terminate(self, request: CommandRequest) -> Answer | DryRun:
        return await self._simple(request, c.Terminate)

    async def suspend(self, request: CommandRequest) -> Answer | DryRun:
        return await self._simple(request, c.Suspend)

    async def resume(self, request: CommandRequest) -> Answer | DryRun:
        return await self._simple(request, c.Resume)

    async def _simple(self, request: CommandRequest, cls: type[c.Terminate | c.Suspend | c.Resume]) -> Answer | DryRun:
        return await self._carry_out(
            request, lambda _: self._engine.command(cls, actor=request.actor, reason=request.reason)
        )

    async def resolve(
        self,
        request: CommandRequest,
        *,
        number: int,
        action: Literal["retry", "skip", "complete", "fail"],
        output: Any = None,
    ) -> Answer | DryRun:
        if not (request.reason or "").strip():
            raise InvalidInputError([Problem("/reason", "say why; it stands in the history", "missing")])
        return await self._carry_out(
            request,
            lambda _: self._engine.command(
                c.Resolve, actor=request.actor, reason=request.reason, number=number, action=action, output=output
            ),
        )

    async def add_note(self, request: CommandRequest, *, text: str) -> Answer | DryRun:
        return await self._carry_out(request, lambda _: self._engine.command(c.AddNote, actor=request.actor, text=text))

    # Events -----------------------------------------------------------------------------------------------------------

    async def send_event(self, id_: str, event: Json, *, actor: str = "anonymous") -> EventOutcome:
        if not self._engine.identity.well_formed(id_):
            raise NotFoundError("There is no orchestration with this id.")
        digest = hashlib.sha256(canonical(event)).digest()
        outcome = await asyncio.shield(
            self._engine.execute(
                id_, lambda _: self._engine.command(c.ReceiveEvent, actor=actor, event=event, digest=digest)
            )
        )
        received = next((ev for ev in outcome.events if isinstance(ev, e.EventReceived)), None)
        return EventOutcome(received.outcome if received else "duplicate", outcome.version)

    async def publish_event(self, event: Json, *, actor: str = "anonymous") -> EventOutcome:
        return await asyncio.shield(self._exchange.publish(event, actor))


def _would_be(event: e.Event) -> Json:
    found = event_json(event)
    return {name: found[name] for name in ("type", "task", "run", "data") if name in found}


def _digest(request: StartRequest) -> bytes:
    content = [request.definition, request.input, request.business_key, request.tags]
    return hashlib.sha256(canonical(content)).digest()


def _same_request(state: State, digest: bytes) -> str:
    if state.request != digest:
        raise IdempotencyKeyReusedError
    return state.id
