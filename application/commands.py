"""The use cases that change orchestrations. They implement `application.service.Commands`.

Each is one command to the engine; answers come after the commit. A dry run decides the same command on a copy.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any, Literal

import msgspec
from msgspec import UNSET

from application.archive import ArchiveReader
from application.business_keys import BusinessKeys
from application.callbacks import LATE, CallbackReport, Callbacks
from application.definitions import DefinitionRegistry, split_reference
from application.dry_runs import DryRuns
from application.engine import Engine, invalid_input
from application.exchange import EventExchange
from application.facts import FactFinder
from application.forking import ForkSources, Source
from application.forwarding import Begin, Done, Sender
from application.history import event_json
from application.load import Load
from application.ownership import Ownership
from application.reader import Reader
from application.routing import Router
from application.service import Answer, CommandRequest, DryRun, EventOutcome, ForkRequest, Json, StartRequest
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
        forks: ForkSources,
        load: Load,
    ) -> None:
        self._callbacks = callbacks
        self._load = load
        self._forks = forks
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

    def admit_change(self) -> None:
        """Raises OverloadedError when no more changes can be taken at the moment."""
        self._load.admit_change()

    # Starting ---------------------------------------------------------------------------------------------------------

    async def start(self, request: StartRequest) -> str:
        namespace, name, version = split_reference(request.definition)
        record = await self._definitions.record(namespace, name, version)
        plan = await self._definitions.by_digest(record.digest)
        digest = _digest(request)
        public_id = self._fresh_id(request)
        if request.idempotency_key is not None and (known := await self._known_repeat(public_id)) is not None:
            return _same_request(known, digest)
        await self._validate(plan, request.input)
        self._load.admit_start()
        members = {
            "input": request.input,
            "business_key": request.business_key,
            "tags": dict(request.tags),
            "request": digest,
            "actor": request.actor,
            **_origin(request.trace, request.request_id),
        }
        begin = Begin(public_id, plan.digest, members, drawn=request.idempotency_key is None)
        return await self._begun(begin, plan, request.business_key, digest)

    def _fresh_id(self, request: StartRequest | ForkRequest) -> str:
        """Drawn, or the same for every repeat of a request with a key."""
        identity = self._engine.identity
        if request.idempotency_key is not None:
            return identity.derived(request.actor, request.idempotency_key)
        # A node that owns nothing leaves it to chance who begins it.
        owned = self._ownership.owned
        return identity.draw_in(owned) if owned else identity.draw()

    async def _begun(self, begin: Begin, plan: Plan, business_key: str | None, digest: bytes) -> str:
        begun = await asyncio.shield(self._begin(begin, plan, business_key))
        if not begun.new:
            return _same_request((await self._reader.settled(begin.id)).state, digest)
        return begin.id

    async def _begin(self, begin: Begin, plan: Plan, business_key: str | None) -> Done:
        if business_key is None:
            return await self._router.begin(begin)
        return await self._keys.begin(begin, f"{plan.namespace}/{plan.name}", business_key)

    # Forking and migrating --------------------------------------------------------------------------------------------

    async def fork(self, request: ForkRequest) -> str | DryRun:
        digest, public_id = _digest_of_fork(request), self._fresh_id(request)
        keyed = request.idempotency_key is not None and not request.dry_run
        if keyed and (known := await self._known_repeat(public_id)) is not None:
            return _same_request(known, digest)
        source = await self._forks.read(request.id, request.from_version, force=request.force)
        to = await self._version_for(request.definition, source.then.definition)
        plan = await self._definitions.by_digest(to or source.digest)
        if request.input is not UNSET:
            await self._validate(plan, request.input)
        members = _members_of_fork(request, source, to, digest)
        if request.dry_run:
            partition, _ = self._engine.identity.locate(public_id)
            command = self._engine.converted(c.Fork, {"id": public_id, **members})
            events = [_would_be(ev) for ev in await self._dry_runs.begin(source.digest, command, partition)]
            del events[0]["data"]["id"]  # drawn for this look
            return DryRun(0, events)
        self._load.admit_start()
        begin = Begin(public_id, source.digest, members, drawn=request.idempotency_key is None, command=c.Fork.__name__)
        return await self._begun(begin, plan, request.business_key, digest)

    async def _version_for(self, reference: str | None, current: str) -> str | None:
        """Digest of the version to go on under. Raises NotFoundError; InvalidInputError for another definition."""
        if reference is None:
            return None
        namespace, name, version = split_reference(reference)
        if current.partition("@")[0] != f"{namespace}/{name}":
            detail = f"it is a {current.partition('@')[0]}, and goes on as nothing else"
            raise InvalidInputError([Problem("/definition", detail, "other-definition")], "This is another definition.")
        return (await self._definitions.record(namespace, name, version)).digest

    async def migrate(
        self, request: CommandRequest, *, definition: str, mapping: dict[str, str] | None = None
    ) -> Answer | DryRun:
        to = await self._version_for(definition, (await self._reader.settled(request.id)).state.definition)
        return await self._carry_out(request, c.Migrate, to=to, mapping=mapping or {}, reason=request.reason)

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


def _digest_of_fork(request: ForkRequest) -> bytes:
    input_ = [] if request.input is UNSET else [request.input]
    content = [
        "fork",
        request.id,
        request.from_version,
        request.definition,
        request.mapping,
        input_,
        request.business_key,
    ]
    return hashlib.sha256(canonical([*content, request.reason, request.force])).digest()


def _members_of_fork(request: ForkRequest, source: Source, to: str | None, digest: bytes) -> Json:
    """The members of the command as plain values: it may travel through an inbox."""
    members = {
        "origin": source.origin,
        "prefix": source.prefix,
        "to": to,
        "mapping": request.mapping,
        "reason": request.reason,
        "business_key": request.business_key,
        "tags": source.then.tags,
        "request": digest,
        "remarks": source.remarks,
        "actor": request.actor,
    }
    if request.input is not UNSET:
        members["input"] = request.input
    plain: Json = msgspec.to_builtins(members, builtin_types=(bytes,))
    return plain


def _same_request(state: State, digest: bytes) -> str:
    if state.request != digest:
        raise IdempotencyKeyReusedError
    return state.id
