"""The JSON of the API as pydantic models.

Models of bodies (`...Body`) check what arrives: strictly, with no unknown members, every violation at once. Models of
answers describe the OpenAPI document only: answers are encoded from plain values and never pass through them. Members
and words are those of the reference; adding one is allowed, changing one is not.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from adapters.rest.forms import DEFINITION, NO_NUL, NOT_BLANK, TAG_NAME

STATUSES = (
    "running",
    "suspended",
    "compensating",
    "completed",
    "faulted",
    "compensated",
    "cancelled",
    "terminated",
)
FINAL = frozenset(STATUSES[3:])

Status = Literal[
    "running", "suspended", "compensating", "completed", "faulted", "compensated", "cancelled", "terminated"
]
Instant = Annotated[datetime, Field(json_schema_extra={"format": "date-time"})]


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("NUL is not allowed")
    return text


# What reaches an index or a list is short; the rest is bounded by the size of a body.
_NO_NUL = AfterValidator(_without_nul)
Line = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=NO_NUL), _NO_NUL]
TagName = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=TAG_NAME), _NO_NUL]
Text = Annotated[str, StringConstraints(max_length=10_000, pattern=NO_NUL), _NO_NUL]
Reason = Annotated[str, StringConstraints(min_length=1, max_length=10_000, pattern=NOT_BLANK), _NO_NUL]


class Body(BaseModel):
    """A body that has exactly these members."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class StartBody(Body):
    """Starts an orchestration."""

    definition: str = Field(
        pattern=f"^{DEFINITION}$",
        description="name (in namespace default), namespace/name, or namespace/name@version; the latest version unless said.",
        examples=["travel/trip-booking"],
    )
    input: Any = Field(None, description="The input, checked against the definition's input.schema.")
    business_key: Line | None = Field(
        None, description="Unique among the unfinished orchestrations of a definition over its versions."
    )
    tags: dict[TagName, Annotated[str, StringConstraints(max_length=255), _NO_NUL]] = Field(
        default_factory=dict, max_length=50, description="Words to find it by: ?tag=name:value."
    )


_Task = Annotated[str, StringConstraints(min_length=1, max_length=2000), _NO_NUL]
_Mapping = Annotated[
    dict[_Task, _Task],
    Field(
        max_length=1000,
        description="Old task -> new task, where names alone do not tell: JSON Pointers or short names such as block/task.",
    ),
]


class ForkBody(Body):
    """Starts an orchestration with what another one had done up to a version."""

    from_version: int = Field(
        ge=1, le=2**31 - 1, description="The last version that the fork shares with its original."
    )
    reason: Reason
    definition: str | None = Field(
        None, pattern=f"^{DEFINITION}$", description="Another version of its definition; the same unless said."
    )
    mapping: _Mapping = Field(default_factory=dict)
    input: Any = Field(None, description="Another input; the original's unless said.")
    business_key: Line | None = Field(None, description="The original's is not taken over.")
    force: bool = Field(False, description="In spite of a conflict; each is recorded.")


class MigrateBody(Body):
    """Moves an orchestration to another version of its definition."""

    definition: str = Field(
        pattern=f"^{DEFINITION}$", description="The version: namespace/name@version, or the latest without @version."
    )
    mapping: _Mapping = Field(default_factory=dict)
    reason: Reason


class ReasonBody(Body):
    """A command with an optional reason, kept in the history."""

    reason: Text | None = None


class CancelBody(ReasonBody):
    """Cancels an orchestration."""

    override_pivot: bool = Field(False, description="Undo what can be undone although the pivot was passed.")


class ResolutionBody(Body):
    """Resolves an incident. A reason is asked for, since it is all that the history will know."""

    reason: Reason
    output: Any = Field(None, description="For `complete`: what the task gave.")


class NoteBody(Body):
    """An operator's note."""

    text: Reason


class CallbackError(Body):
    """Why a task that is called back failed, as problem details."""

    type: Line = Field("failed", description="A URI, or a word that becomes one of ours.", examples=["no-seats"])
    status: int = Field(422, ge=100, le=599)
    title: Line | None = None
    detail: Text | None = None


