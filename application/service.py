"""The use cases, as the edge sees them: one object per concern, all plain values in and out.

REST, the CLI's server side and the tests talk to these Protocols' shapes; `adapters.bootstrap` puts the real ones together.
Every method that may be refused raises a `domain.errors.RetraceError`, whose `code` is the problem's slug.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any, Literal, Protocol

import msgspec
from msgspec import UNSET, UnsetType

from application.callbacks import CallbackReport
from application.what_if_suppositions import Suppositions
from domain.errors import Problem

Json = dict[str, Any]


class StartRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`definition`: "name" (namespace default), "namespace/name" or "namespace/name@version". `actor`: the caller's name.
    `idempotency_key`: scoped to the actor; makes the public id, so that a repeat meets its own orchestration. `trace`,
    `request_id`: of the request that asks for it; they are recorded.
    """

    definition: str
    input: Any = None
    business_key: str | None = None
    tags: dict[str, str] = {}
    actor: str = "anonymous"
    idempotency_key: str | None = None
    trace: str | None = None
    request_id: str | None = None


class ForkRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`id`: the original. `definition`: as in `StartRequest`, a version of the same; `mapping`: old task -> new task, each a
    pointer or a short name. `input`: another one, where given. `force`: in spite of what either could do twice.
    """

    id: str
    from_version: int
    reason: str
    definition: str | None = None
    mapping: dict[str, str] = {}
    input: Any | UnsetType = UNSET
    business_key: str | None = None
    force: bool = False
    dry_run: bool = False
    actor: str = "anonymous"
    idempotency_key: str | None = None


class Answer(msgspec.Struct, frozen=True):
    """What a command answers."""

    id: str
    status: str
    version: int


class DryRun(msgspec.Struct, frozen=True):
    """What a command would record now: events as {"type", "task"?, "run"?, "data"}."""

    version: int
    events: list[Json]


class CommandRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Common to all commands for one orchestration. `if_match`: the version it must have. `idempotency_key`: scoped to the
    actor; a repeat is not carried out again, whichever node it comes to. `trace`, `request_id`: as for a start.
    """

    id: str
    actor: str = "anonymous"
    reason: str | None = None
    if_match: int | None = None
    dry_run: bool = False
    idempotency_key: str | None = None
    trace: str | None = None
    request_id: str | None = None


class EventOutcome(msgspec.Struct, frozen=True):
    """`parked`, `late`: of an event of a stream, before or after its turn."""

    outcome: Literal["matched", "started", "held", "parked", "duplicate", "late"]
    version: int | None = None


class Deployed(msgspec.Struct, frozen=True):
    """`created` False: this very document was deployed before."""

    created: bool
    namespace: str
    name: str
    version: str
    digest: str
    resource: str | None
    created_at: datetime
    warnings: list[Problem]


class RehearsalRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`definition`: a name as in StartRequest, or a document (JSON). `input` UNSET: made up. `outputs`: task -> what its
    participant answers. `limit`: scenarios at most.
    """

    definition: str | bytes
    input: Any = msgspec.UNSET
    outputs: Json = {}
    limit: int = 300


class ListRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`definition` as in StartRequest (version optional). `cursor`: from an earlier answer."""

    statuses: tuple[str, ...] = ()
    definition: str | None = None
    business_key: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    started_after: datetime | None = None
    started_before: datetime | None = None
    has_incident: bool | None = None
    cursor: str | None = None
    limit: int = 100


class Commands(Protocol):
    """Everything that changes an orchestration. Answers come after the commit."""

    async def start(self, request: StartRequest) -> str:
        """Public id, once the start is committed. Repeating with the same idempotency key and content gives the same id;
        other content raises IdempotencyKeyReusedError. Raises NotFoundError (definition), InvalidInputError,
        BusinessKeyInUseError.
        """
        ...

    async def fork(self, request: ForkRequest) -> str | DryRun:
        """Public id of the fork, once its start is committed; idempotent as `start`. Raises NotFoundError, InvalidInputError,
        ForkConflictError (unless forced), BusinessKeyInUseError.
        """
        ...

    async def migrate(
        self, request: CommandRequest, *, definition: str, mapping: dict[str, str] | None = None
    ) -> Answer | DryRun:
        """Go on under another version. Raises InvalidInputError with every position that does not map."""
        ...

    async def cancel(self, request: CommandRequest, *, override_pivot: bool = False) -> Answer | DryRun: ...
    async def terminate(self, request: CommandRequest) -> Answer | DryRun: ...
    async def suspend(self, request: CommandRequest) -> Answer | DryRun: ...
    async def resume(self, request: CommandRequest) -> Answer | DryRun: ...

    async def resolve(
        self,
        request: CommandRequest,
        *,
        number: int,
        action: Literal["retry", "skip", "complete", "fail"],
        output: Any = None,
    ) -> Answer | DryRun: ...

    async def add_note(self, request: CommandRequest, *, text: str) -> Answer | DryRun: ...

    async def send_event(
        self,
        id_: str,
        event: Json,
        *,
        actor: str = "anonymous",
        trace: str | None = None,
        request_id: str | None = None,
    ) -> EventOutcome:
        """A CloudEvent (validated JSON form: specversion, id, source, type, ... and data or data_base64) for one
        orchestration.
        """
        ...

    async def take_callback(
        self, token: str, report: CallbackReport, *, trace: str | None = None, request_id: str | None = None
    ) -> None:
        """What was posted to the address of a callback. The same again does nothing. Raises NotFoundError (no such token),
        StaleTokenError (something else was posted before, or nobody waits any more).
        """
        ...

    async def publish_event(
        self, event: Json, *, actor: str = "anonymous", trace: str | None = None, request_id: str | None = None
    ) -> EventOutcome:
        """The same for whoever waits."""
        ...


