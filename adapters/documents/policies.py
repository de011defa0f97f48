"""Durations, timeouts, retry policies and errors: the parts that `use` gives names to.

Years and months have no fixed length and are refused. ``limit.attempt.count`` counts retries after the first attempt.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from adapters.documents.data import expression, template
from adapters.documents.reader import Cursor
from domain.expressions import is_wrapped
from domain.plan import Duration, Retry, Template

_UNITS = {"days": 86_400.0, "hours": 3_600.0, "minutes": 60.0, "seconds": 1.0, "milliseconds": 0.001}
_ISO = re.compile(
    r"P(?!\Z)(?P<years>\d+(?:\.\d+)?Y)?(?P<months>\d+(?:\.\d+)?M)?(?P<weeks>\d+(?:\.\d+)?W)?(?P<days>\d+(?:\.\d+)?D)?"
    r"(?:T(?=\d)(?P<hours>\d+(?:\.\d+)?H)?(?P<minutes>\d+(?:\.\d+)?M)?(?P<seconds>\d+(?:\.\d+)?S)?)?\Z",
    re.ASCII,
)
_ISO_UNITS = {"weeks": 604_800.0, "days": 86_400.0, "hours": 3_600.0, "minutes": 60.0, "seconds": 1.0}
_LONGEST_S = 100 * 366 * 86_400.0
_MOST_RETRIES = 1_000_000
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:\S+\Z")
_POINTER = re.compile(r"(/[^\s]*)?\Z")
_ERROR_MEMBERS = ("type", "status", "title", "detail", "instance")

UNDO_RETRY = Retry(on="doubt", delay=Duration(1.0), backoff="exponential", factor=2.0, max_delay_s=60.0, max_retries=10)
"""How an undo is retried when nothing else is said (rollback.md)."""


def duration(cursor: Cursor) -> Duration:
    """An object of units, an ISO 8601 duration, or ``${ ... }`` that gives one of them."""
    if isinstance(cursor.value, str):
        if is_wrapped(cursor.value):
            return Duration(expression=expression(cursor))
        return _bounded(cursor, _iso_seconds(cursor))
    if not cursor.is_object():
        return Duration()
    if not cursor.value:
        cursor.refuse("a duration needs at least one of days, hours, minutes, seconds, milliseconds", "missing")
    units = cursor.members(_UNITS)
    return _bounded(cursor, sum(_UNITS[name] * unit.integer(0, 2**53) for name, unit in units.items()))


def _iso_seconds(cursor: Cursor) -> float:
    found = _ISO.match(cursor.value)
    if found is None:
        cursor.refuse(f"{cursor.value!r:.60} is not a duration: expected ISO 8601 (PT30S), or an object of units")
        return 0.0
    if found["years"] or found["months"]:
        cursor.refuse("years and months have no fixed length; use weeks, days or smaller units", "unsupported")
        return 0.0
    return sum(float(found[name][:-1]) * seconds for name, seconds in _ISO_UNITS.items() if found[name])


def _bounded(cursor: Cursor, seconds: float) -> Duration:
    if seconds > _LONGEST_S:
        cursor.refuse("a duration is at most 100 years")
        return Duration()
    return Duration(seconds)


def timeout(cursor: Cursor) -> Duration:
    """``{after: duration}``."""
    found = cursor.members(("after",), ("after",))
    return duration(found["after"]) if "after" in found else Duration()


def retry(cursor: Cursor, on: Literal["caught", "transient", "doubt"]) -> Retry:
    """A retry policy; `on` says what it is asked for."""
    found = cursor.members(("when", "exceptWhen", "delay", "backoff", "limit", "jitter"))
    numbers: dict[str, Any] = {}
    if "when" in found:
        numbers["when"] = expression(found["when"])
    if "exceptWhen" in found:
        numbers["except_when"] = expression(found["exceptWhen"])
    if "delay" in found:
        numbers["delay"] = duration(found["delay"])
    if "backoff" in found:
        numbers |= _backoff(found["backoff"])
    if "limit" in found:
        numbers |= _limit(found["limit"])
    if "jitter" in found:
        ends = found["jitter"].members(("from", "to"), ("from", "to"))
        if len(ends) == 2:
            low, high = duration(ends["from"]), duration(ends["to"])
            numbers |= {"jitter_from": low, "jitter_to": high}
            if not low.expression and not high.expression and low.seconds > high.seconds:
                ends["from"].refuse("the jitter's `from` is longer than its `to`")
    return Retry(on=on, **numbers)


def _backoff(cursor: Cursor) -> dict[str, Any]:
    kinds = cursor.members(("constant", "linear", "exponential"))
    if len(kinds) != 1:
        cursor.refuse("expected exactly one of constant, linear, exponential")
        return {}
    kind, parameters = next(iter(kinds.items()))
    known = {"constant": (), "linear": ("maxDelay",), "exponential": ("factor", "maxDelay")}[kind]
    found = parameters.members(known)
    numbers: dict[str, Any] = {"backoff": kind}
    if "factor" in found:
        factor = found["factor"].value
        if isinstance(factor, bool) or not isinstance(factor, int | float) or not 1 <= factor <= 1_000:
            found["factor"].refuse("expected a number from 1 to 1000")
        else:
            numbers["factor"] = float(factor)
    if "maxDelay" in found:
        longest = duration(found["maxDelay"])
        if longest.expression:
            found["maxDelay"].refuse("the longest delay cannot be an expression", "unsupported")
        numbers["max_delay_s"] = longest.seconds
    return numbers


def _limit(cursor: Cursor) -> dict[str, Any]:
    found = cursor.members(("attempt", "duration"))
    numbers: dict[str, Any] = {}
    if "duration" in found:
        numbers["max_duration"] = duration(found["duration"])
    if "attempt" in found:
        attempt = found["attempt"].members(("count", "duration"))
        if "count" in attempt:
            numbers["max_retries"] = attempt["count"].integer(0, _MOST_RETRIES)
        if "duration" in attempt:
            numbers["attempt_timeout"] = duration(attempt["duration"])
    return numbers


def error(cursor: Cursor) -> Template:
    """An error to raise: RFC 9457 members, each a literal or an expression."""
    found = cursor.members(_ERROR_MEMBERS, ("type", "status"))
    for name, member in found.items():
        if isinstance(member.value, str) and is_wrapped(member.value):
            continue
        if name == "status":
            member.integer(100, 599)
        elif name == "type":
            member.text("an absolute URI", _URI)
        elif name == "instance":
            member.text("a JSON Pointer", _POINTER)
        elif not isinstance(member.value, str):
            member.text()
    return template(cursor)


def error_filter(cursor: Cursor) -> tuple[tuple[str, Template], ...]:
    """``catch.errors.with``: members an error must have; ``details`` means ``detail``."""
    found = cursor.members((*_ERROR_MEMBERS, "details"))
    if not found and isinstance(cursor.value, dict) and not cursor.value:
        cursor.refuse("expected at least one of type, status, title, detail, instance", "missing")
    if "detail" in found and "details" in found:
        found["details"].refuse("`details` is another name of `detail`; use one")
    for name, member in found.items():
        if not (isinstance(member.value, str) and is_wrapped(member.value)):
            member.integer(100, 599) if name == "status" else member.text()
    return tuple(("detail" if name == "details" else name, template(member)) for name, member in found.items())