class CallbackFailureBody(Body):
    """A task that is called back failed."""

    error: CallbackError
    uncertain: bool = Field(False, description="Nobody knows whether it took effect; else it certainly did not.")
    retryable: bool = Field(False, description="Another attempt may help, if the task has a retry policy.")


class CallbackAnswer(BaseModel):
    """What became of a callback."""

    outcome: Literal["accepted"]


class SupposedFault(Body):
    """The error of an outcome that is supposed."""

    type: Line | None = None
    status: int | None = Field(None, ge=100, le=599)
    title: Line | None = None
    detail: Text | None = None


class ChangeBody(Body):
    """Another outcome than the recorded one."""

    task: Line = Field(description="Name of the task, or its JSON Pointer in the document.")
    outcome: Literal["completed", "refused", "uncertain"]
    run: int | None = Field(None, ge=1, description="Only in this run; in all unless said.")
    output: Any = Field(None, description="For `completed`: what the participant answers.")
    error: SupposedFault | None = Field(None, description="For the others: what it says.")


Definitions = Annotated[
    Annotated[str, StringConstraints(pattern=f"^{DEFINITION}$")] | dict[str, Any],
    Field(description="A reference (name, namespace/name, namespace/name@version), or a whole document as JSON."),
]


class SupposedBody(Body):
    """What is supposed instead of what was recorded."""

    changes: list[ChangeBody] = Field(default_factory=list, max_length=100)
    assume: dict[Line, Any] = Field(
        default_factory=dict, max_length=100, description="Outputs by task, where the record does not know an answer."
    )


class WhatIfBody(SupposedBody):
    """Looks at one orchestration."""

    definition: Definitions | None = None
    input: Any = Field(None, description="Another input; without this member it is the recorded one.")


class FleetBody(SupposedBody):
    """Looks at the latest orchestrations of a definition."""

    definition: Definitions
    for_: str | None = Field(
        None,
        alias="for",
        pattern=f"^{DEFINITION}$",
        description="Of which definition; all versions of the one that is looked at unless said.",
    )
    status: list[Status] = Field(default_factory=list, max_length=8, description="Only with these; all unless said.")
    last: int = Field(1000, ge=1, le=100_000, description="The latest so many.")


class Open(BaseModel):
    """An answer; a later server may add members."""


class ErrorEntry(Open):
    """One thing wrong, and where."""

    pointer: str = Field(description="JSON Pointer into the body or document.")
    detail: str
    code: str
    line: int | None = None
    column: int | None = None


class Problem(Open):
    """RFC 9457 problem details."""

    type: str = Field(description="/problems/<slug>; a GET there explains it.")
    title: str
    status: int
    detail: str
    errors: list[ErrorEntry] = Field(default_factory=list)
    retryable: bool = False
    current_status: Status | None = None
    orchestration: str | None = Field(None, description="business-key-in-use: the orchestration that has the key.")


class Fault(Open):
    """Why a task or an orchestration failed."""

    type: str
    status: int
    title: str | None = None
    detail: str | None = None
    instance: str | None = None
    response: dict[str, Any] | None = None


class Warning(Open):  # noqa: A001 - the word of the API
    """Something in a document that may not be meant; it was deployed all the same."""

    pointer: str
    line: int | None
    column: int | None
    detail: str


class Definition(Open):
    """A deployed version."""

    namespace: str
    name: str
    version: str
    digest: str = Field(description="sha256: of the canonical (RFC 8785) parsed document.")
    resource: str | None
    created_at: Instant
    warnings: list[Warning]


class DefinitionCheck(Open):
    """What a deployment would say; nothing was stored."""

    valid: bool
    errors: list[ErrorEntry]
    warnings: list[ErrorEntry]


class DefinitionList(Open):
    """A page of definitions."""

    items: list[Definition]
    next: str | None