class Queries(Protocol):
    """Everything that only reads."""

    async def status(self, id_: str, *, at_version: int | None = None, at: datetime | None = None) -> Json:
        """The status representation of api.md without ``links``; raises NotFoundError, InvalidInputError (outside its
        life).
        """
        ...

    async def wait(self, id_: str, timeout_s: float, *, after_version: int | None = None) -> None:
        """Returns when the version exceeds `after_version` (or, without it, when the orchestration has ended), or after
        `timeout_s`.
        """
        ...

    async def tasks(self, id_: str, *, after: int = 0, limit: int = 100) -> tuple[list[Json], int | None]:
        """Entries of ``tasks`` from index `after`; and the next index or None."""
        ...

    async def history(
        self, id_: str, *, after: int = 0, limit: int = 100, archive: bool = False
    ) -> tuple[list[Json], int | None]:
        """History items of api.md with version > after; and next_after. `archive`: also of what is archived, which is not
        found otherwise.
        """
        ...

    def stream(self, id_: str, *, after: int = 0) -> AsyncIterator[Json]:
        """History items as they happen, until the final event; an empty object every 15 s in which nothing happens."""
        ...

    async def rollback_plan(self, id_: str) -> Json: ...

    async def bundle(self, id_: str, redact: Sequence[str] = ()) -> tuple[bytes, int]:
        """The bundle (application/bundles.py), encoded, and how many events it has; of what is archived too. `redact`: names
        of members, or JSON Pointers, whose values are not to be in it. Raises NotFoundError, RedactionError.
        """
        ...

    async def nodes(self) -> Json:
        """The nodes of this database and the partitions that they own (application/nodes.py)."""
        ...

    async def list(self, request: ListRequest) -> Json:
        """One page: {"items": [...], "next": cursor or None, "as_of": instant, "lag_ms": number}."""
        ...


class WhatIfRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`definition`: a reference, a parsed document, or None for its own."""

    id: str
    definition: str | Json | None = None
    supposed: Suppositions = Suppositions()


class FleetRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The latest so many orchestrations of a definition (`of`: a reference, version optional; None: all versions of the one
    that is looked at) with one of these statuses.
    """

    definition: str | Json
    of: str | None = None
    statuses: tuple[str, ...] = ()
    last: int = 1000
    supposed: Suppositions = Suppositions()
    actor: str = "anonymous"


class WhatIf(Protocol):
    """Recorded facts against another definition, or other facts; nothing is changed and nobody is called."""

    async def one(self, request: WhatIfRequest) -> Json:
        """The course in detail (docs/what_if.md). Raises NotFoundError, InvalidDefinitionError, InvalidInputError."""
        ...

    async def fleet(self, request: FleetRequest) -> str:
        """Id of the operation (kind ``what-if``) whose result is the table. Raises the same."""
        ...


class Operations(Protocol):
    """Long-running operations (application/operations.py). A representation is ``{id, kind, status: running | completed |
    failed | cancelled, request, progress: {done, total}, result, error: {code, detail}, actor, cancel_requested,
    started_at, updated_at, ended_at}``.
    """

    async def get(self, id_: str) -> Json:
        """Raises NotFoundError."""
        ...

    async def wait(self, id_: str, timeout_s: float) -> None:
        """Returns when it has ended, or after `timeout_s`."""
        ...

    async def list(self, kind: str | None = None, limit: int = 100, cursor: str | None = None) -> Json:
        """One page, newest first and without results: {"items": [...], "next": cursor or None}."""
        ...

    async def cancel(self, id_: str) -> Json:
        """Ask its node to stop it; gives how it stands."""
        ...


class Definitions(Protocol):
    """Documents and what is made of them."""

    async def deploy(self, text: bytes, media_type: Literal["application/yaml", "application/json"]) -> Deployed:
        """Raises InvalidDefinitionError (every problem), DefinitionExistsError."""
        ...

    async def check(
        self, text: bytes, media_type: Literal["application/yaml", "application/json"]
    ) -> tuple[list[Problem], list[Problem]]:
        """(errors, warnings) of a dry run; nothing is stored."""
        ...

    async def list(self, *, namespace: str | None = None, name: str | None = None) -> list[Deployed]:
        """Latest versions (highest release by SemVer); with namespace and name all versions of that definition."""
        ...

    async def document(self, namespace: str, name: str, version: str) -> tuple[Deployed, bytes, str, Any]:
        """(record, the document as sent, its media type, its parsed value); version may be ``latest``."""
        ...

    async def diagram(self, namespace: str, name: str, version: str, kind: Literal["mermaid", "svg"]) -> str: ...

    async def rehearse(self, request: RehearsalRequest) -> Json:
        """The report of application/rehearsal_report.py; nobody is called and nothing is stored. Raises NotFoundError,
        InvalidDefinitionError, InvalidInputError, OverloadedError.
        """
        ...

    async def resources(self) -> dict[str, tuple[Deployed, Any, dict[str, str]]]:
        """Path -> (latest version that has it, the JSON Schema of its input or None, labels by status)."""
        ...
