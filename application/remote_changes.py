"""How the rows of remote work change with the events of a commit: an attempt comes, is given up, and ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from application.live import Live
from application.storage import EndTask, GiveUpTask, HoldTask, PutTask, WorkChange
from domain import events as e
from domain.errors import Fault, fault
from domain.remote import Attempt, Unwanted, is_remote, may_unwant, unwanted

Known = Callable[[str], bool]
"""Whether a function of this name is in the process."""

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder().decode


def packed(outcome: str, *, why: Fault | None = None, **members: Any) -> bytes:
    """The bytes of a report: the members of a `ReportResult` beside run and number."""
    found = {"outcome": outcome, **{name: value for name, value in members.items() if value is not None}}
    if why is not None:
        found["fault"] = msgspec.to_builtins(why)
    return _encode(found)


def unpacked(report: bytes) -> dict[str, Any]:
    """The members again."""
    members: dict[str, Any] = _decode(report)
    if "fault" in members:
        members["fault"] = msgspec.convert(members["fault"], Fault)
    return members


_UNSENT: Final = packed("unsent", why=fault("cancelled", "dropped before a worker had claimed it"))
_HOLDS: Final = (e.OrchestrationSuspended, e.OrchestrationResumed)
_LOST: Final = packed("uncertain", why=fault("cancelled", "cut off while a worker had it"))


def task_changes(live: Live, events: list[e.Event], known: Known) -> list[WorkChange]:
    """What these events change; from here on `live` tells what the rows will say."""
    if not live.remote:
        started = any(type(event) is e.AttemptStarted and event.child is None for event in events)
        if not started:
            return []
    changes = _begun(live, events, known)
    if live.remote:
        if any(type(event) in _HOLDS for event in events):
            held = live.state.suspended
            changes += [HoldTask(live.orchestration, *attempt, held) for attempt in live.remote]
        changes += _given_up(live, events) + _ended(live, events)
    return changes


def _begun(live: Live, events: list[e.Event], known: Known) -> list[WorkChange]:
    state, changes = live.state, []
    for event in events:
        if type(event) is not e.AttemptStarted or event.callout != "function" or known(event.function):
            continue
        run = state.runs[event.run]
        if run.attempts == event.number and is_remote(state, run, known):
            live.remote.add((event.run, event.number))
            changes.append(put_task(live, event))
    return changes  # type: ignore[return-value]


def put_task(live: Live, event: e.AttemptStarted) -> PutTask:
    """The row of an attempt."""
    definition = live.state.definition.partition("@")[0]
    timeout_us = int(event.timeout_s * 1_000_000)
    held = live.state.suspended
    return PutTask(live.orchestration, event.run, event.number, event.function, definition, timeout_us, event.at, held)


def attempts_again(live: Live) -> list[WorkChange]:
    """What the rows of all attempts should say, where some may be missing."""
    changes: list[WorkChange] = []
    for name, number in sorted(live.remote):
        run = live.state.runs[name]
        if run.request is not None:
            put = put_task(live, run.request)
            changes.append(msgspec.structs.replace(put, begun=True))  # else it has a row already
            if (how := unwanted(live.state, run)) is not None:
                changes.append(_give_up(live, (name, number), how))
    return changes


def _given_up(live: Live, events: list[e.Event]) -> list[WorkChange]:
    changes: list[WorkChange] = []
    if not may_unwant(live.state, events):
        return changes
    for attempt in live.remote - live.unwanted:
        run = live.state.runs[attempt[0]]
        how = unwanted(live.state, run) if run.flying and run.attempts == attempt[1] else None
        if how is not None:
            changes.append(_give_up(live, attempt, how))
        if how == "claimed":
            live.unwanted.add(attempt)
    return changes


def _give_up(live: Live, attempt: Attempt, how: Unwanted) -> GiveUpTask:
    return GiveUpTask(live.orchestration, *attempt, _UNSENT, _LOST if how == "claimed" else None)


def _ended(live: Live, events: list[e.Event]) -> list[WorkChange]:
    touched = live.remote
    if not live.state.final:
        names = {event.run for event in events if isinstance(event, e.RunEvent)}
        touched = {attempt for attempt in live.remote if attempt[0] in names}
    changes: list[WorkChange] = []
    for attempt in sorted(touched):
        run = live.state.runs[attempt[0]]
        if not run.flying or run.attempts != attempt[1]:
            if (
                live.state.status == "terminated"
            ):  # its history has not heard yet of what is reported, nor that it never began
                changes.append(_give_up(live, attempt, "claimed"))
            else:
                changes.append(EndTask(live.orchestration, *attempt, events[-1].at))
            live.remote.discard(attempt)
            live.unwanted.discard(attempt)
    return changes