class Compensation(Open):
    """How the undo of a run stands."""

    status: Literal["none", "armed", "scheduled", "running", "retrying", "completed", "skipped", "failed"]
    attempts: int
    error: Fault | None


class Task(Open):
    """One run of a task."""

    name: str
    reference: str
    run: int
    status: str
    attempts: int
    started_at: Instant
    ended_at: Instant | None
    output: Any
    error: Fault | None
    compensation: Compensation


class TaskList(Open):
    """A page of runs."""

    items: list[Task]
    next: str | None


class RollbackStep(Open):
    """One undo."""

    task: str
    reference: str
    run: int
    outcome: str
    status: str


class RollbackReason(Open):
    """Why a rollback began."""

    kind: Literal["error", "timeout", "cancel"]
    task: str | None = None
    error: Fault | None = None
    text: str | None = None
    actor: str | None = None


class Rollback(Open):
    """What is or was undone; `plan` is null until everything has settled."""

    reason: RollbackReason
    plan: list[str] | None
    done: list[str]
    skipped: list[str]
    left_behind: list[Any]
    outcome: Literal["none", "complete", "partial"] | None
    steps: list[RollbackStep]


class Incident(Open):
    """Something that only an operator can resolve."""

    number: int
    kind: Literal["compensation_failed", "after_pivot", "uncertain_pivot", "poison"]
    task: str | None
    reference: str | None
    error: Fault | None
    raised_at: Instant
    actions: list[str]


class Origin(Open):
    """Where a fork left its original."""

    id: str
    version: int


class Orchestration(Open):
    """The status representation."""

    id: str
    definition: str
    digest: str
    status: Status
    version: int
    business_key: str | None
    tags: dict[str, str]
    input: Any
    output: Any
    error: Fault | None
    forked_from: Origin | None
    started_at: Instant
    updated_at: Instant
    ended_at: Instant | None
    tasks: list[Task]
    tasks_total: int
    waiting_for: list[dict[str, Any]]
    rollback: Rollback | None
    incidents: list[Incident]
    links: dict[str, str] = Field(description="Relative references.")


class OrchestrationList(Open):
    """A page of the status view, newest first."""

    items: list[dict[str, Any]]
    next: str | None
    as_of: Instant | None = Field(description="Up to when the view has seen every event.")
    lag_ms: float


class HistoryEvent(Open):
    """One event of a history."""

    version: int
    type: str
    at: Instant
    actor: str | None
    task: str | None = None
    attempt: int | None = None
    cause: Any = None
    data: dict[str, Any]
    hash: str


class History(Open):
    """A page of a history: versions without a gap."""

    items: list[HistoryEvent]
    next_after: int | None


class CommandAnswer(Open):
    """What a command left behind, or, for a dry run, what it would record."""

    id: str
    status: Status
    version: int


class RecordedEvent(Open):
    """An event that a command would record; `task` and `run` where it is about a run of a task."""

    type: str
    task: str | None = None
    run: int | None = None
    data: Any


class DryRunAnswer(Open):
    """What a command would record now."""

    version: int
    events: list[RecordedEvent]


class EventAnswer(Open):
    """What became of an event."""

    outcome: Literal["matched", "started", "held", "duplicate"]
    version: int | None = None


class PlannedStep(Open):
    """One undo that a cancel now would do."""

    task: str
    reference: str
    run: int
    outcome: str
    condition: Any
    undo: Any


class RollbackPlan(Open):
    """What a cancel now would do."""

    version: int
    steps: list[PlannedStep]
    not_undone: list[Any]
    blocked_by_pivot: bool


class BundledDefinition(Open):
    """The definition that it runs by."""

    reference: str
    digest: str
    document: Any


class BundledEvent(HistoryEvent):
    """An event of a history; `stored` is what replays, in base64."""

    previous: str
    stored: str


class Bundle(Open):
    """One orchestration, complete."""

    format: Literal[1]
    exported_at: str
    versions: dict[str, str]
    checkpoints: list[dict[str, Any]]
    id: str
    definition: BundledDefinition
    earlier: list[BundledDefinition]
    status: dict[str, Any]
    children: list[dict[str, str]]
    redacted: dict[str, Any] | None
    history: list[BundledEvent]


