"""The use cases that change orchestrations. They implement `application.service.Commands`.

Each is one command to the engine; answers come after the commit. A dry run decides the same command on a copy.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any, Literal

from application.archive import ArchiveReader
from application.business_keys import BusinessKeys
from application.callbacks import LATE, CallbackReport, Callbacks
from application.definitions import DefinitionRegistry, split_reference
from application.dry_runs import DryRuns
from application.engine import Engine, invalid_input
from application.exchange import EventExchange
from application.facts import FactFinder
from application.forwarding import Begin, Done, Sender
from application.history import event_json
from application.load import Load
from application.ownership import Ownership
from application.reader import Reader
from application.routing import Router
from application.service import Answer, CommandRequest, DryRun, EventOutcome, Json, StartRequest
from application.storage import canonical
from domain import commands as c
from domain import events as e
from domain.decision import Validation
from domain.errors import (
    ArchivedError,
    IdempotencyKeyReusedError,
    InvalidInputError,
    NotFoundError,
    OrchestrationEndedError,
    Problem,
    StaleTokenError,
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
        starts: BusinessKeys,
        exchange: EventExchange,
        router: Router,
        reader: Reader,
        ownership: Ownership,
        dry_runs: DryRuns,
        archive: ArchiveReader,
        callbacks: Callbacks,
        load: Load,
    ) -> None:
        self._callbacks = callbacks
        self._load = load
        self._engine = engine
        self._definitions = definitions
        self._facts = facts
        self._keys = starts
        self._exchange = exchange
        self._router = router
        self._reader = reader
        self._ownership = ownership
        self._dry_runs = dry_runs
        self._archive = archive

    # Starting ---------------------------------------------------------------------------------------------------------

    async def start(self, request: StartRequest) -> str:
        namespace, name, version = split_reference(request.definition)
        record = await self._definitions.record(namespace, name, version)
        plan = await self._definitions.by_digest(record.digest)
        digest = _digest(request)
        identity = self._engine.identity
        if request.idempotency_key is None:
            # A node that owns nothing leaves it to chance who begins it.
            owned = self._ownership.owned
            public_id = identity.draw_in(owned) if owned else identity.draw()
        else:
            public_id = identity.derived(request.actor, request.idempotency_key)
            if (known := await self._known_repeat(public_id)) is not None:
                return _same_request(known, digest)
        await self._validate(plan, request.input)
        self._load.admit_start()
        begun = await asyncio.shield(self._begin(request, plan, public_id, digest))
        if not begun.new:
            return _same_request((await self._reader.settled(public_id)).state, digest)
        return public_id

    async def _begin(self, request: StartRequest, plan: Plan, public_id: str, digest: bytes) -> Done:
        members = {
            "input": request.input,
            "business_key": request.business_key,
            "tags": dict(request.tags),
            "request": digest,
            "actor": request.actor,
            **_origin(request.trace, request.request_id),
        }
        begin = Begin(public_id, plan.digest, members, drawn=request.idempotency_key is None)
        if request.business_key is None:
            return await self._router.begin(begin)
        return await self._keys.begin(begin, f"{plan.namespace}/{plan.name}", request.business_key)

    async def _known_repeat(self, public_id: str) -> State | None:
        """What this key has started before. Raises OrchestrationEndedError when that is archived: a repeat that late gets
        no answer like the first, but it starts nothing either.
        """
        try:
            return await self._keys.known(public_id)
        except ArchivedError:
            status = await self._archive.status(*self._engine.identity.locate(public_id))
            raise OrchestrationEndedError(
                status,
                f"This Idempotency-Key started {public_id}, which ended as {status} long ago and is archived. "
                "Nothing was started; use a new key for a new orchestration.",
            ) from None

    async def _validate(self, plan: Plan, input_: Any) -> None:
        if plan.input_schema is None:
            return
        schema = plan.input_schema
        violations = await self._facts.violations(Validation(schema.document, schema.resource, input_))
        if isinstance(violations, str):
            raise InvalidInputError([Problem("", violations, "schema")])
        if violations:
            raise invalid_input(violations)

    # Commands for one orchestration -----------------------------------------------------------------------------------

    async def _carry_out(self, request: CommandRequest, command: type[c.Command], **members: Any) -> Answer | DryRun:
        identity = self._engine.identity
        if not identity.well_formed(request.id):
            raise NotFoundError("There is no orchestration with this id.")
        members = {"actor": request.actor, **_origin(request.trace, request.request_id), **members}
        if request.dry_run:
            outcome = await self._dry_runs.decide(
                request.id, lambda _: self._engine.command(command, **members), if_match=request.if_match
            )
            return DryRun(outcome.version, [_would_be(ev) for ev in outcome.events])
        self._load.admit_change()
        done = await asyncio.shield(
            self._router.execute(
                identity.locate(request.id),
                command,
                members,
                if_match=request.if_match,
                command_id=self._command_id(request, command),
            )
        )
        return Answer(done.id, done.status, done.version)

    def _command_id(self, request: CommandRequest, command: type[c.Command]) -> str | None:
        if request.idempotency_key is None:
            return None
        return self._engine.identity.command_id(request.actor, request.idempotency_key, request.id, command.__name__)

    async def cancel(self, request: CommandRequest, *, override_pivot: bool = False) -> Answer | DryRun:
        return await self._carry_out(request, c.Cancel, reason=request.reason, override_pivot=override_pivot)

    async def terminate(self, request: CommandRequest) -> Answer | DryRun:
        return await self._simple(request, c.Terminate)

    async def suspend(self, request: CommandRequest) -> Answer | DryRun:
        return await self._simple(request, c.Suspend)

    async def resume(self, request: CommandRequest) -> Answer | DryRun:
        return await self._simple(request, c.Resume)

    async def _simple(self, request: CommandRequest, cls: type[c.Terminate | c.Suspend | c.Resume]) -> Answer | DryRun:
        return await self._carry_out(request, cls, reason=request.reason)

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
            request, c.Resolve, reason=request.reason, number=number, action=action, output=output
        )

    async def add_note(self, request: CommandRequest, *, text: str) -> Answer | DryRun:
        return await self._carry_out(request, c.AddNote, text=text)

    # Events -----------------------------------------------------------------------------------------------------------

    async def send_event(
        self,
        id_: str,
        event: Json,
        *,
        actor: str = "anonymous",
        trace: str | None = None,
        request_id: str | None = None,
    ) -> EventOutcome:
        identity = self._engine.identity
        if not identity.well_formed(id_):
            raise NotFoundError("There is no orchestration with this id.")
        digest = hashlib.sha256(canonical(event)).digest()
        members = {"actor": actor, "event": event, "digest": digest, **_origin(trace, request_id)}
        self._load.admit_change()
        done = await asyncio.shield(self._router.execute(identity.locate(id_), c.ReceiveEvent, members))
        return EventOutcome(done.received or "duplicate", done.version)  # type: ignore[arg-type]

    async def take_callback(
        self, token: str, report: CallbackReport, *, trace: str | None = None, request_id: str | None = None
    ) -> None:
        id_, run = self._callbacks.opened(token)
        members = {"run": run, **report.members(), **_origin(trace, request_id)}
        self._load.admit_change()
        place = self._engine.identity.locate(id_)
        done = await asyncio.shield(self._router.execute(place, c.ReportCallback, members))
        if done.received == LATE:
            raise StaleTokenError(
                "Nobody waits for this callback any more; what it says was recorded and corrects what is known."
            )

    async def publish_event(
        self, event: Json, *, actor: str = "anonymous", trace: str | None = None, request_id: str | None = None
    ) -> EventOutcome:
        self._load.admit_change()
        return await asyncio.shield(self._exchange.publish(event, Sender(actor, trace, request_id)))


def _origin(trace: str | None, request_id: str | None) -> dict[str, str]:
    """Members that most requests have not, left out where nodes send them to each other."""
    found = {} if trace is None else {"trace": trace}
    return found if request_id is None else found | {"request_id": request_id}


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
