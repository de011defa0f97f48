"""The status representation: what a client sees of an orchestration. A pure function of its state.

Field names and meanings are those of ``docs/rest.md``. Runs inside compensations are not listed as tasks; they show as
the ``compensation`` of the task that is undone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import msgspec

from domain.data import cause_json
from domain.errors import Fault
from domain.events import Cause, UndoStep
from domain.people import task_id
from domain.remote import is_remote
from domain.rollback import outcome, undoable
from domain.state import COMPENSATE, ROOT, Human, Incident, Rollback, Run, State

Json = dict[str, Any]
MOST_TASKS = 500


def instant(at: datetime | None) -> str | None:
    """RFC 3339 in UTC, to the microsecond."""
    if at is None:
        return None
    utc = at if at.tzinfo is UTC else at.astimezone(UTC)
    text: str = msgspec.to_builtins(utc)  # a tenth of what `isoformat` costs, but it leaves out a fraction of zero
    return text if utc.microsecond else f"{text[:-1]}.000000Z"


def _fault(why: Fault | None) -> Json | None:
    return None if why is None else why.as_json()


Known = Callable[[str], bool]
"""Whether a function is in the process: what calls others waits for a worker."""


def represent(state: State, *, most_tasks: int = MOST_TASKS, known: Known | None = None) -> Json:
    """Everything but ``links``. Without `known` nothing is said of workers."""
    return {
        "id": state.id,
        "definition": state.definition,
        "digest": state.digest,
        "status": state.status,
        "version": state.version,
        "business_key": state.business_key,
        "tags": state.tags,
        "input": state.input,
        "output": state.output,
        "error": _fault(state.fault),
        "parent": state.parent[0] if state.parent else None,
        "forked_from": _origin(state),
        "started_at": instant(state.started_at),
        "updated_at": instant(state.updated_at),
        "ended_at": instant(state.ended_at),
        "tasks": task_entries(state, limit=most_tasks),
        "tasks_total": count_tasks(state),
        "waiting_for": waiting_for(state, known),
        "rollback": rollback_view(state),
        "incidents": [incident_entry(state, incident) for incident in state.open_incidents()],
    }


def _origin(state: State) -> Json | None:
    if state.forked_from is None:
        return None
    id_, version = state.forked_from
    return {"id": id_, "version": version}


def task_entries(state: State, *, after: int = 0, limit: int) -> list[Json]:
    """One entry per run, in the order in which they began: those from index `after` on, at most `limit`."""
    return [task_entry(state, state.runs[name]) for name in islice(listed(state), after, after + limit)]


def count_tasks(state: State) -> int:
    """How many entries there are."""
    return sum(1 for _ in listed(state))


def listed(state: State) -> Iterator[str]:
    """Names of runs. Nobody looks into the runs themselves unless there are undos among them: of a long history that was
    opened from a snapshot most runs are still packed.
    """
    inside = _undoing(state)
    return (name for name in state.runs if not inside or state.runs[name].scope not in inside)


def _undoing(state: State) -> set[str]:
    """The scopes of compensations. A scope comes after the one around it, so one look at each is enough."""
    inside: set[str] = set()
    if not state.rollbacks:
        return inside
    for scope in state.scopes.values():
        if scope.slot == COMPENSATE or scope.parent in inside:
            inside.add(scope.id)
    return inside


def task_entry(state: State, run: Run) -> Json:
    return {
        "name": run.name,
        "reference": run.pointer,
        "run": run.number,
        "kind": run.kind,
        "status": run.status,
        "attempts": run.attempts,
        "started_at": instant(run.started_at),
        "ended_at": instant(run.ended_at),
        "output": run.data,
        "error": _fault(run.fault),
        "child": run.child[0] if run.child else None,
        "compensation": {
            "status": compensation_status(state, run),
            "attempts": run.undo.attempts,
            "error": _fault(run.undo.fault),
        },
    }


def compensation_status(state: State, run: Run) -> str:
    """``none | armed | scheduled | running | retrying | completed | skipped | failed``."""
    status = run.undo.status
    if status == "running":
        inside = (state.runs[name] for name in state.open)
        waits = any(found.status == "retrying" and state.undoing(found.scope) == run.id for found in inside)
        return "retrying" if waits else "running"
    if status == "armed" and not run.open and not undoable(run):
        return "none"
    return status


def waiting_for(state: State, known: Known | None = None) -> list[Json]:
    """What has to happen before it goes on."""
    found: list[Json] = []
    if state.final:
        return found
    for name in state.open:
        run = state.runs[name]
        entry: Json = {"task": run.name, "reference": run.pointer, "due_at": instant(run.due_at or run.timeout_at)}
        if run.listening is not None and not run.listening.done:
            found += [{"kind": "event", **entry, "event": {"type": kind}} for kind in run.listening.types]
        elif run.human is not None and run.awaits_person:
            found.append({"kind": "human", **entry, **_asked_of(state, run, run.human)})
        elif run.awaits_callback:
            found.append({"kind": "callback", **entry})
        elif run.status == "retrying" or run.kind == "wait":
            found.append({"kind": "timer", **entry})
        elif run.flying and run.child is not None:
            found.append({"kind": "child", **entry, "child": run.child[0]})
        elif known is not None and run.request is not None and is_remote(state, run, known):
            found.append({"kind": "worker", **entry, "function": run.request.function})
        elif run.flying:
            found.append({"kind": "answer", **entry})
    for incident in state.open_incidents():
        blocked = state.runs[incident.run] if incident.run else None
        task = {"task": blocked.name, "reference": blocked.pointer} if blocked else {"task": None, "reference": None}
        found.append({"kind": "operator", **task, "incident": incident.number, "due_at": None})
    return found


def _asked_of(state: State, run: Run, human: Human) -> Json:
    return {
        "id": task_id(state.id, human.number),
        "title": human.title,
        "candidates": {"users": list(human.candidates.users), "groups": list(human.candidates.groups)},
        "assignee": human.assignee,
        "due_at": instant(human.due_at or run.timeout_at),
    }


def reason_entry(state: State, cause: Cause) -> Json:
    return {
        "kind": cause.kind,
        "task": cause.task,
        "error": _fault(cause.fault) if cause.kind != "cancel" else cause_json(cause),
        "text": cause.text,
        "actor": cause.actor,
    }


def rollback_view(state: State) -> Json | None:
    """What is rolled back, why, and how far it is; None before a rollback of the whole orchestration starts."""
    if state.cause is None:
        return None
    decided = state.rollbacks.get(ROOT)
    view: Json = {
        "reason": reason_entry(state, state.cause),
        "plan": None,
        "done": [],
        "skipped": [],
        "left_behind": [],
        "outcome": outcome(state),
        "steps": [],
    }
    if decided is None:
        return view
    names = [state.runs[step.run].name for step in decided.steps]
    ended = list(zip(names, decided.ended, strict=True))
    view["plan"] = names
    view["done"] = _in_order_done(state, decided)
    view["skipped"] = [name for name, how in ended if how == "skipped"]
    view["left_behind"] = [{"task": state.runs[left.run].name, "why": left.why} for left in decided.left_behind]
    view["steps"] = [_step(state, decided, i, step) for i, step in enumerate(decided.steps)]
    return view


def _in_order_done(state: State, decided: Rollback) -> list[str]:
    return [state.runs[step.run].name for step, how in zip(decided.steps, decided.ended, strict=True) if how == "done"]


def _step(state: State, decided: Rollback, index: int, step: UndoStep) -> Json:
    run = state.runs[step.run]
    how = decided.ended[index]
    status = {"done": "completed", "skipped": "skipped", "void": "dropped"}.get(how or "")
    return {
        "task": run.name,
        "reference": run.pointer,
        "run": run.number,
        "outcome": step.outcome,
        "status": status or compensation_status(state, run),
    }


def incident_entry(state: State, incident: Incident) -> Json:
    run = state.runs[incident.run] if incident.run else None
    return {
        "number": incident.number,
        "kind": incident.kind,
        "task": run.name if run else None,
        "reference": run.pointer if run else None,
        "error": _fault(incident.fault),
        "raised_at": instant(incident.raised_at),
        "actions": list(incident.actions),
    }
