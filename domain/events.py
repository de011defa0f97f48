"""What happened: every event of an orchestration, the glossary of the system.

Events are facts in the past tense, frozen, and complete: folding them (`domain.evolve`) needs neither the plan nor a
clock. They carry the moves of the tokens, the results of expressions, the ids that were made and the times that were due,
so an old history folds under any later compiler and nothing is ever evaluated again.

One long file on purpose: it is read as a glossary, from top to bottom or by search, and holds no code but one table.

Each class has a stable `topic`, the only name that is stored or shown. Members may be added with a default, never renamed
or removed. A *run* is named ``<pointer>#<number>``, a *scope* by the run that opened it and what it is for. `UNSET` means
"the same as what it came from", so that data is not stored twice.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Literal

import msgspec
from msgspec import UNSET, UnsetType

from domain.errors import Fault

Effect = Literal["none", "failed", "uncertain", "completed"]
"""What a run did to the world: nothing was tried, it definitely failed, nobody knows, it was done."""


class Basis(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a decision was made from, beside the state and the definition (`domain.basis` says how to read it). `limits`:
    those that differ from the defaults, where they may have changed. `trace`, `request_id`: of the request that led to it.
    """

    seed: bytes
    facts: tuple[Any, ...] = ()
    command: dict[str, Any] | None = None
    limits: dict[str, Any] | None = None
    trace: str | None = None
    request_id: str | None = None


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """`at`: when it was decided (UTC). `actor`: the caller's name, if one caused it. `cause`: which command led to it.
    `basis`: on the first event of each decision.
    """

    topic: ClassVar[str]
    at: datetime
    actor: str | None = None
    cause: str | None = None
    basis: Basis | None = None


class RunEvent(Event, frozen=True, kw_only=True):
    run: str


# The orchestration --------------------------------------------------------------------------------------------------


class OrchestrationStarted(Event, frozen=True, kw_only=True):
    """`data` is the transformed input. `parent` is (public id, run) of the parent; `root` the public id of the topmost.
    `trace`: of the request that started the topmost, if it had one. `scheduled_for`: the occurrence of the definition's
    schedule that it is.
    """

    topic: ClassVar[str] = "orchestration.started"
    id: str
    definition: str
    digest: str
    input: Any
    data: Any | UnsetType = UNSET
    business_key: str | None = None
    tags: dict[str, str] = {}
    request: bytes | None = None
    parent: tuple[str, str] | None = None
    root: str | None = None
    depth: int = 0
    timeout_at: datetime | None = None
    trace: str | None = None
    scheduled_for: datetime | None = None