class Health(Open):
    """The process answers."""

    status: Literal["ok"]
    version: str


class Readiness(Open):
    """The service can take requests."""

    ready: bool


class NodePartition(Open):
    """A partition of the log, whoever owns it."""

    partition: int
    epoch: int = Field(description="Raised at every takeover.")
    lease_until: Instant | None
    position: int = Field(description="Of its last event.")
    lag: int = Field(description="Events that the status view has not seen yet.")


class Node(Open):
    """A process at work on the database."""

    node: str
    version: str
    started_at: Instant
    this: bool = Field(description="Whether it is the one that answers.")
    alive: bool
    eligible: bool = Field(description="False while its clock is too far from the database's to own anything.")
    lease_until: Instant
    partitions: list[NodePartition]


class NodeList(Open):
    """All nodes; `unowned` partitions are between two owners."""

    items: list[Node]
    next: None
    partitions: int
    unowned: list[NodePartition]


class ProjectionError(Open):
    """The event that could not be folded, and why."""

    orchestration: str
    version: int = Field(description="Of the event, in the history of the orchestration.")
    type: str
    detail: str
    at: Instant


class Projection(Open):
    """A table that a user's fold builds from the log."""

    name: str
    version: int
    live: bool = Field(description="Whether its rows are those that are read.")
    state: Literal["building", "live", "failed", "retired"]
    table: str = Field(description="In the database of the service.")
    registered: bool = Field(description="Whether the node that answers has its code.")
    events_done: int
    events_total: int
    lag_events: int
    lag_ms: int = Field(description="How long the first event that it has not seen has been there.")
    error: ProjectionError | None
    created_at: Instant


class ProjectionList(Open):
    """All projections; of each name also the last that was replaced."""

    items: list[Projection]
    next: None


class ProjectionRows(Open):
    """A page of rows, by the names of the columns."""

    items: list[dict[str, Any]]
    next: str | None
    version: int = Field(description="The version of the projection.")


class ProblemExplanation(Open):
    """What a problem means and what a client can do."""

    type: str
    title: str
    status: int
    advice: str
    retryable: bool


class NothingBody(Body):
    """An empty object, or no body at all."""


class Advance(Open):
    """How far an operation is; the units are those of its kind."""

    done: int
    total: int | None = Field(description="Null while it is not known.")


class OperationError(Open):
    """Why an operation failed."""

    code: str = Field(description="A slug of a problem, or `interrupted`: the node that ran it is gone.")
    detail: str


class LongOperation(Open):
    """A long-running operation. `result` is absent in lists, and null until it has completed."""

    id: str
    kind: str
    status: Literal["running", "completed", "failed", "cancelled"]
    request: dict[str, Any] = Field(description="What was asked for.")
    progress: Advance
    result: Any = None
    error: OperationError | None
    actor: str
    cancel_requested: bool
    started_at: Instant
    updated_at: Instant
    ended_at: Instant | None
    links: dict[str, str]


class LongOperationList(Open):
    """A page of operations, newest first."""

    items: list[LongOperation]
    next: str | None


class VerifyBody(Body):
    """What to verify; the whole log unless said."""

    orchestration: str | None = Field(None, max_length=64, description="Only this one, by itself.")
    since: str | None = Field(
        None,
        max_length=64,
        description="Only what came after a checkpoint: `latest`, an instant (the last before it), or "
        "`partition:position` of one.",
    )
    checkpoints: list[dict[str, Any]] = Field(
        default_factory=list,
        max_length=2000,
        description="Checkpoints that were kept outside, as they were sent there.",
    )
    archive: bool = Field(True, description="Whether what is archived is checked too.")


class Checkpoint(Open):
    """The log hash of a partition at a position, signed."""

    format: int
    database: str = Field(description="A fingerprint.")
    partition: int
    position: int
    log_hash: str = Field(description="In hexadecimal.")
    made_at: Instant
    key_id: str
    signature: str = Field(description="Ed25519, in base64.")


