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


Definitions = Annotated[
    Annotated[str, StringConstraints(pattern=f"^{DEFINITION}$")] | dict[str, Any],
    Field(description="A reference (name, namespace/name, namespace/name@version), or a whole document as JSON."),
]


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


class RollbackTotals(Open):
    """How many there are of what a list shows the first 500 of."""

    plan: int
    done: int
    skipped: int
    left_behind: int


class Rollback(Open):
    """What is or was undone; `plan` is null until everything has settled. At most 500 entries of each list."""

    reason: RollbackReason
    plan: list[str] | None
    done: list[str]
    skipped: list[str]
    left_behind: list[Any]
    outcome: Literal["none", "complete", "partial"] | None
    steps: list[RollbackStep]
    totals: RollbackTotals


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

    outcome: Literal["matched", "started", "held", "parked", "duplicate", "late"]
    version: int | None = None


class EventRefused(Open):
    """Why an event of a batch was not taken; `retryable` in it says whether the same event may be sent again."""

    problem: Problem


class EventBatchAnswer(Open):
    """What became of the events of a batch, in their order."""

    items: list[EventAnswer | EventRefused]


class PlannedStep(Open):
    """One undo that a cancel now would do."""

    task: str
    reference: str
    run: int
    outcome: str
    condition: Any
    undo: Any


class RollbackPlan(Open):
    """What a cancel now would do: at most 500 steps, and 500 tasks that it would not undo."""

    version: int
    steps: list[PlannedStep]
    steps_total: int
    not_undone: list[Any]
    not_undone_total: int
    blocked_by_pivot: bool