class Remark(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that whoever asked for a fork or a migration should know: at which task, what, and a stable code."""

    pointer: str
    detail: str
    code: str


class Origin(msgspec.Struct, frozen=True):
    """Where a fork left its original: public id, version, and the hash of the event with that version."""

    id: str
    version: int
    hash: bytes = b""


class OrchestrationForked(Event, frozen=True, kw_only=True):
    """It began as a copy of another one. `prefix`: the events that it shares, (topic, msgpack) each and without bases
    (`domain.prefix`), so that folding needs no other history. `definition` and `digest` are those at the fork; `input` and
    `data` are there when it goes on with another input. `again`: runs whose attempt is the original's, so that their tasks
    begin anew. `remarks`: what was said and accepted.
    """

    topic: ClassVar[str] = "orchestration.forked"
    id: str
    origin: Origin
    prefix: tuple[tuple[str, bytes], ...]
    definition: str
    digest: str
    reason: str | None = None
    input: Any | UnsetType = UNSET
    data: Any | UnsetType = UNSET
    business_key: str | None = None
    tags: dict[str, str] = {}
    request: bytes | None = None
    again: tuple[str, ...] = ()
    remarks: tuple[Remark, ...] = ()
    trace: str | None = None


class OrchestrationMigrated(Event, frozen=True, kw_only=True):
    """It goes on under another version of its definition. `moves`: old pointer -> new pointer of tasks and scopes, where
    they differ. `undoables`: run -> the ``after`` of its compensation, where the new version says otherwise. `rekeyed`: runs
    that did nothing and, tried again, are another request, so they get another key. `mapping`: what was asked for.
    """

    topic: ClassVar[str] = "orchestration.migrated"
    definition: str
    digest: str
    moves: dict[str, str] = {}
    undoables: dict[str, str] = {}
    rekeyed: tuple[str, ...] = ()
    mapping: dict[str, str] = {}
    reason: str | None = None
    remarks: tuple[Remark, ...] = ()


class OrchestrationSuspended(Event, frozen=True, kw_only=True):
    topic: ClassVar[str] = "orchestration.suspended"
    reason: str | None = None


class OrchestrationResumed(Event, frozen=True, kw_only=True):
    topic: ClassVar[str] = "orchestration.resumed"
    reason: str | None = None


class CancelRequested(Event, frozen=True, kw_only=True):
    """A cancel that waits for the pivot in flight."""

    topic: ClassVar[str] = "cancel.requested"
    reason: str | None = None
    override_pivot: bool = False


class CancelDropped(Event, frozen=True, kw_only=True):
    """The pivot completed, so the cancel that waited for it is void."""

    topic: ClassVar[str] = "cancel.dropped"


class EndingStarted(Event, frozen=True, kw_only=True):
    """``then: end``: what is in flight is awaited and kept, then the orchestration completes with this run's output."""

    topic: ClassVar[str] = "ending.started"
    after: str
    settle_at: datetime


class OrchestrationCompleted(Event, frozen=True, kw_only=True):
    topic: ClassVar[str] = "orchestration.completed"
    output: Any


class OrchestrationFaulted(Event, frozen=True, kw_only=True):
    topic: ClassVar[str] = "orchestration.faulted"


class OrchestrationCompensated(Event, frozen=True, kw_only=True):
    topic: ClassVar[str] = "orchestration.compensated"


class OrchestrationCancelled(Event, frozen=True, kw_only=True):
    topic: ClassVar[str] = "orchestration.cancelled"


class OrchestrationTerminated(Event, frozen=True, kw_only=True):
    topic: ClassVar[str] = "orchestration.terminated"
    reason: str | None = None


class NoteAdded(Event, frozen=True, kw_only=True):
    topic: ClassVar[str] = "note.added"
    text: str


# Runs and scopes ------------------------------------------------------------------------------------------------------


class TaskScheduled(RunEvent, frozen=True, kw_only=True):
    """A token reached a task. `after`: the run whose output it brings (None: the scope's input); `input`: transformed.

    A run that is scheduled again (its ``try`` was entered again) keeps its id and its idempotency key.
    """

    topic: ClassVar[str] = "task.scheduled"
    scope: str
    name: str
    kind: str
    after: str | None = None
    input: Any | UnsetType = UNSET
    timeout_at: datetime | None = None
    effectful: bool = False
    undoable: str | None = None
    """The ``after`` of its compensation; None when it has none."""
    pivot: bool = False


class TaskSkipped(RunEvent, frozen=True, kw_only=True):
    """Its ``if`` was false; the token moves on with the raw input."""

    topic: ClassVar[str] = "task.skipped"
    scope: str
    name: str
    kind: str
    after: str | None = None
    to: tuple[str, ...] = ()


class AttemptStarted(RunEvent, frozen=True, kw_only=True):
    """It is about to be sent and counts as sent. `arguments`: the evaluated ``with``; `deferred`: the parts that mention
    secrets or the callback, (path, program, names, values) each, evaluated at every sending. `child`: (public id,
    definition, digest). `callback`: its answer only acknowledges; `until`: when the callback has to have come.
    """

    topic: ClassVar[str] = "attempt.started"
    number: int
    key: str
    arguments: Any = None
    deferred: tuple[tuple[tuple[str | int, ...], str, tuple[str, ...], tuple[Any, ...]], ...] = ()
    callout: str = "function"
    function: str = ""
    timeout_s: float = 30.0
    idempotent: bool = True
    compensates: str | None = None
    child: tuple[str, str, str] | None = None
    callback: bool = False
    until: datetime | None = None


class CallbackAwaited(RunEvent, frozen=True, kw_only=True):
    """The attempt was acknowledged; from now on the task waits to be called back. What the answer said is not kept."""

    topic: ClassVar[str] = "callback.awaited"
    number: int


class CallbackReceived(RunEvent, frozen=True, kw_only=True):
    """The task was called back; what follows from it are the next events. `digest` tells a repeat from another body."""

    topic: ClassVar[str] = "callback.received"
    number: int
    digest: bytes


class Candidates(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who may take a task: these people, and whoever is in one of these groups; everyone, where both are empty."""

    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


class Escalation(msgspec.Struct, frozen=True, omit_defaults=True):
    """What happens at an instant to a task that is still open: others may take it, it becomes more urgent, somebody is
    reminded.
    """

    at: datetime
    candidates: Candidates | None = None
    priority: int | None = None
    remind: bool = False


class TaskAssigned(RunEvent, frozen=True, kw_only=True):
    """A person is asked. `number` counts the tasks for people of the orchestration, from 1; `form` is a JSON Schema, `data`
    is shown. With `assignee` it is claimed from the start.
    """

    topic: ClassVar[str] = "task.assigned"
    number: int
    title: str
    description: str | None = None
    form: Any = None
    data: Any = None
    candidates: Candidates = Candidates()
    assignee: str | None = None
    priority: int = 0
    due_at: datetime | None = None
    escalations: tuple[Escalation, ...] = ()


class TaskClaimed(RunEvent, frozen=True, kw_only=True):
    """A person took the task; nobody else may answer it now. `actor` is who asked for it, `user` the person."""

    topic: ClassVar[str] = "task.claimed"
    user: str


class TaskReleased(RunEvent, frozen=True, kw_only=True):
    """The person gave it back; any candidate may take it."""

    topic: ClassVar[str] = "task.released"
    user: str


class TaskReassigned(RunEvent, frozen=True, kw_only=True):
    """Somebody decided who is to do it. Without `assignee` any candidate may take it; `candidates`: if they are others
    now.
    """

    topic: ClassVar[str] = "task.reassigned"
    reason: str
    assignee: str | None = None
    candidates: Candidates | None = None


class TaskEscalated(RunEvent, frozen=True, kw_only=True):
    """An escalation (`step`: its index) took place. New `candidates` take the task from whoever has it. `event`: the
    reminder, a CloudEvent that goes through the outbox.
    """

    topic: ClassVar[str] = "task.escalated"
    step: int
    candidates: Candidates | None = None
    priority: int | None = None
    event: dict[str, Any] | None = None


class TaskAnswered(RunEvent, frozen=True, kw_only=True):
    """The person has answered; what follows from it are the next events. `digest` tells a repeat from another answer."""

    topic: ClassVar[str] = "task.answered"
    user: str
    outcome: Literal["completed", "refused"]
    digest: bytes


class AttemptFailed(RunEvent, frozen=True, kw_only=True):
    """This attempt failed and another will follow at `retry_at`."""

    topic: ClassVar[str] = "attempt.failed"
    number: int
    fault: Fault
    effect: Effect
    retry_at: datetime


class TaskCompleted(RunEvent, frozen=True, kw_only=True):
    """`output` is raw, `data` transformed, `context` the new ``$context``; the token moves to each pointer of `to`."""

    topic: ClassVar[str] = "task.completed"
    attempt: int | None = None
    output: Any = None
    data: Any | UnsetType = UNSET
    context: Any | UnsetType = UNSET
    to: tuple[str, ...] = ()
    passed_over: bool = False
    """An operator let the token go on after a failure; this says nothing of the effect."""


class TaskFailed(RunEvent, frozen=True, kw_only=True):
    """The flow faults here. `effect` says what is known of the world, `output` the raw answer if it was done."""

    topic: ClassVar[str] = "task.failed"
    attempt: int | None = None
    fault: Fault
    effect: Effect = "none"
    output: Any = None
    held: bool = False
    """The token stays here; an incident decides."""


class TaskUncertain(RunEvent, frozen=True, kw_only=True):
    """The flow faults here, and nobody knows whether the effect took place."""

    topic: ClassVar[str] = "task.uncertain"
    attempt: int | None = None
    fault: Fault
    held: bool = False


class TaskCancelled(RunEvent, frozen=True, kw_only=True):
    """Dropped while its scope settled."""

    topic: ClassVar[str] = "task.cancelled"


class TaskFailing(RunEvent, frozen=True, kw_only=True):
    """A composite fails as soon as what is inside has settled. `cut`: attempts inside are uncertain at once."""

    topic: ClassVar[str] = "task.failing"
    fault: Fault
    cut: bool = False
    settle_at: datetime


class TokenJoined(Event, frozen=True, kw_only=True):
    """A token ended at a join that waits for more."""

    topic: ClassVar[str] = "token.joined"
    run: str


class ScopeEntered(Event, frozen=True, kw_only=True):
    """`run` opened a scope for `slot`. Its input: the output of scope `after`, else `input`, else the run's input."""

    topic: ClassVar[str] = "scope.entered"
    scope: str
    pointer: str
    run: str
    slot: str
    after: str | None = None
    input: Any | UnsetType = UNSET
    variables: dict[str, Any] = {}
    timeout_at: datetime | None = None
    """The end of this attempt of a ``try`` (``retry.limit.attempt.duration``)."""


class ScopeCompleted(Event, frozen=True, kw_only=True):
    """Its last token left; `after` is the run that gives its output (None: its input)."""

    topic: ClassVar[str] = "scope.completed"
    scope: str
    after: str | None = None
    output: Any | UnsetType = UNSET
    context: Any | UnsetType = UNSET


class ScopeFailing(Event, frozen=True, kw_only=True):
    """No token goes on in this scope; when what is inside has settled, the run that opened it decides."""

    topic: ClassVar[str] = "scope.failing"
    scope: str
    fault: Fault
    cut: bool = False
    settle_at: datetime


class ScopeClosed(Event, frozen=True, kw_only=True):
    """A failing scope has settled."""

    topic: ClassVar[str] = "scope.closed"
    scope: str


class LoopStarted(RunEvent, frozen=True, kw_only=True):
    """`parallel`: its turns run side by side."""

    topic: ClassVar[str] = "loop.started"
    items: list[Any]
    parallel: bool = False


class WaitStarted(RunEvent, frozen=True, kw_only=True):
    topic: ClassVar[str] = "wait.started"
    due_at: datetime


class ErrorCaught(RunEvent, frozen=True, kw_only=True):
    """A ``try`` caught an error of its scope. `retry_at`: it will be entered again; else ``catch.do`` or the end of the
    ``try`` follows. `rollback`: what was done inside is undone first.
    """

    topic: ClassVar[str] = "error.caught"
    fault: Fault
    retry_at: datetime | None = None
    rollback: bool = False


class BranchesDeferred(RunEvent, frozen=True, kw_only=True):
    """A decision has begun as many branches as one may; the next begin in another, at once."""

    topic: ClassVar[str] = "branches.deferred"
    due_at: datetime


class ForkWon(RunEvent, frozen=True, kw_only=True):
    """Enough branches have ended, the last one with `scope`: what the others did is undone, then the task completes."""

    topic: ClassVar[str] = "fork.won"
    scope: str
    settle_at: datetime


# Events from and to the outside ---------------------------------------------------------------------------------------


class StreamOpened(Event, frozen=True, kw_only=True):
    """From here on the events of a stream are put in order. `type`: the one that they all have, if they do; `first`: their
    first number; `listens`: the runs that wait for some of them already.
    """

    topic: ClassVar[str] = "stream.opened"
    stream: str
    type: str | None = None
    first: int = 1
    listens: tuple[str, ...] = ()


class StreamClosed(Event, frozen=True, kw_only=True):
    """A stream has no order any more: what was parked is held like any other event."""

    topic: ClassVar[str] = "stream.closed"
    stream: str


class GapSkipped(Event, frozen=True, kw_only=True):
    """The events with the numbers from `first` to `last` are not waited for any longer. `gap_at` as in `EventReceived`."""

    topic: ClassVar[str] = "gap.skipped"
    stream: str
    first: int
    last: int
    per: str | int | bool | None = None
    gap_at: datetime | None = None


class ListenStarted(RunEvent, frozen=True, kw_only=True):
    """`types`: the event types it waits for (None: any). `filters`: per filter (attributes, correlations expected).
    `streams`: those of whose events it may take some.
    """

    topic: ClassVar[str] = "listen.started"
    types: tuple[str | None, ...]
    expected: tuple[dict[str, Any], ...] = ()
    streams: tuple[str, ...] = ()


class EventReceived(Event, frozen=True, kw_only=True):
    """A CloudEvent for this orchestration arrived. `outcome`: matched by a wait, or held until one wants it. With a `number`
    in a `stream` (`per`: of which of its orders) it may also be parked until those before it have come, be a duplicate, or
    too late. `gap_at`: when those that are parked then have waited long enough for what is missing.
    """

    topic: ClassVar[str] = "event.received"
    source: str
    id: str
    digest: bytes
    event: dict[str, Any]
    outcome: Literal["matched", "held", "parked", "duplicate", "late"]
    stream: str | None = None
    number: int | None = None
    per: str | int | bool | None = None
    gap_at: datetime | None = None


class EventConsumed(RunEvent, frozen=True, kw_only=True):
    """A listen took an event. `filter`: the index of the filter it matched, -1 for one of `until`; `value`: as read."""

    topic: ClassVar[str] = "event.consumed"
    source: str
    id: str
    filter: int
    value: Any = None
    until: bool = False
    correlated: dict[str, Any] = {}
    done: bool = False


class EventEmitted(RunEvent, frozen=True, kw_only=True):
    topic: ClassVar[str] = "event.emitted"
    event: dict[str, Any]


# Rollback ---------------------------------------------------------------------------------------------------------------


class Cause(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why there is a rollback. `task`: reference of the failed task."""

    kind: Literal["error", "timeout", "cancel"]
    task: str | None = None
    fault: Fault | None = None
    text: str | None = None
    actor: str | None = None


class UndoStep(msgspec.Struct, frozen=True, omit_defaults=True):
    """One undo of a plan. It may begin when the steps `after` (indices) have ended. `condition`: the recorded result of
    ``compensate.if``, `condition_fault` why it could not be evaluated.
    """

    run: str
    outcome: str
    after: tuple[int, ...] = ()
    condition: bool | None = None
    condition_fault: str | None = None


class LeftBehind(msgspec.Struct, frozen=True):
    run: str
    why: str


class RollbackStarted(Event, frozen=True, kw_only=True):
    topic: ClassVar[str] = "rollback.started"
    reason: Cause
    settle_at: datetime
    cut: bool = False


class CompensationDecided(Event, frozen=True, kw_only=True):
    """The plan. `rollback` is "" for the whole orchestration, else the run whose insides are undone."""

    topic: ClassVar[str] = "compensation.decided"
    rollback: str = ""
    reason: Cause
    plan: tuple[UndoStep, ...]
    left_behind: tuple[LeftBehind, ...] = ()


class UndoStarted(RunEvent, frozen=True, kw_only=True):
    """`number` counts the tries of this undo. `child`: the public id of the child that is undone."""

    topic: ClassVar[str] = "compensation.started"
    rollback: str = ""
    number: int = 1
    child: str | None = None


class UndoCompleted(RunEvent, frozen=True, kw_only=True):
    """`by_hand`: an operator did it."""

    topic: ClassVar[str] = "compensation.completed"
    rollback: str = ""
    by_hand: bool = False
    output: Any = None


class UndoFailed(RunEvent, frozen=True, kw_only=True):
    topic: ClassVar[str] = "compensation.failed"
    rollback: str = ""
    fault: Fault


class UndoSkipped(RunEvent, frozen=True, kw_only=True):
    """An operator decided that it stays."""

    topic: ClassVar[str] = "compensation.skipped"
    rollback: str = ""
    reason: str


class PlanCorrected(RunEvent, frozen=True, kw_only=True):
    """A late result changed what there is to undo, before its undo had begun."""

    topic: ClassVar[str] = "compensation.corrected"
    effect: Effect
    output: Any = None
    dropped: bool = False
    added: bool = False
    why: str | None = None
    """Why it is left behind, if it is."""
    condition: bool | None = None
    condition_fault: str | None = None


class RollbackFinished(Event, frozen=True, kw_only=True):
    """A partial rollback has ended; the run it belongs to goes on."""

    topic: ClassVar[str] = "rollback.finished"
    rollback: str


# Exceptions from the rule -------------------------------------------------------------------------------------------------


class IncidentRaised(Event, frozen=True, kw_only=True):
    topic: ClassVar[str] = "incident.raised"
    number: int
    kind: Literal["compensation_failed", "after_pivot", "uncertain_pivot", "late_result", "poison"]
    run: str | None = None
    fault: Fault | None = None
    rollback: str = ""
    actions: tuple[str, ...] = ()


class IncidentResolved(Event, frozen=True, kw_only=True):
    topic: ClassVar[str] = "incident.resolved"
    number: int
    action: str
    reason: str | None = None
    output: Any = None


class ResultRecorded(RunEvent, frozen=True, kw_only=True):
    """A result that came while suspended; it is handled at resume. `result` has the shape of the command's."""

    topic: ClassVar[str] = "result.recorded"
    number: int
    result: dict[str, Any]


class ResultLate(RunEvent, frozen=True, kw_only=True):
    """A result that came after its attempt had been given up."""

    topic: ClassVar[str] = "result.late"
    number: int
    effect: Effect
    output: Any = None
    fault: Fault | None = None


Beginning = OrchestrationStarted | OrchestrationForked
"""The first event of a history."""


def _concrete(cls: type[Event]) -> list[type[Event]]:
    subclasses = [c for direct in cls.__subclasses__() for c in (direct, *_concrete(direct))]
    return [c for c in subclasses if "topic" in c.__dict__]


TOPICS: dict[str, type[Event]] = {c.topic: c for c in _concrete(Event)}
"""Stable name -> class, for reading stored events."""
