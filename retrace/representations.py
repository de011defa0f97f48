"""The JSON of the REST API as types, for those who read answers of `retrace.client`.

Members are those of the API reference, by the same names; instants are RFC 3339 strings. A server newer than this
package may add members, so these are typed dictionaries over the answer as it came, not parsed copies of it.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

LifecycleStatus = Literal[
    "running", "suspended", "compensating", "completed", "faulted", "compensated", "cancelled", "terminated"
]
FINAL: frozenset[str] = frozenset({"completed", "faulted", "compensated", "cancelled", "terminated"})
"""The statuses in which an orchestration has ended."""


class Error(TypedDict, total=False):
    """Why a task or an orchestration failed (RFC 9457)."""

    type: str
    status: int
    title: str
    detail: str
    instance: str


class Compensation(TypedDict):
    """How the undo of a run stands."""

    status: Literal["none", "armed", "scheduled", "running", "retrying", "completed", "skipped", "failed"]
    attempts: int
    error: Error | None


class Task(TypedDict):
    """One run of a task."""

    name: str
    reference: str
    run: int
    status: str
    attempts: int
    started_at: str
    ended_at: str | None
    output: Any
    error: Error | None
    compensation: Compensation


class Rollback(TypedDict):
    """What is or was undone; `plan` is None until everything has settled."""

    reason: dict[str, Any]
    plan: list[str] | None
    done: list[str]
    skipped: list[str]
    left_behind: list[dict[str, Any]]
    outcome: Literal["none", "complete", "partial"] | None
    steps: list[dict[str, Any]]
    totals: dict[str, int]


class Incident(TypedDict):
    """Something only an operator can resolve."""

    number: int
    kind: Literal["compensation_failed", "after_pivot", "uncertain_pivot", "poison"]
    task: str
    reference: str
    error: Error | None
    raised_at: str
    actions: list[str]


class Origin(TypedDict):
    """Where a fork left its original."""

    id: str
    version: int


class Orchestration(TypedDict):
    """The status representation of one orchestration."""

    id: str
    definition: str
    digest: str
    status: LifecycleStatus
    version: int
    business_key: str | None
    tags: dict[str, str]
    input: Any
    output: Any
    error: Error | None
    forked_from: Origin | None
    started_at: str
    updated_at: str
    ended_at: str | None
    tasks: list[Task]
    tasks_total: int
    waiting_for: list[dict[str, Any]]
    rollback: Rollback | None
    incidents: list[Incident]
    links: dict[str, str]


class CommandResult(TypedDict):
    """What a command left behind; an unchanged version means that there was nothing to do."""

    id: str
    status: LifecycleStatus
    version: int


class DryRun(TypedDict):
    """What a command would record now."""

    version: int
    events: list[dict[str, Any]]


class RollbackPlan(TypedDict):
    """What a cancel would do now."""

    version: int
    steps: list[dict[str, Any]]
    steps_total: int
    not_undone: list[dict[str, Any]]
    not_undone_total: int
    blocked_by_pivot: bool


class _EventKeys(TypedDict):
    version: int
    type: str
    at: str
    actor: str | None
    data: dict[str, Any]
    hash: str


class HistoryEvent(_EventKeys, total=False):
    """One event of a history."""

    task: str
    attempt: int
    cause: Any


class FeedEvent(HistoryEvent):
    """An event of the feed of everything. `at` is None and `unreadable` there where it is damaged."""

    orchestration: str | None
    definition: str | None
    reason: NotRequired[str | None]
    trace_id: str | None
    unreadable: NotRequired[bool]


class AccessEntry(TypedDict):
    """Who read what: at once, or from `began` to `ended` under one id. It stands in a chain of hashes."""

    id: str
    at: str
    actor: str
    what: Literal["feed", "history", "export", "bundle"]
    step: Literal["read", "began", "ended"]
    orchestration: str | None
    filters: dict[str, Any]
    request_id: str | None
    events: int | None
    chain: int
    number: int
    previous: str
    hash: str


class EventRefused(TypedDict):
    """Why an event of several was not taken: problem details, whose `retryable` says whether it may be sent again."""

    problem: dict[str, Any]


class EventOutcome(TypedDict):
    """What became of an event; `version` only for one that was sent to an orchestration."""

    outcome: Literal["matched", "started", "held", "parked", "duplicate", "late"]
    version: int | None


class Deployed(TypedDict):
    """A deployed version of a definition."""

    namespace: str
    name: str
    version: str
    digest: str
    resource: str | None
    created_at: str
    warnings: list[dict[str, Any]]


class NodePartition(TypedDict):
    """A partition of the log; `lag` counts the events that the status view has not seen."""

    partition: int
    epoch: int
    lease_until: str | None
    position: int
    lag: int


class Node(TypedDict):
    """A process at work on a database."""

    node: str
    version: str
    started_at: str
    this: bool
    alive: bool
    eligible: bool
    lease_until: str
    partitions: list[NodePartition]


class ProjectionError(TypedDict):
    """The event that a projection could not fold: of which orchestration, its version and type, and what went wrong."""

    orchestration: str
    version: int
    type: str
    detail: str
    at: str


class Circuit(TypedDict):
    """How a process sees a host that callouts go to."""

    host: str
    node: str
    state: Literal["closed", "open", "half_open"]
    failures: int
    last_failure: str | None
    last_failure_at: str | None
    changed_at: str | None
    probe_at: str | None
    turned_away: int
    opened_by: str | None
    reason: str | None


class CalledFunction(TypedDict):
    """A function that orchestrations call, and what waits for workers of it."""

    function: str
    in_process: bool
    waiting: int
    held: int
    claimed: int
    workers: list[str]
    asked_at: str | None
    last_claimed_at: str | None
    paused: bool
    draining: bool
    max_concurrent: int | None
    max_per_second: float | None


class ProjectionStatus(TypedDict):
    """A table that a fold builds from the log, and how far it is."""

    name: str
    version: int
    live: bool
    state: Literal["building", "live", "failed", "retired"]
    table: str
    registered: bool
    events_done: int
    events_total: int
    lag_events: int
    lag_ms: int
    error: ProjectionError | None
    created_at: str


class ScheduleRun(TypedDict):
    """A run of a schedule; `triggered_by` is ``{actor, reason}`` where somebody started it by hand."""

    id: str
    scheduled_for: str
    started_at: str
    triggered_by: dict[str, Any] | None
    links: dict[str, str]


class ScheduleStatus(TypedDict):
    """The schedule of a definition: what it says, what comes next, the last runs."""

    namespace: str
    name: str
    definition: str
    schedule: dict[str, Any]
    status: Literal["active", "paused"]
    paused: dict[str, Any] | None
    resumed: dict[str, Any] | None
    next: list[str]
    waiting_for_end: bool
    queued: str | None
    missed: int
    skipped: int
    runs: list[ScheduleRun]
    links: dict[str, str]


class NodeList(TypedDict):
    """All nodes; `unowned` partitions are between two owners."""

    items: list[Node]
    next: None
    partitions: int
    unowned: list[NodePartition]


class Progress(TypedDict):
    """How far an operation is, in units of its kind; `total` is None while it is not known."""

    done: int
    total: int | None


class OperationError(TypedDict):
    """Why an operation failed; ``interrupted``: the node that ran it is gone."""

    code: str
    detail: str


class Operation(TypedDict, total=False):
    """A long-running operation. Lists leave out `result`."""

    id: str
    kind: str
    status: Literal["running", "completed", "failed", "cancelled"]
    request: dict[str, Any]
    progress: Progress
    result: Any
    error: OperationError | None
    actor: str
    cancel_requested: bool
    started_at: str
    updated_at: str
    ended_at: str | None
