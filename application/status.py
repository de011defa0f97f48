"""The status representation: what a client sees of an orchestration. A pure function of its state.

Field names and meanings are those of ``docs/rest.md``. Runs inside compensations are not listed as tasks; they show as
the ``compensation`` of the task that is undone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

import msgspec

from domain.data import cause_json
from domain.errors import Fault
from domain.events import Cause, UndoStep
from domain.people import task_id
from domain.remote import is_remote
from domain.rollback import outcome, undoable
from domain.state import COMPENSATE, ROOT, Incident, Rollback, Run, State
from domain.state_people import Human
from domain.state_streams import text_of

Json = dict[str, Any]
MOST_TASKS = 500
MOST_LISTED: Final = 500
"""Entries of every other list of a status, however wide a fan-out is."""


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


def represent(
    state: State, *, most_tasks: int = MOST_TASKS, known: Known | None = None, most: int = MOST_LISTED
) -> Json:
    """Everything but ``links``. Without `known` nothing is said of workers. `most`: entries of each other list."""
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
        "waiting_for": waiting_for(state, known, most=most),
        "rollback": rollback_view(state, most=most),
        "incidents": [incident_entry(state, incident) for incident in state.open_incidents()[:most]],
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


def waiting_for(state: State, known: Known | None = None, *, most: int = MOST_LISTED) -> list[Json]:
    """What has to happen before it goes on: at most so many entries, those that wait for an operator in any case."""
    if state.final:
        return []
    operators = [_operator(state, incident) for incident in state.open_incidents()[:most]]
    return [*islice(_awaited(state, known), most - len(operators)), *operators]


def _awaited(state: State, known: Known | None) -> Iterator[Json]:
    for name in state.open:
        run = state.runs[name]
        entry: Json = {"task": run.name, "reference": run.pointer, "due_at": instant(run.due_at or run.timeout_at)}
        if run.listening is not None and not run.listening.done:
            if run.listening.streams:
                entry["missing"] = missing(state, run.listening.streams)
            yield from ({"kind": "event", **entry, "event": {"type": kind}} for kind in run.listening.types)
        elif run.human is not None and run.awaits_person:
            yield {"kind": "human", **entry, **_asked_of(state, run, run.human)}
        elif run.awaits_callback:
            yield {"kind": "callback", **entry}
        elif run.status == "retrying" or run.kind == "wait":
            yield {"kind": "timer", **entry}
        elif run.flying and run.child is not None:
            yield {"kind": "child", **entry, "child": run.child[0]}
        elif known is not None and run.request is not None and is_remote(state, run, known):
            yield {"kind": "worker", **entry, "function": run.request.function}
        elif run.flying:
            yield {"kind": "answer", **entry}


def _operator(state: State, incident: Incident) -> Json:
    blocked = state.runs[incident.run] if incident.run else None
    task = {"task": blocked.name, "reference": blocked.pointer} if blocked else {"task": None, "reference": None}
    return {"kind": "operator", **task, "incident": incident.number, "due_at": None}


def missing(state: State, streams: Iterable[str]) -> list[Json]:
    """Which numbers of its streams have to come next: the one that is next, or all that those which are parked wait for. An
    order of several (`per`) is told when something is parked in it.
    """
    found: list[Json] = []
    for name in streams:
        stream = state.streams.get(name)
        if stream is None:
            continue
        orders = [order for order in stream.orders.values() if order.parked or order.key is None]
        for order in (orders or ([] if stream.orders else [stream.order(None)]))[:_MOST_ORDERS]:
            told: Json = {"stream": name, "key": order.key, "numbers": order.lacks(_MOST_NUMBERS)}
            gap_at = instant(stream.gaps.get(text_of(order.key)))
            found.append({**told, "total": order.lacking, "parked": len(order.parked), "due_at": gap_at})
    return found


_MOST_ORDERS: Final = 20
_MOST_NUMBERS: Final = 100


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


def rollback_view(state: State, *, most: int = MOST_LISTED) -> Json | None:
    """What is rolled back, why, and how far it is; None before a rollback of the whole orchestration starts. Lists have at
    most so many entries, `totals` says how many there are.
    """
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
        "totals": {"plan": 0, "done": 0, "skipped": 0, "left_behind": 0},
    }
    if decided is None:
        return view
    done, skipped, left = _ended(decided, "done"), _ended(decided, "skipped"), decided.left_behind
    view["totals"] = {
        "plan": len(decided.steps),
        "done": len(done),
        "skipped": len(skipped),
        "left_behind": len(left),
    }
    view["plan"] = _names(state, decided.steps[:most])
    view["done"] = _names(state, done[:most])
    view["skipped"] = _names(state, skipped[:most])
    view["left_behind"] = [{"task": state.runs[each.run].name, "why": each.why} for each in left[:most]]
    view["steps"] = [_step(state, decided, i, step) for i, step in enumerate(decided.steps[:most])]
    return view


def _ended(decided: Rollback, how: str) -> list[UndoStep]:
    return [step for step, ended in zip(decided.steps, decided.ended, strict=True) if ended == how]


def _names(state: State, steps: Sequence[UndoStep]) -> list[str]:
    return [state.runs[step.run].name for step in steps]


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
