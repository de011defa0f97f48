"""The order of event streams: where an event stands in its stream, and whether its turn has come.

A definition names streams: events with certain attributes, each of which has a number (``docs/sequence.md``). An event is
offered only when all with lower numbers have come or were given up; until then it is parked. An orchestration takes every
event of its streams, also when none of its tasks waits for it yet, or nobody could tell what is missing. An event belongs to
the first stream that wants it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from domain import events as e
from domain.commands import ReceiveEvent
from domain.data import Env, evaluate, same
from domain.decision import Decision, Strand
from domain.errors import InvalidInputError, OverloadedError, Problem
from domain.expressions import Evaluated, Expression
from domain.plan import EventFilter, EventStream, Listen
from domain.state import ROOT
from domain.state_streams import text_of

Key = str | int | bool | None
Turn = Literal["next", "parked", "duplicate", "late"]
_DIGITS: Final = re.compile(r"-?[0-9]{1,16}\Z")
_LARGEST: Final = 2**53 - 1
"""JSON numbers beyond it are not the same everywhere."""
_LONGEST_KEY: Final = 1024


class Place(msgspec.Struct, frozen=True):
    """Where an event stands: its number in the order of a key in a stream."""

    stream: EventStream
    key: Key
    number: int


def open_streams(d: Decision) -> None:
    """At the start: before anything waits for an event."""
    for stream in d.plan.streams.values():
        d.emit(e.StreamOpened, stream=stream.name, type=stream.event_type, first=stream.first)


def place_of(d: Decision, event: dict[str, Any]) -> Strand:
    """The `Place` of an event, None when it belongs to no stream. Raises InvalidInputError when it belongs to one and says
    nothing, or nothing of use, of its place there.
    """
    for stream in d.plan.streams.values():
        if stream.name in d.state.streams and (yield from _belongs(d, stream, event)):
            return (yield from _placed(d, stream, event))
    return None


def _belongs(d: Decision, stream: EventStream, event: dict[str, Any]) -> Strand:
    conditions: list[tuple[Expression, Any]] = []
    for name, wanted in stream.attributes:
        if isinstance(wanted, Expression):
            conditions.append((wanted, event.get(name)))
        elif not same(event.get(name), wanted):
            return False
    results = yield from evaluate(conditions, _env(d, stream), "streams.with")
    return all(map(_true, results))


def _placed(d: Decision, stream: EventStream, event: dict[str, Any]) -> Strand:
    asked = [(each, event) for each in (stream.by, stream.per) if each is not None]
    results = yield from evaluate(asked, _env(d, stream), "streams.order")
    values = [found.value if isinstance(found, Evaluated) else None for found in results]
    number = _number(values[0] if stream.by is not None else event.get(stream.attribute))
    if number is None:
        where = "" if stream.by is not None else f"/{stream.attribute}"
        detail = f"it belongs to the stream {stream.name}, and says no number there: an integer, or its digits"
        raise InvalidInputError([Problem(where, detail, "no-number")], "This event cannot be put in order.")
    if stream.per is None:
        return Place(stream, None, number)
    key = _key(values[-1])
    if key is None:
        detail = f"it belongs to the stream {stream.name}, and does not say to which of its orders (`per`)"
        raise InvalidInputError([Problem("", detail, "no-key")], "This event cannot be put in order.")
    return Place(stream, key, number)


def _env(d: Decision, stream: EventStream) -> Env:
    env = Env(d, ROOT, stream.pointer)
    env.extra["input"] = d.state.scopes[ROOT].input
    return env


def _true(result: object) -> bool:
    return isinstance(result, Evaluated) and result.value is not None and result.value is not False


def _number(value: Any) -> int | None:
    if isinstance(value, str) and _DIGITS.match(value):
        value = int(value)
    value = _whole(value)
    ok = isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST
    return value if ok else None


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _key(value: Any) -> Key:
    value = _whole(value)
    if isinstance(value, int):
        return value if abs(value) <= _LARGEST else None
    return value if isinstance(value, str) and len(value) <= _LONGEST_KEY else None


# Its turn -------------------------------------------------------------------------------------------------------------


def turn_of(d: Decision, place: Place) -> Turn:
    """Whether the turn of a number is now, is to come, was taken by another event, or is over."""
    order = d.state.streams[place.stream.name].order(place.key)
    if place.number == order.next:
        return "next"
    if place.number > order.next:
        return "duplicate" if place.number in order.parked else "parked"
    skipped = any(first <= place.number <= last for first, last in order.skipped)
    return "late" if skipped or place.number < place.stream.first else "duplicate"


def gap_at(d: Decision, place: Place, turn: Turn) -> datetime | None:
    """When the gap that there is with this event has lasted too long: one that was there goes on, a new one begins now."""
    stream = d.state.streams[place.stream.name]
    order = stream.order(place.key)
    begins = None if place.stream.gap_s is None else d.in_s(place.stream.gap_s)
    if turn == "parked":
        return stream.gaps.get(text_of(place.key)) or begins
    number, left = place.number + 1, len(order.parked)
    while number in order.parked:
        number, left = number + 1, left - 1
    return begins if left else None


def room(d: Decision, place: Place | None) -> int:
    """How many events may be kept when another comes that nobody takes. It frees what is parked behind it, so what closes
    a gap has as much room again: it must not be turned away for those that wait for it.
    """
    closes = place is not None and d.state.streams[place.stream.name].order(place.key).parked
    return d.limits.max_held * (2 if closes else 1)


def out_of_turn(d: Decision, command: ReceiveEvent, place: Place, turn: Turn) -> None:
    """Record an event that is not offered now, or never. Raises OverloadedError when no more can be parked."""
    waiting = len(d.state.held) + d.state.parked
    if turn == "parked" and waiting >= d.limits.max_held:
        why = f"{waiting} events wait for it already, and this one comes before its turn"
        raise OverloadedError(f"{why}; send it again when those before it have come")
    at = gap_at(d, place, turn) if turn == "parked" else None
    received(d, command, turn, place, at)


def received(d: Decision, command: ReceiveEvent, outcome: str, place: Place | None, at: datetime | None = None) -> None:
    """Record the arrival of an event."""
    event = command.event
    told: dict[str, Any] = {}
    if place is not None:
        told = {"stream": place.stream.name, "number": place.number, "per": place.key, "gap_at": at}
    members = {"source": event["source"], "id": event["id"], "digest": command.digest, "event": event}
    d.emit(e.EventReceived, **members, outcome=outcome, **told)


def repeated(d: Decision, command: ReceiveEvent) -> Strand:
    """An event with the source and id of one before: recorded where order matters, though not without end."""
    state = d.state
    if not state.streams or state.final or state.repeats >= d.limits.max_held:
        return
    try:
        place = yield from place_of(d, command.event)
    except InvalidInputError:
        return
    if place is not None:
        received(d, command, "duplicate", place)


# Who waits for a stream ---------------------------------------------------------------------------------------------------


def concerning(d: Decision, work: Listen, names: Sequence[str]) -> Strand:
    """Those among these streams of whose events a listen may take some, as far as its literals tell."""
    filters = list(work.to.filters or (EventFilter(),))
    if work.to.until_events is not None:
        filters += work.to.until_events.filters or (EventFilter(),)
    found: list[str] = []
    for name in names:
        if (stream := d.plan.streams.get(name)) is None:
            continue
        for each in filters:
            if (yield from _overlap(d, stream, dict(each.attributes))):
                found.append(name)
                break
    return tuple(found)


def _overlap(d: Decision, stream: EventStream, given: dict[str, Any]) -> Strand:
    conditions: list[tuple[Expression, Any]] = []
    for name, wanted in stream.attributes:
        if name not in given or isinstance(given[name], Expression):
            continue
        if isinstance(wanted, Expression):
            conditions.append((wanted, given[name]))
        elif not same(wanted, given[name]):
            return False
    results = yield from evaluate(conditions, _env(d, stream), "streams.listen")
    return all(map(_true, results))
