"""What people want to see of a state, as plain JSON: its picture, what changed between two, and the rollback view.

A picture is the status representation of all tasks, with what that leaves out: ``$context``, the variables of loops and
catches, and events that nobody has awaited yet. Changes are told by place, tasks by name, so that they read well and do not
move when a task is added before another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from application.status import MOST_TASKS, represent, task_entries
from domain.events import UndoStep
from domain.plan import Plan
from domain.rollback import arrange, candidates
from domain.state import ROOT, Rollback, Run, State

Json = dict[str, Any]
_UNTOLD = frozenset({"id", "digest", "version", "updated_at", "started_at", "ended_at", "tasks_total"})
"""Members that change with everything, or never; the events tell them."""
_TIMES = frozenset({"started_at", "ended_at", "name", "reference", "run", "kind"})


class Change(msgspec.Struct, frozen=True, omit_defaults=True):
    """A place (names from the outside in) that is not what it was; what is not there is left out."""

    path: tuple[str, ...]
    before: Any | UnsetType = UNSET
    after: Any | UnsetType = UNSET


def picture(state: State) -> Json:
    """The state as plain JSON."""
    shown = represent(state)
    if shown["tasks_total"] > MOST_TASKS:
        shown["tasks"] = task_entries(state, limit=len(state.runs))
    return {
        **shown,
        "context": state.context,
        "variables": {s.id or "/": s.variables for s in state.scopes.values() if s.variables and s.phase == "active"},
        "held_events": [held.event.get("type") for held in state.held],
    }


# What changed ---------------------------------------------------------------------------------------------------------


def changes(before: Json, after: Json) -> list[Change]:
    """What differs between two pictures, in their order."""
    return list(_differing(_comparable(before), _comparable(after), ()))


def _comparable(shown: Json) -> Json:
    told = {name: value for name, value in shown.items() if name not in _UNTOLD}
    tasks = shown["tasks"]
    for name, task in zip(labels(tasks), tasks, strict=True):
        told.setdefault("tasks by name", {})[name] = {key: v for key, v in task.items() if key not in _TIMES}
    told["tasks"] = told.pop("tasks by name", {})
    told["waiting_for"] = {_awaited(entry): True for entry in shown["waiting_for"]}
    told["incidents"] = {str(entry["number"]): entry for entry in shown["incidents"]}
    if told["rollback"] is not None:
        told["rollback"] = {key: value for key, value in told["rollback"].items() if key != "steps"}
    return told


def labels(tasks: Sequence[Mapping[str, Any]]) -> list[str]:
    """A name for each run, as short as it may be: of the task, with its number where it has several runs, or its whole
    reference where another task has the name too.
    """
    references = {(task["name"], task["reference"]) for task in tasks}
    shared = Counter(name for name, _ in references)
    runs = Counter(task["reference"] for task in tasks)
    return [
        (task["reference"] if shared[task["name"]] > 1 else task["name"])
        + (f"#{task['run']}" if runs[task["reference"]] > 1 else "")
        for task in tasks
    ]


def _awaited(entry: Mapping[str, Any]) -> str:
    match entry["kind"]:
        case "event":
            return f"event {entry['event']['type'] or 'of any type'} ({entry['task']})"
        case "operator":
            return f"operator, incident {entry['incident']}"
        case kind:
            return f"{kind} of {_undone(entry['reference']) or entry['task']}"


def _undone(reference: str) -> str | None:
    """What the task whose reference this is undoes, if it is a compensation by itself."""
    outer, _, last = reference.rpartition("/")
    return f"the undo of {outer.rpartition('/')[2]}" if last == "compensate" else None


def _differing(before: Any, after: Any, path: tuple[str, ...]) -> Iterator[Change]:
    if isinstance(before, dict) and isinstance(after, dict):
        for name in [*before, *(name for name in after if name not in before)]:
            yield from _differing(before.get(name, UNSET), after.get(name, UNSET), (*path, name))
    elif before != after or type(before) is not type(after):  # true is not 1
        yield Change(path, before, after)


def lacking(recorded: Any, now: Any, path: str = "") -> Iterator[str]:
    """Places of a recorded JSON value that are not the same now. Members that were not recorded do not count."""
    if isinstance(recorded, dict) and isinstance(now, dict):
        for name, value in recorded.items():
            yield from lacking(value, now.get(name, UNSET), f"{path}/{name}")
    elif isinstance(recorded, list) and isinstance(now, list) and len(recorded) == len(now):
        for index, (one, other) in enumerate(zip(recorded, now, strict=True)):
            yield from lacking(one, other, f"{path}/{index}")
    elif recorded != now:
        yield path or "/"


# Rollback -------------------------------------------------------------------------------------------------------------


def rollback_now(state: State, plan: Plan) -> Json:
    """What a rollback has undone, would or will undo, newest first, and what it leaves behind.

    {phase: none | armed | settling | undoing | over, undo: [{task, reference, run, outcome, condition}], in_flight: [task],
    undone: [task], skipped: [task], left_behind: [{task, why}], pivot: task or null, parallel: boolean}. In phase ``armed``
    none has begun and `undo` is what one would undo that began now; a `condition` (jq) would be asked then. What is in flight
    is undone too if it turns out to have taken effect, or nobody knows. `parallel`: branches of a fork are undone together.
    """
    decided = state.rollbacks.get(ROOT)
    found: Json = {"phase": _phase(state, decided), "undo": [], "in_flight": [], "undone": [], "skipped": []}
    found |= {"left_behind": [], "pivot": state.pivot_passed and state.runs[state.pivot_passed].name}
    found["parallel"] = plan.parallel_undo
    if decided is not None:
        ends = list(zip(decided.steps, decided.ended, strict=True))
        found["undo"] = [_entry(state, plan, step, asked=False) for step, how in ends if how is None]
        found["undone"] = [state.runs[step.run].name for step, how in ends if how == "done"]
        found["skipped"] = [state.runs[step.run].name for step, how in ends if how == "skipped"]
        found["left_behind"] = [{"task": state.runs[left.run].name, "why": left.why} for left in decided.left_behind]
    elif state.scopes and not state.final:
        chosen, left_behind = candidates(state, (ROOT,))
        outcomes = {each.run.id: UndoStep(each.run.id, each.run.effect) for each in chosen}
        arranged = arrange(chosen, outcomes, parallel=plan.parallel_undo)
        found["undo"] = [_entry(state, plan, step, asked=True) for step in arranged]
        found["in_flight"] = [run.name for run in _sent(state)]
        found["left_behind"] = [{"task": state.runs[left.run].name, "why": left.why} for left in left_behind]
        found["undone"] = [run.name for run in state.runs.values() if run.undo.status == "completed"]
    return found


def _phase(state: State, decided: Rollback | None) -> str:
    if state.final or not state.scopes:
        return "over" if state.final else "none"
    if decided is not None:
        return "undoing"
    return "settling" if state.rolling_back else "armed"


def _entry(state: State, plan: Plan, step: UndoStep, *, asked: bool) -> Json:
    run = state.runs[step.run]
    node = plan.nodes.get(run.pointer)
    condition = node.compensate.if_.program if node and node.compensate and node.compensate.if_ else None
    told = {"task": run.name, "reference": run.pointer, "run": run.number, "outcome": step.outcome}
    return {**told, "condition": condition if asked and step.outcome == "completed" else None}


def _sent(state: State) -> Iterator[Run]:
    """What is on its way and can be undone."""
    for name in state.flights:
        run = state.runs[name]
        if state.undoing(run.scope) is None and (run.undoable is not None or run.child is not None):
            yield run
