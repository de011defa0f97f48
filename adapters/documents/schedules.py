"""``schedule``: when a definition starts by itself."""

from __future__ import annotations

from typing import Any, Final, cast

from adapters.cron import cron_problem, zone_problem
from adapters.documents.policies import duration
from adapters.documents.reader import Cursor
from domain.schedule import Schedule

_KINDS: Final = ("every", "cron", "after")
_MOST: Final = 1_000
"""Missed occurrences that are made up at most."""


def schedule(cursor: Cursor) -> Schedule:
    """One of ``every``, ``cron``, ``after``; with it ``timezone``, ``overlap`` and ``catch_up``, which are our own."""
    found = cursor.members((*_KINDS, "on", "timezone", "overlap", "catch_up"))
    if "on" in found:
        found["on"].refuse("`schedule.on` is not supported; let a definition `listen` instead", "unsupported")
    kinds = [name for name in _KINDS if name in found]
    if isinstance(cursor.value, dict) and "on" not in found and len(kinds) != 1:
        cursor.refuse("expected exactly one of every, cron, after")
    made: dict[str, Any] = {}
    for name in kinds:
        made["cron" if name == "cron" else f"{name}_s"] = _cron(found[name]) if name == "cron" else _seconds(found[name])
    if "timezone" in found:
        made["timezone"] = _zone(found["timezone"], goes_with_it="cron" in found)
    if "overlap" in found:
        made["overlap"] = cast(Any, found["overlap"].choice("skip", "queue", "allow"))
    if "catch_up" in found:
        made["catch_up"] = _catch_up(found["catch_up"], overlap=made.get("overlap", "skip"))
    for name in ("overlap", "catch_up"):
        if name in found and "after" in found:
            found[name].refuse(f"`{name}` does not go with `after`: the next run waits for the end of the last")
    return Schedule(**made)


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
