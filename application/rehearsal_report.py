"""The report of a rehearsal: plain JSON, the same for the terminal, the page and the API. Documented in docs/rehearsal.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from application.rehearsal_course import ROOT_ID, Course
from application.rehearsal_script import Choice, Mishap, Place
from application.rehearsal_stage import Stage
from application.rehearsal_warnings import never_reached, warnings_of
from application.rehearsing import Found
from domain import events as e
from domain.errors import Fault, Problem
from domain.plan import Node, Switch
from domain.state import Run, State

Json = dict[str, Any]
_WORDS = {
    "refused": "is refused",
    "uncertain": "is uncertain",
    "timed_out": "times out",
    "no_event": "waits for an event that does not come",
}


def as_json(
    found: Found, warnings: Sequence[Problem] = (), placed: Callable[[Problem], Problem] = lambda problem: problem
) -> Json:
    """The whole report, made of JSON's own types. `warnings`: those of the document itself, which come first; `placed` adds
    line and column.
    """
    usual = found.courses[0].script.choices
    scenarios = [_scenario(course, number, usual if number else ()) for number, course in enumerate(found.courses)]
    plan = found.request.plan
    not_reached = never_reached(found)
    own = warnings_of(scenarios, not_reached if not found.left_out else (), warnings)
    return {
        "definition": plan.reference,
        "digest": plan.digest,
        "input": found.input,
        "input_made_up": found.made_up,
        "happy_path": scenarios[0],
        "scenarios": scenarios[1:],
        "warnings": [
            *map(_warning, warnings),
            *(_warning(placed(p)) if of is None else _warning(p, of) for p, of in own),
        ],
        "not_reached": not_reached,
        "stand_ins": sorted(set(found.stage.stand_ins.values())),
        "left_out": found.left_out,
        "summary": _summary(scenarios[1:]),
    }


def _summary(scenarios: Sequence[Json]) -> Json:
    return {
        "scenarios": len(scenarios),
        "by_status": dict(sorted(Counter(each["status"] for each in scenarios).items())),
        "need_an_operator": sum(each["ends"] == "operator" for each in scenarios),
        "leave_something_behind": sum(bool(each["left_behind"]) for each in scenarios),
        "never_end": sum(each["ends"] in ("waits", "endless") for each in scenarios),
    }


# One scenario -----------------------------------------------------------------------------------------------------------


def _scenario(course: Course, number: int, usual: Sequence[Choice]) -> Json:
    root = course.root
    why = root.cause.fault if root.cause is not None else root.fault
    told = {
        "number": number,
        "title": _title(course, usual if number else ()),
        "mishaps": [_mishap(course, each) for each in course.script.mishaps],
        "choices": [_choice(course.stage, each) for each in course.script.choices],
        "status": root.status,
        "ends": course.rest,
        "error": _error(why),
        "called": list(_called(course)),
        "undone": list(_undone(course)),
        "not_undone": list(_not_undone(course)),
        "left_behind": list(_left_behind(course)),
        "incidents": list(_incidents(course)),
        "assumed": [_assumed(course.stage, each) for each in dict.fromkeys(map(_Same, course.assumed))],
        "remark": course.endless or _waiting(course),
        "took_s": round((course.now - (root.started_at or course.now)).total_seconds(), 3),
    }
    course.forget()
    return told


class _Same:
    """Assumptions are the same when all but their values are, which need not be hashable."""

    def __init__(self, assumption: Any) -> None:
        self.of = assumption
        self._key = (assumption.digest, assumption.pointer, assumption.slot, assumption.why)

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self._key == other._key


def _title(course: Course, usual: Sequence[Choice]) -> str:
    """In words; the choices that the happy path is made of go without saying."""
    parts = []
    for mishap in course.script.mishaps:
        entry = _mishap(course, mishap)
        what = f"undo of {entry['undo_of']}" if entry["undo_of"] else entry["task"]
        if entry["undo_of"] and entry["task"] not in ("compensate", entry["undo_of"]):
            what = f"{entry['task']} ({what})"
        particular = f" with {mishap.fault.status} {mishap.fault.type.rpartition('/')[2]}" if mishap.fault else ""
        what += _which(course, mishap.place)
        turn = f" (run {entry['run']})" if entry["run"] > 1 else ""
        parts.append(f"{what}{turn} {_WORDS[mishap.outcome]}{particular}")
    ways = [_choice(course.stage, each)["text"] for each in course.script.choices if each not in usual]
    if not course.script.mishaps:
        return (
            ", where ".join(["everything succeeds", *ways]) if ways or not usual else "everything succeeds, as it comes"
        )
    return ", where ".join([", then ".join(parts), *ways])


def _which(course: Course, place: Place) -> str:
    """The reference, where another task of the definition has the same name."""
    digest, state = course.digests[place.orchestration], course.states[place.orchestration]
    if digest in course.stage.stand_ins:
        return ""
    pointer = (state.undoing(state.runs[place.run].scope) or place.run).rpartition("#")[0]
    nodes = course.stage.plan_of(digest).nodes
    others = any(node.name == nodes[pointer].name and node.pointer != pointer for node in nodes.values())
    return f" ({pointer})" if others else ""


def _mishap(course: Course, mishap: Mishap) -> Json:
    place = mishap.place
    entry = _entry(course, place.orchestration, place.run)
    state = course.states[place.orchestration]
    undone = state.undoing(state.runs[place.run].scope)
    return {
        **entry,
        "outcome": mishap.outcome,
        "error": _error(mishap.fault),
        "undo_of": _entry(course, place.orchestration, undone)["task"] if undone else None,
    }


def _choice(stage: Stage, choice: Choice) -> Json:
    node = stage.plan_of(choice.digest).nodes[choice.pointer]
    return {"task": node.name, "reference": choice.pointer, "text": _way(node, choice)}


def _way(node: Node, choice: Choice) -> str:
    if choice.kind == "if":
        return f"{node.name} is {'taken' if choice.value else 'skipped'} by its if"
    if choice.kind == "undo_if":
        return f"compensate.if of {node.name} is {'true' if choice.value else 'false'}"
    assert isinstance(node.work, Switch)
    return f"{node.name} takes {node.work.cases[choice.value].name if choice.value >= 0 else 'no case'}"


def _entry(course: Course, id_: str, run: str) -> Json:
    """How a run is told: the callout that plays a child stands for the task that runs the child."""
    state = course.states[id_]
    if course.digests[id_] in course.stage.stand_ins and state.parent is not None:
        return _entry(course, *state.parent)
    found = state.runs[run]
    entry: Json = {"task": found.name, "reference": found.pointer, "run": found.number}
    return entry if id_ == ROOT_ID else entry | {"definition": state.definition}


def _error(why: Fault | None) -> Json | None:
    return None if why is None else {name: value for name, value in why.as_json().items() if name != "response"}


def _called(course: Course) -> Iterator[Json]:
    """Every callout in the order of its first attempt."""
    attempts = Counter(
        Place(id_, event.run)
        for id_, event in course.log
        if isinstance(event, e.TaskAssigned) or (isinstance(event, e.AttemptStarted) and event.child is None)
    )
    for place, count in attempts.items():
        state = course.states[place.orchestration]
        run = state.runs[place.run]
        undone = state.undoing(run.scope)
        undo_of = _entry(course, place.orchestration, undone)["task"] if undone else None
        entry = _entry(course, place.orchestration, place.run)
        yield {**entry, "attempts": count, "outcome": _outcome(course, place, run), "undo_of": undo_of}


def _outcome(course: Course, place: Place, run: Run) -> str:
    mishap = course.script.mishap(place)
    if mishap is not None:
        return mishap.outcome
    return "completed" if run.effect == "completed" else "given_up"


def _undone(course: Course) -> Iterator[Json]:
    for id_, event in course.log:
        if isinstance(event, e.UndoCompleted) and course.digests[id_] not in course.stage.stand_ins:
            yield _entry(course, id_, event.run)


def _own(course: Course) -> Iterator[tuple[str, State]]:
    return ((id_, s) for id_, s in course.states.items() if course.digests[id_] not in course.stage.stand_ins)


def _not_undone(course: Course) -> Iterator[Json]:
    """What the plans still hold when the course has come to rest."""
    for id_, state in course.states.items():
        for rollback in state.rollbacks.values() if not state.final else ():
            if rollback.id and state.rolling_back and "" in state.rollbacks:
                continue  # the rollback of the whole has taken over
            for undo, ended in zip(rollback.steps, rollback.ended, strict=True):
                if ended is None:
                    tried = state.runs[undo.run].undo.number > 0
                    why = (
                        "its undo has not succeeded"
                        if tried
                        else "its turn does not come before an operator has decided"
                    )
                    yield {**_entry(course, id_, undo.run), "why": why}


def _left_behind(course: Course) -> Iterator[Json]:
    for id_, state in _own(course):
        told: set[str] = set()
        for rollback in state.rollbacks.values():
            for left in rollback.left_behind:
                if left.run not in told and state.runs[left.run].undo.status != "completed":
                    told.add(left.run)
                    yield {**_entry(course, id_, left.run), "why": left.why}


def _incidents(course: Course) -> Iterator[Json]:
    for id_, state in course.states.items():
        for incident in state.open_incidents():
            place = _entry(course, id_, incident.run) if incident.run else {"task": None, "reference": None, "run": 1}
            yield {**place, "kind": incident.kind, "error": _error(incident.fault), "actions": list(incident.actions)}


def _assumed(stage: Stage, same: _Same) -> Json:
    assumption = same.of
    plan = stage.plan_of(assumption.digest)
    node = plan.nodes.get(assumption.pointer)
    return {
        "task": node.name if node else None,
        "reference": assumption.pointer,
        "part": assumption.slot,
        "value": assumption.value,
        "why": assumption.why,
    }


def _waiting(course: Course) -> str | None:
    """What never comes, when the course rests without an end."""
    if course.rest != "waits":
        return None
    names = [
        state.runs[run].name
        for state in course.states.values()
        for run in state.open
        if state.runs[run].listening or state.runs[run].awaits_person
    ]
    return f"{', '.join(names) or 'it'} waits for ever: no timeout ends it"


def _warning(problem: Problem, of: str | None = None) -> Json:
    told = {name: getattr(problem, name) for name in ("code", "detail", "pointer", "line", "column")}
    return told if of is None else told | {"definition": of}
