"""The words of a replay: what led to a decision, and what an event says, as lines for people."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from adapters.cli.output import compact, moment
from adapters.cli.views_status import fault, name_of

_LONGEST = 100
_INTERNAL = frozenset(
    {"scope", "name", "kind", "after", "to", "passed_over", "effectful", "undoable", "key", "id", "deferred", "callout"}
    | {"function", "timeout_s", "compensates", "arguments", "rollback", "pointer", "slot", "run", "settle_at", "digest"}
)
_NOTHING: tuple[Any, ...] = (None, False, "", [], {})
_EFFECTS = {
    "none": "",
    "failed": "it had no effect",
    "uncertain": "nobody knows whether it took effect",
    "completed": "it took effect",
}
_TIMES = {"due_at": "until", "retry_at": "again at", "timeout_at": "until", "gap_at": "the gap lasts until"}


def run_name(run: str | None) -> str:
    """The same of a run, ``<pointer>#<number>``."""
    pointer, _, number = (run or "").rpartition("#")
    return name_of(pointer, int(number) if number.isdecimal() else 1)


# What was asked -------------------------------------------------------------------------------------------------------


def asked(command: Mapping[str, Any]) -> str:
    """What led to a decision, in one sentence."""
    actor, reason = command.get("actor") or "somebody", command.get("reason")
    why = f": {reason}" if reason else ""
    match command["command"]:
        case "start":
            return f"{actor} started it" if command.get("actor") else "it was started"
        case "fork":
            origin = command["origin"]
            return f"{actor} forked it from {origin['id']} at version {origin['version']}{why}"
        case "migrate":
            return f"{actor} moved it to another version of its definition{why}"
        case "result":
            return _answered(command)
        case "callback":
            return _called_back(command)
        case "timers":
            return "a timer was due"
        case "event":
            event = command["event"]
            return f"the event {event.get('type')} came from {event.get('source')}"
        case "cancel":
            return f"{actor} asked to cancel it{', past the pivot too' if command.get('override_pivot') else ''}{why}"
        case "terminate" | "suspend" | "resume" as verb:
            return f"{actor} asked to {verb} it{why}"
        case "resolve":
            return f"{actor} resolved incident {command['number']} by {command['action']}{why}"
        case "claim" | "release" | "answer" | "reassign":
            return _person(command, actor) + why
        case "note":
            return f"{actor} noted: {command['text']}"
        case "poison":
            return f"a command could not be decided: {command['detail']}"
        case "child":
            return _child(command)
        case "undo":
            return f"its parent asked it to undo itself{_colon(command.get('fault'))}"
        case "unknown":
            return "what led to this was not recorded"
    return f"{actor} asked for: {command['command']}{why}"


def _answered(command: Mapping[str, Any]) -> str:
    task, why = run_name(command["run"]), _colon(command.get("fault"))
    number = command["number"]
    attempt = f" (attempt {number})" if number > 1 else ""
    match command["outcome"]:
        case "completed":
            return f"{task} answered{attempt}"
        case "refused":
            return f"{task} was refused{attempt}{why}"
        case "uncertain":
            return f"nobody knows whether {task} took effect{attempt}{why}"
    return f"{task} took effect{attempt}, but its answer cannot be used{why}"


def _called_back(command: Mapping[str, Any]) -> str:
    task, why = run_name(command["run"]), _colon(command.get("error"))
    match command["outcome"]:
        case "completed":
            return f"{task} was called back: it is done"
        case "refused":
            return f"{task} was called back: it failed{why}"
    return f"{task} was called back: nobody knows whether it took effect{why}"


def _person(command: Mapping[str, Any], actor: str) -> str:
    task, user = f"task {command['number']}", command.get("user")
    by = "" if user in (None, actor) else f", for {user}"
    match command["command"]:
        case "claim":
            return f"{actor} took {task}{by}"
        case "release":
            return f"{actor} gave {task} back{by}"
        case "reassign":
            return f"{actor} gave {task} to {command.get('assignee') or 'others'}"
    verb = "said no to" if command["outcome"] == "refused" else "answered"
    return f"{actor} {verb} {task}{by}{_colon(command.get('error'))}"


def _child(command: Mapping[str, Any]) -> str:
    child, why = command["child"], _colon(command.get("fault"))
    if command.get("undone"):
        return f"the child {child} could not undo itself{why}" if why else f"the child {child} has undone itself"
    return f"the child {child} ended as {command['status']}{why}"


def _colon(error: Mapping[str, Any] | None) -> str:
    text = _fault(error)
    return f": {text}" if text else ""


# What happened --------------------------------------------------------------------------------------------------------


def told(event: Mapping[str, Any]) -> tuple[str, str]:
    """What an event says beside its type: (the task that it is of, everything else)."""
    data = event.get("data") or {}
    return name_of(event.get("task"), event.get("run", 1)), _details(event["type"], data, event.get("attempt"))


