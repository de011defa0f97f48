"""Lifecycle events: what a recorded event means to others, as CloudEvents of the Serverless Workflow standard.

A recorded event gives none, one or a few of them. Their ids are made of the public id and the version of the recorded event,
so a repeat is known by source and id, and `sequence` orders those of one orchestration. Where the standard has no type
(undoing, incidents), there is one of ours below ``retrace.``. Names, times and members of `data` are the standard's; `run`
and `attempt` are added. Pure; the error of an orchestration stands in an earlier event and is handed in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET

from application.status import instant
from domain import events as e
from domain.errors import Fault, fault

Json = dict[str, Any]
STANDARD: Final = "io.serverlessworkflow."
OURS: Final = "retrace."
_LARGEST_OUTPUT_BYTES: Final = 65_536
"""Longer ones are left out: whoever wants them reads the status."""
_ATTEMPTED: Final = ("call", "run")
"""Kinds of tasks that begin with their first attempt; others begin when the flow reaches them."""

TYPES: Final = (
    STANDARD + "workflow.started.v1",
    STANDARD + "workflow.suspended.v1",
    STANDARD + "workflow.resumed.v1",
    STANDARD + "workflow.correlation-started.v1",
    STANDARD + "workflow.correlation-completed.v1",
    STANDARD + "workflow.cancelled.v1",
    STANDARD + "workflow.faulted.v1",
    STANDARD + "workflow.completed.v1",
    STANDARD + "workflow.status-changed.v1",
    STANDARD + "task.created.v1",
    STANDARD + "task.started.v1",
    STANDARD + "task.retried.v1",
    STANDARD + "task.cancelled.v1",
    STANDARD + "task.faulted.v1",
    STANDARD + "task.completed.v1",
    OURS + "workflow.compensating.v1",
    OURS + "workflow.compensated.v1",
    OURS + "task.compensating.v1",
    OURS + "task.compensated.v1",
    OURS + "task.compensation-failed.v1",
    OURS + "task.compensation-skipped.v1",
    OURS + "incident.raised.v1",
    OURS + "incident.resolved.v1",
)
"""Every type that is sent; docs/messaging.md explains each."""
_PHASES: Final[dict[type[e.Event], str]] = {
    e.OrchestrationStarted: "running",
    e.OrchestrationForked: "running",
    e.OrchestrationSuspended: "suspended",
    e.OrchestrationResumed: "running",
    e.OrchestrationCompleted: "completed",
    e.OrchestrationFaulted: "faulted",
    e.OrchestrationCompensated: "faulted",
    e.OrchestrationCancelled: "cancelled",
    e.OrchestrationTerminated: "cancelled",
}
"""The status phase of the standard that begins with an event. It has none for undoing: that goes on as `running`."""


class Subject(msgspec.Struct, frozen=True):
    """Whose events these are: its public id and ``namespace/name@version``."""

    id: str
    definition: str

    @property
    def parts(self) -> tuple[str, str, str]:
        """(namespace, name, version)."""
        path, _, version = self.definition.rpartition("@")
        namespace, _, name = path.rpartition("/")
        return namespace, name, version

    @property
    def qualified(self) -> str:
        """The name of an instance, as the standard writes it: ``name-id.namespace``."""
        namespace, name, _ = self.parts
        return f"{name}-{self.id}.{namespace}"


def lifecycle_events(
    subject: Subject, version: int, event: e.Event, why: Fault | None = None, large: Sequence[Json] = ()
) -> list[Json]:
    """The CloudEvents that a recorded event gives. `why`: the error of the orchestration, where it ends by one; `large`: what
    stands in the event for values that lie beside it.
    """
    at = instant(event.at) or ""
    return [
        {
            "specversion": "1.0",
            "id": f"{subject.id}-{version}" if number == 0 else f"{subject.id}-{version}.{number}",
            "source": f"/v1/orchestrations/{subject.id}",
            "type": type_,
            "subject": subject.id,
            "time": at,
            "sequence": f"{version:010d}.{number}",
            "datacontenttype": "application/json",
            "data": data,
        }
        for number, (type_, data) in enumerate(_told(subject, event, at, why, large))
    ]


def needs_error(event: e.Event) -> bool:
    """Whether `why` is to be looked up."""
    return isinstance(event, e.OrchestrationFaulted | e.OrchestrationCompensated)


def _told(
    subject: Subject, event: e.Event, at: str, why: Fault | None, large: Sequence[Json]
) -> Iterator[tuple[str, Json]]:
    if isinstance(event, e.RunEvent):
        yield from _of_task(subject, event, at, large)
    else:
        yield from _of_workflow(subject, event, at, why, large)
    if (phase := _PHASES.get(type(event))) is not None:  # the last, so that the others keep their ids
        data = {"name": subject.qualified, "status": phase, "updatedAt": at}
        yield STANDARD + "workflow.status-changed.v1", data


def _of_workflow(
    subject: Subject, event: e.Event, at: str, why: Fault | None, large: Sequence[Json]
) -> Iterator[tuple[str, Json]]:
    name = {"name": subject.qualified}
    workflow = STANDARD + "workflow."
    match event:
        case e.OrchestrationStarted() | e.OrchestrationForked():
            namespace, called, version = subject.parts
            definition = {"namespace": namespace, "name": called, "version": version}
            yield workflow + "started.v1", {**name, "definition": definition, "startedAt": at}
        case e.OrchestrationSuspended():
            yield workflow + "suspended.v1", {**name, "suspendedAt": at}
        case e.OrchestrationResumed():
            yield workflow + "resumed.v1", {**name, "resumedAt": at}
        case e.OrchestrationCompleted(output=output):
            yield workflow + "completed.v1", {**name, "completedAt": at, **_output(output, large)}
        case e.OrchestrationCancelled() | e.OrchestrationTerminated():
            yield workflow + "cancelled.v1", {**name, "cancelledAt": at}
        case e.OrchestrationFaulted():
            yield workflow + "faulted.v1", {**name, "faultedAt": at, "error": _error(why)}
        case e.OrchestrationCompensated():
            yield workflow + "faulted.v1", {**name, "faultedAt": at, "error": _error(why)}
            yield OURS + "workflow.compensated.v1", {**name, "compensatedAt": at}
        case e.RollbackStarted(reason=reason):
            error = {} if reason.fault is None else {"error": reason.fault.as_json()}
            yield OURS + "workflow.compensating.v1", {**name, "compensatingAt": at, "reason": reason.kind, **error}
        case e.IncidentRaised(number=number, kind=kind, run=run, fault=found):
            error = {} if found is None else {"error": found.as_json()}
            task = {} if run is None else {"task": run.rpartition("#")[0]}
            data = {"workflow": subject.qualified, "number": number, "kind": kind, **task, "raisedAt": at, **error}
            yield OURS + "incident.raised.v1", data
        case e.IncidentResolved(number=number, action=action):
            data = {"workflow": subject.qualified, "number": number, "action": action, "resolvedAt": at}
            yield OURS + "incident.resolved.v1", data
        case _:
            return


def _of_task(subject: Subject, event: e.RunEvent, at: str, large: Sequence[Json]) -> Iterator[tuple[str, Json]]:
    pointer, _, number = event.run.rpartition("#")
    of: Json = {"workflow": subject.qualified, "task": pointer, "run": int(number)}
    task, ours, workflow = STANDARD + "task.", OURS + "task.", STANDARD + "workflow."
    match event:
        case e.TaskScheduled(kind=kind):
            yield task + "created.v1", {**of, "createdAt": at}
            if kind not in _ATTEMPTED:
                yield task + "started.v1", {**of, "startedAt": at}
        case e.AttemptStarted(number=1):
            yield task + "started.v1", {**of, "startedAt": at, "attempt": 1}
        case e.AttemptStarted(number=attempt):
            yield task + "retried.v1", {**of, "retriedAt": at, "attempt": attempt}
        case e.ErrorCaught(retry_at=due) if due is not None:
            yield task + "retried.v1", {**of, "retriedAt": at}
        case e.TaskCompleted():
            output = event.output if event.data is UNSET else event.data
            yield task + "completed.v1", {**of, "completedAt": at, **_output(output, large)}
        case e.TaskFailed() | e.TaskUncertain():
            effect = {"effect": "uncertain"} if isinstance(event, e.TaskUncertain) else {"effect": event.effect}
            yield task + "faulted.v1", {**of, "faultedAt": at, "error": event.fault.as_json(), **effect}
        case e.TaskCancelled():
            yield task + "cancelled.v1", {**of, "cancelledAt": at}
        case e.ListenStarted():
            yield workflow + "correlation-started.v1", {"name": subject.qualified, "task": pointer, "startedAt": at}
        case e.EventConsumed(done=True, correlated=keys):
            data = {"name": subject.qualified, "task": pointer, "completedAt": at, "correlationKeys": keys}
            yield workflow + "correlation-completed.v1", data
        case e.UndoStarted():
            yield ours + "compensating.v1", {**of, "compensatingAt": at}
        case e.UndoCompleted():
            yield ours + "compensated.v1", {**of, "compensatedAt": at}
        case e.UndoFailed():
            yield ours + "compensation-failed.v1", {**of, "failedAt": at, "error": event.fault.as_json()}
        case e.UndoSkipped():
            yield ours + "compensation-skipped.v1", {**of, "skippedAt": at}
        case _:
            return


def _output(output: Any, large: Sequence[Json]) -> Json:
    if output is None:
        return {}
    if (large and _holds(output, large)) or len(msgspec.json.encode(output)) > _LARGEST_OUTPUT_BYTES:
        return {"outputOmitted": True}
    return {"output": output}


def _holds(value: Any, large: Sequence[Json]) -> bool:
    """Whether a part of it lies elsewhere: what stands there looks like a file, and is none."""
    if value in large:
        return True
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return any(_holds(each, large) for each in parts)


def _error(why: Fault | None) -> Json:
    return (why or fault("runtime", "The error cannot be read any more.")).as_json()
