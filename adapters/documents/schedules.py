"""``schedule``: when a definition starts by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

from adapters.cron import cron_problem, zone_problem
from adapters.documents.events import strategy
from adapters.documents.policies import duration
from adapters.documents.reader import Cursor
from domain.expressions import Expression
from domain.schedule import Schedule

_MOST: Final = 1_000
"""Missed occurrences that are made up at most."""


def schedule(cursor: Cursor) -> Schedule:
    """One of ``every``, ``cron``, ``after``, ``on``; with it ``timezone``, ``overlap`` and ``catch_up``, our own."""
    found = cursor.members((*_KINDS, "timezone", "overlap", "catch_up"))
    kinds = [name for name in _KINDS if name in found]
    if isinstance(cursor.value, dict) and len(kinds) != 1:
        cursor.refuse("expected exactly one of every, cron, after, on")
    made: dict[str, Any] = {}
    for name in kinds:
        field, read = _KINDS[name]
        made[field] = read(found[name])
    if "timezone" in found:
        made["timezone"] = _zone(found["timezone"], goes_with_it="cron" in found)
    if "overlap" in found:
        made["overlap"] = cast(Any, found["overlap"].choice("skip", "queue", "allow"))
    if "catch_up" in found:
        made["catch_up"] = _catch_up(found["catch_up"], overlap=made.get("overlap", "skip"))
    for name in ("overlap", "catch_up"):
        if name in found and "after" in found:
            found[name].refuse(f"`{name}` does not go with `after`: the next run waits for the end of the last")
        elif name in found and "on" in found:
            found[name].refuse(f"`{name}` does not go with `on`: each event starts one, and none is missed")
    return Schedule(**made)


def _events(cursor: Cursor) -> tuple[dict[str, Any], ...]:
    """``one`` or ``any``, by literal attributes: before it starts there is no data for expressions."""
    for name in ("all", "until"):
        if isinstance(cursor.value, dict) and name in cursor.value:
            cursor.step(name).refuse(f"`{name}` is not supported in schedule.on: each event starts one", "unsupported")
            return ()
    found = strategy(cursor)
    for number, item in enumerate(found.filters):
        place = cursor.step("one") if found.mode == "one" else cursor.step(found.mode).step(number)
        if item.correlate:
            place.step("correlate").refuse(
                "`correlate` is not supported in schedule.on: there is nothing yet to agree with", "unsupported"
            )
        for name, value in item.attributes:
            if isinstance(value, Expression):
                place.step("with").step(name).refuse(
                    f"the attribute {name!r} cannot be an expression in schedule.on: there is no data yet",
                    "unsupported",
                )
    if found.mode == "any" and not found.filters:
        return ({},)
    return tuple(dict(item.attributes) for item in found.filters)


def _seconds(cursor: Cursor) -> float:
    found = duration(cursor)
    if found.expression is not None:
        cursor.refuse("the duration of a schedule cannot be an expression: there is no data yet", "unsupported")
    elif found.seconds < 1:
        cursor.refuse("expected at least one second")
    return max(found.seconds, 1.0)


def _cron(cursor: Cursor) -> str:
    text = cursor.text("a cron expression, e.g. '0 3 * * *'")
    if text and (problem := cron_problem(text)) is not None:
        cursor.refuse(problem)
    return text


def _zone(cursor: Cursor, *, goes_with_it: bool) -> str:
    text = cursor.text("a time zone, e.g. Europe/Berlin")
    if text and (problem := zone_problem(text)) is not None:
        cursor.refuse(problem)
    elif not goes_with_it:
        cursor.refuse("`timezone` goes with `cron` only; durations know no time zone")
    return text


def _catch_up(cursor: Cursor, *, overlap: str) -> int:
    words = {"none": 0, "latest": 1, "all": _MOST}
    count = words[cursor.choice(*words)] if isinstance(cursor.value, str) else cursor.integer(1, _MOST)
    if count > 1 and overlap != "allow":
        cursor.refuse("several missed occurrences start at the same moment, which needs `overlap: allow`")
    return count


_KINDS: Final[dict[str, tuple[str, Callable[[Cursor], Any]]]] = {
    "every": ("every_s", _seconds),
    "cron": ("cron", _cron),
    "after": ("after_s", _seconds),
    "on": ("on", _events),
}
