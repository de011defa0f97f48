"""What people want to see of a state, as plain JSON: its picture, what changed between two, and the rollback view.

A picture is the status representation of all tasks, with what that leaves out: ``$context``, the variables of loops and
catches, and events that nobody has awaited yet. Changes are told by place, tasks by name, so that they read well and do not
move when a task is added before another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from sys import maxsize
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from application.status import listed, represent, task_entry
from domain import events as e
from domain.events import UndoStep
from domain.plan import Plan
from domain.prefix import unpacked
from domain.rollback import arrange, candidates
from domain.state import ROOT, Rollback, Run, State

Json = dict[str, Any]
_UNTOLD = frozenset({"id", "digest", "version", "updated_at", "started_at", "ended_at", "tasks_total"})
"""Members that change with everything, or never; the events tell them."""
_COUNTED = frozenset({"steps", "totals"})
"""Of a rollback: what its lists say too."""
_TIMES = frozenset({"started_at", "ended_at", "name", "reference", "run", "kind"})


class Change(msgspec.Struct, frozen=True, omit_defaults=True):
    """A place (names from the outside in) that is not what it was; what is not there is left out."""

    path: tuple[str, ...]
    before: Any | UnsetType = UNSET
    after: Any | UnsetType = UNSET


def picture(state: State) -> Json:
    """The state as plain JSON."""
    return _with_data(state, represent(state, most_tasks=len(state.runs), most=maxsize))


def _with_data(state: State, shown: Json) -> Json:
    return {
        **shown,
        **({"streams": _streams(state)} if state.streams else {}),
        "context": state.context,
        "variables": {s.id or "/": s.variables for s in state.scopes.values() if s.variables and s.phase == "active"},
        "held_events": [held.event.get("type") for held in state.held],
    }


def _streams(state: State) -> Json:
    """How far each order of each stream has come."""
    return {
        f"{name} {text}".rstrip(): {
            "next": order.next,
            "parked": sorted(order.parked),
            "skipped": [list(each) for each in order.skipped],
        }
        for name, stream in state.streams.items()
        for text, order in stream.orders.items()
    }


# What changed ---------------------------------------------------------------------------------------------------------


def sketch(state: State, runs: Collection[str], shared: Collection[str]) -> Json:
    """What changes are found in: a picture in which tasks have names for keys (`shared`: names that are not enough), and only
    some runs are.
    """
    shown = _with_data(state, represent(state, most_tasks=0, most=maxsize))
    told = {name: value for name, value in shown.items() if name not in _UNTOLD}
    told["tasks"] = {
        _label(state.runs[run], shared): _entry_of(state, state.runs[run]) for run in listed(state) if run in runs
    }
    told["waiting_for"] = {_awaited(entry): True for entry in shown["waiting_for"]}
    told["incidents"] = {str(entry["number"]): entry for entry in shown["incidents"]}
    if told["rollback"] is not None:
        told["rollback"] = {key: value for key, value in told["rollback"].items() if key not in _COUNTED}
    return msgspec.to_builtins(told)  # type: ignore[no-any-return]  # a copy: the state goes on


def _entry_of(state: State, run: Run) -> Json:
    return {name: value for name, value in task_entry(state, run).items() if name not in _TIMES}


def touched(state: State, events: Iterable[e.Event]) -> set[str]:
    """The runs that may be other after these events: those that are open, and all that the events name."""
    found = set(state.open)
    for event in events:
        if isinstance(event, e.OrchestrationForked):
            found |= {each.run for each in unpacked(event.prefix) if isinstance(each, e.RunEvent)}
        if isinstance(event, e.OrchestrationMigrated):
            found |= state.runs.keys()
        found |= {name for name in (getattr(event, "run", None), getattr(event, "after", None)) if name}
        if isinstance(event, e.CompensationDecided):
            found |= {step.run for step in event.plan} | {left.run for left in event.left_behind}
        if isinstance(event, e.CompensationDecided | e.RollbackFinished):
            found.add(event.rollback)
    return found


def changes(before: Json, after: Json) -> list[Change]:
    """What differs between two sketches, in their order."""
    return list(_differing(before, after, ()))


def shared_names(*plans: Plan) -> frozenset[str]:
    """Names that several tasks of one of these definitions have."""
    counted = (Counter(node.name for node in plan.nodes.values()) for plan in plans)
    return frozenset(name for counts in counted for name, times in counts.items() if times > 1)


def _label(run: Run, shared: Collection[str]) -> str:
    """As short as it may be: the name of the task, or its reference; with its number from the second run on."""
    name = run.pointer if run.name in shared else run.name
    return name if run.number == 1 else f"{name}#{run.number}"


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
