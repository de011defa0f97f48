"""How the feed and the record of accesses look on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from adapters.cli.output import compact, moment, table

if TYPE_CHECKING:
    from rich.console import RenderableType

_ACCESSES = [("AT (UTC)", "whole"), ("WHO", "free"), ("WHAT", "whole"), ("EVENTS", "right"), ("OF", "free")]
_STEPS = {"read": "", "began": " began", "ended": " ended"}


def feed_line(event: Mapping[str, Any]) -> str:
    """One event: when, whose, what, and why."""
    cause = event.get("cause") or {}
    parts = [
        moment(event["at"]) or "(unreadable)       ",
        event["orchestration"] or "(unknown)",
        event["type"],
        event.get("task") or "",
        f"attempt {event['attempt']}" if event.get("attempt") else "",
        f"by {event['actor']}" if event.get("actor") and not event.get("task") else "",
        f"({event['reason']})" if event.get("reason") else "",
        f"[{cause['request']}]" if cause.get("request") else "",
    ]
    return "  ".join(part for part in parts if part)


def accesses_view(found: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Accesses, one a line."""
    if not found:
        return "Nothing was read."
    rows = [
        [moment(each["at"]), each["actor"], each["what"] + _STEPS[each["step"]], each["events"], _of(each)]
        for each in found
    ]
    return table(_ACCESSES, rows)


def _of(access: Mapping[str, Any]) -> str:
    told = " ".join(f"{name}={compact(value, 40)}" for name, value in access["filters"].items())
    return " ".join(part for part in (access["orchestration"], told) if part)