def _details(type_: str, data: Mapping[str, Any], attempt: int | None) -> str:
    match type_:
        case "orchestration.started":
            return f"{data['definition']}  input {compact(data['input'], _LONGEST)}"
        case "orchestration.forked":
            origin = data["origin"]
            given = compact(data["input"], _LONGEST)
            return f"{data['definition']}, from {origin['id']} at version {origin['version']}  input {given}"
        case "orchestration.migrated":
            moves = ", ".join(f"{old} is {new}" for old, new in (data.get("moves") or {}).items())
            return f"to {data['definition']}" + (f"; {moves}" if moves else "")
        case "attempt.started":
            return (f"attempt {attempt}: " if attempt != 1 else "") + _call(data)
        case "task.assigned":
            return f"number {data['number']}, {_for(data.get('assignee'), data.get('candidates'))}: {data['title']}"
        case "task.reassigned":
            return f"{_for(data.get('assignee'), data.get('candidates'))}: {data['reason']}"
        case "task.escalated":
            return _escalated(data)
        case "attempt.failed":
            return f"attempt {attempt}: {_fault(data['fault'])}; again at {_time(data['retry_at'])}"
        case "compensation.completed":
            return "by hand" if data.get("by_hand") else ""
        case "rollback.started":
            return _cause(data["reason"])
        case "compensation.decided":
            return _plan(data)
        case "incident.raised":
            doubt = f": {_fault(data['fault'])}" if data.get("fault") else ""
            return (
                f"number {data['number']}, {data['kind']}{doubt}; an operator may {', '.join(data.get('actions', ()))}"
            )
        case "incident.resolved":
            return f"number {data['number']}, by {data['action']}{': ' + data['reason'] if data.get('reason') else ''}"
        case "scope.entered":
            return _scope(data)
        case "scope.completed" | "scope.closed" | "note.added" | "callback.awaited" | "callback.received":
            return ""  # what was asked says it, or there is nothing to say
    words = [_word(name, value) for name, value in data.items() if name not in _INTERNAL and value not in _NOTHING]
    return "; ".join(word for word in words if word)


def _for(assignee: str | None, candidates: Mapping[str, Any] | None) -> str:
    """Whom a task is for."""
    if assignee is not None:
        return f"for {assignee}"
    names = [*(candidates or {}).get("users", ()), *(candidates or {}).get("groups", ())]
    return f"for one of {', '.join(names)}" if names else "for anyone"


def _escalated(data: Mapping[str, Any]) -> str:
    told = [_for(None, data["candidates"])] if data.get("candidates") else []
    told += [f"priority {data['priority']}"] if data.get("priority") is not None else []
    told += ["a reminder is sent"] if data.get("event") else []
    return ", ".join(told)


def _fault(error: Mapping[str, Any] | None) -> str:
    """An error without its place, which the task tells."""
    return fault({name: value for name, value in (error or {}).items() if name != "instance"})


def _scope(data: Mapping[str, Any]) -> str:
    slot, owner = data["slot"], run_name(data["run"])
    if slot == "compensate":
        return name_of(data["pointer"])
    if slot.isdecimal():
        return f"{'branch' if '/fork/' in data['pointer'] else 'turn'} {int(slot) + 1} of {owner}"
    return f"{slot} of {owner}"


def _word(name: str, value: Any) -> str:
    if name == "fault":
        return _fault(value)
    if name == "effect":
        return _EFFECTS.get(value, f"effect {value}")
    if name == "event":
        return str(value.get("type"))
    if name == "result":
        return str(value.get("outcome"))
    if name in _TIMES:
        return f"{_TIMES[name]} {moment(value)}"
    if isinstance(value, str):
        return f"{name} {value}"
    return f"{name} {compact(value, _LONGEST)}"


def _call(data: Mapping[str, Any]) -> str:
    """What an attempt sends."""
    if data.get("child"):
        id_, definition, _ = data["child"]
        return f"starts the child {id_} ({definition})"
    arguments = _as_written(data.get("arguments"), data.get("deferred") or ())
    if data.get("callout") == "http" and isinstance(arguments, dict):
        endpoint = arguments.get("endpoint")
        address = endpoint.get("uri") if isinstance(endpoint, dict) else endpoint
        sent = "".join(f"  {compact(arguments[name], _LONGEST)}" for name in ("query", "body") if arguments.get(name))
        return f"{str(arguments.get('method')).upper()} {address}{sent}"
    return f"{data.get('function') or data.get('callout')}({compact(arguments, _LONGEST) if arguments else ''})"


def _as_written(arguments: Any, deferred: Iterable[Sequence[Any]]) -> Any:
    """Arguments with what is evaluated at each sending (secrets, the address of a callback) as its author wrote it."""
    arguments = copy.deepcopy(arguments)
    for path, program, *_ in deferred:
        if not path:
            return f"${{ {program} }}"
        place = arguments
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = f"${{ {program} }}"
    return arguments


def _cause(reason: Mapping[str, Any]) -> str:
    match reason["kind"]:
        case "cancel":
            return "it is cancelled" + (f": {reason['text']}" if reason.get("text") else "")
        case "timeout":
            return f"its time is over{' in ' + name_of(reason['task']) if reason.get('task') else ''}"
    return f"because of {name_of(reason.get('task')) or 'an error'}"


def _plan(data: Mapping[str, Any]) -> str:
    names = [run_name(step["run"]) for step in data["plan"]]
    in_turn = all(list(step.get("after", ())) == ([n - 1] if n else []) for n, step in enumerate(data["plan"]))
    plan = (", then " if in_turn else ", ").join(names)
    left = [f"{run_name(each['run'])} ({each['why']})" for each in data.get("left_behind", ())]
    return (f"undo {plan}" if plan else "nothing to undo") + (f"; leave {', '.join(left)}" if left else "")


def _time(at: str) -> str:
    return moment(at)[11:]