class CheckpointList(Open):
    """A page of checkpoints."""

    items: list[Checkpoint]
    next: str | None


class AuditKey(Open):
    """A public key."""

    key_id: str
    algorithm: Literal["Ed25519"]
    public_key: str = Field(description="32 bytes in base64.")
    pem: str
    current: bool = Field(description="Whether checkpoints are signed with it now.")


class AuditKeyList(Open):
    """The keys whose signatures count."""

    items: list[AuditKey]
    next: None
    database: str = Field(description="The fingerprint that checkpoints of this database have.")


# Rehearsals -------------------------------------------------------------------------------------------------------------


class RehearsalBody(Body):
    """What to rehearse. Nobody is called, nothing is stored."""

    definition: Annotated[str, StringConstraints(pattern=f"^{DEFINITION}$")] | dict[str, Any] = Field(
        description="name, namespace/name or namespace/name@version of what is deployed, or a whole document."
    )
    input: Any = Field(None, description="Made up from input.schema when it is absent.")
    outputs: dict[str, Any] = Field({}, description="Task (name or reference) -> what its participant answers.")
    limit: int = Field(300, ge=1, le=300, description="Scenarios at most.")


class RehearsedRun(Open):
    """A run of a task; `definition` for one of a child."""

    task: str | None
    reference: str | None
    run: int = 1
    definition: str | None = None


class RehearsedScenario(Open):
    """One course: what went wrong, what was called and undone, what is left."""

    number: int
    title: str
    mishaps: list[RehearsedRun]
    choices: list[dict[str, Any]]
    status: Status
    ends: Literal["final", "operator", "waits", "endless"]
    error: Fault | None
    called: list[RehearsedRun]
    undone: list[RehearsedRun]
    not_undone: list[RehearsedRun]
    left_behind: list[RehearsedRun]
    incidents: list[RehearsedRun]
    assumed: list[dict[str, Any]]
    remark: str | None
    took_s: float


class Rehearsal(Open):
    """The report of a rehearsal."""

    definition: str
    digest: str
    input: Any
    input_made_up: bool
    happy_path: RehearsedScenario
    scenarios: list[RehearsedScenario]
    warnings: list[ErrorEntry]
    not_reached: list[dict[str, Any]]
    stand_ins: list[str]
    left_out: int
    summary: dict[str, Any]


class WhatIfPlace(Open):
    """A run of a task."""

    task: str
    reference: str
    run: int


class WhatIfCall(WhatIfPlace):
    """One attempt that would be sent; `recorded`: just this was asked in the record too."""

    attempt: int
    function: str
    arguments: Any
    compensates: str | None
    recorded: bool
    outcome: Literal["completed", "refused", "uncertain", "unusable"] | None
    answer_from: Literal["record", "change", "assumption"] | None


class WhatIfCourse(Open):
    """A course: of the record, or the one it would have been."""

    definition: str
    status: Status | Literal["pending"]
    output: Any
    error: Fault | None
    calls: list[WhatIfCall]
    undone: list[WhatIfPlace]
    left_behind: list[dict[str, Any]]
    incidents: list[Incident]


class WhatIfRecord(WhatIfCourse):
    """The course that was recorded, up to a version."""

    version: int


class WhatIfParting(Open):
    """Where the recorded path is left: the event recorded as this version, and the one that comes instead."""

    version: int
    recorded: dict[str, Any] | None
    instead: dict[str, Any] | None
    differs: list[str] = Field(description="In which members, where it is the same event of the same run.")


class WhatIfAnswer(WhatIfCourse):
    """The course that it would have been, and the recorded one beside it."""

    id: str
    outcome: Literal["same", "other", "cannot_continue"]
    same_calls: bool = Field(description="Whether it asks everybody for the same and ends as recorded.")
    why: str | None
    leaves_at: WhatIfParting | None
    assumptions: list[str]
    recorded: WhatIfRecord
