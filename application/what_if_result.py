"""What is told of a course: as JSON for people and programs, and in short for a table over many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from application.history import event_json
from application.status import incident_entry
from application.what_if_course import Course, Heard, Left, outcome_of
from application.what_if_paths import differing
from application.what_if_record import Record, same_call
from domain import commands as c
from domain import events as e
from domain.state import State

Json = dict[str, Any]
Outcome = Literal["same", "other", "cannot_continue"]


class Verdict(msgspec.Struct, frozen=True):
    """`reason`: why, without ids and values, so that equal reasons can be counted; `why`: with them."""

    outcome: Outcome
    reason: str | None = None
    why: str | None = None


def verdict(course: Course) -> Verdict:
    """Whether the path is the same, another, or ends where nobody knows how it goes on."""
    if course.broken is not None:
        return Verdict("cannot_continue", course.broken, course.broken)
    if course.unknown:
        first = course.unknown[0]
        return Verdict("cannot_continue", first.reason, "; ".join(dict.fromkeys(each.why for each in course.unknown)))
    if course.left is None:
        return Verdict("same")
    parted = _parting(course)
    stuck, why = _at_rest(course)
    return Verdict("cannot_continue" if stuck else "other", why if stuck else parted, why)


def _at_rest(course: Course) -> tuple[bool, str | None]:
    """(whether only somebody who is not recorded could say how it goes on, why it is not at its end)."""
    state, ended = course.state, course.record.state.final
    if state.final:
        return False, None
    if incidents := state.open_incidents():
        names = [state.runs[each.run].name for each in incidents if each.run]
        return False, f"waits for an operator: {incidents[0].kind}{' of ' + names[0] if names else ''}"
    if state.suspended:
        return False, "is suspended"
    for name in state.open:
        run = state.runs[name]
        if run.flying:
            return ended, f"waits for the answer of {run.name}, which is not recorded{'' if ended else ' yet'}"
        if run.listening is not None and not run.listening.done:
            kinds = " or ".join(kind or "any type" for kind in run.listening.types)
            return ended, f"{run.name} waits for an event of {kinds}, which is not recorded{'' if ended else ' yet'}"
        if run.awaits_person:
            return ended, f"{run.name} waits for a person, whose answer is not recorded{'' if ended else ' yet'}"
    return True, "nothing is recorded that it could go on with"


def _parting(course: Course) -> str:
    """Where the paths part, in words without values."""
    assert course.left is not None
    recorded, instead = course.left.recorded, course.left.instead
    if members := _differs(course.left):
        assert instead is not None
        return f"{_words(course.state, instead)} with other {' and '.join(members)}"
    before = _words(course.record.state, recorded) if recorded is not None else "nothing"
    return f"{_words(course.state, instead) if instead is not None else 'nothing'} instead of {before}"


def _differs(left: Left) -> list[str]:
    """The members in which the same event of the same run differs."""
    recorded, instead = left.recorded, left.instead
    if recorded is None or instead is None or getattr(recorded, "run", None) != getattr(instead, "run", None):
        return []
    return differing(recorded, instead) or []


def _words(state: State, event: e.Event) -> str:
    run = state.runs.get(getattr(event, "run", None) or "")
    return f"{event.topic} of {run.name}" if run is not None else event.topic


# The whole ------------------------------------------------------------------------------------------------------------


def result(course: Course) -> Json:
    """Everything that is known of one course, and the same of the record beside it."""
    found, left = verdict(course), course.left
    repeats = course.expectations.repeats
    return {
        "id": course.record.state.id,
        "definition": course.plan.reference,
        "outcome": found.outcome,
        "same_calls": same_calls(course),
        "why": found.why,
        "leaves_at": None
        if left is None
        else {
            "version": left.version,
            "recorded": _event(left.recorded),
            "instead": _event(left.instead),
            "differs": _differs(left),
        },
        **_what_happened(course.state, course.events, course.heard, course.shared, repeats),
        "assumptions": list(course.assumptions),
        "recorded": {
            "definition": course.record.state.definition,
            "version": course.record.state.version,
            **_as_recorded(course.record),
        },
    }


def brief(course: Course) -> Json:
    """One line of a table over many."""
    found, left = verdict(course), course.left
    started = course.record.history[0]
    assert isinstance(started, e.OrchestrationStarted)
    return {
        "id": started.id,
        "definition": started.definition,
        "outcome": found.outcome,
        "same_calls": found.outcome == "same" or same_calls(course),
        "reason": found.reason,
        "why": found.why,
        "leaves_at": left.version if left else None,
        "status": course.state.status,
    }


def same_calls(course: Course) -> bool:
    """Whether everybody is asked for just what was recorded, in that order, and it ends as recorded: a path that nobody
    outside could tell from the recorded one.
    """
    here, there = (
        [each for each in events if isinstance(each, e.AttemptStarted)]
        for events in (course.events, course.record.history)
    )
    if len(here) != len(there) or not all(same_call(one, other) for one, other in zip(here, there, strict=True)):
        return False
    return _end(course.state) == _end(course.record.state)


def _end(state: State) -> tuple[Any, ...]:
    """How it ended, wherever in the document."""
    why = None if state.fault is None else msgspec.structs.replace(state.fault, instance=None)
    return state.status, state.output, why


def _event(event: e.Event | None) -> Json | None:
    return None if event is None else event_json(event)


def _as_recorded(record: Record) -> Json:
    return _what_happened(record.state, record.history, _heard(record), len(record.history), set())


def _heard(record: Record) -> dict[tuple[str, int], Heard]:
    """What was first heard of each recorded attempt."""
    found: dict[tuple[str, int], Heard] = {}
    sent = [each for each in record.history if isinstance(each, e.AttemptStarted)]
    numbers = {each.child[0]: (each.run, each.number) for each in sent if each.child}
    for _, command in record.commands:
        if isinstance(command, c.ReportResult):
            found.setdefault((command.run, command.number), Heard("record", outcome_of(command)))
        elif isinstance(command, c.ReportChild) and command.child in numbers:
            found.setdefault(numbers[command.child], Heard("record", outcome_of(command)))
    return found


def _what_happened(
    state: State,
    events: Sequence[e.Event],
    heard: Mapping[tuple[str, int], Heard],
    shared: int,
    repeats: set[tuple[str, int]],
) -> Json:
    return {
        "status": state.status,
        "output": state.output,
        "error": state.fault.as_json() if state.fault else None,
        "calls": [
            _call(state, each, heard, recorded=number < shared or (each.run, each.number) in repeats)
            for number, each in enumerate(events)
            if isinstance(each, e.AttemptStarted)
        ],
        "undone": [_place(state, each.run) for each in events if isinstance(each, e.UndoCompleted)],
        "left_behind": [
            {**_place(state, left.run), "why": left.why}
            for rollback in state.rollbacks.values()
            for left in rollback.left_behind
        ],
        "incidents": [incident_entry(state, each) for each in state.open_incidents()],
    }


def _call(state: State, event: e.AttemptStarted, heard: Mapping[tuple[str, int], Heard], *, recorded: bool) -> Json:
    """`answer_from`: record, change or assumption; null where there is no answer."""
    answer = heard.get((event.run, event.number))
    run = state.runs[event.run]
    undone = state.undoing(run.scope)
    arguments = event.arguments
    if isinstance(arguments, dict):
        arguments = {name: value for name, value in arguments.items() if name != "$input"}
    return {
        **_place(state, event.run),
        "attempt": event.number,
        "function": event.child[1] if event.child else event.function or event.callout,
        "arguments": arguments,
        "compensates": state.runs[undone].name if undone else None,
        "recorded": recorded,
        "outcome": answer.outcome if answer else None,
        "answer_from": answer.source if answer else None,
    }


def _place(state: State, name: str) -> Json:
    """A run; that of an undo under the name of what it undoes."""
    run = state.runs[name]
    undone = state.undoing(run.scope)
    shown = state.runs[undone].name if undone and run.name == "compensate" else run.name
    return {"task": shown, "reference": run.pointer, "run": run.number}
