"""How histories and plans of rollbacks look on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.text import Text

from adapters.cli.output import compact, moment, printable, table
from adapters.cli.views_status import fault

if TYPE_CHECKING:
    from rich.console import RenderableType

_EVENTS = [("NO", "right"), ("AT (UTC)", "whole"), ("EVENT", "whole"), ("WHAT", "free")]
_INTERNAL = frozenset({"scope", "name", "after", "to", "passed_over", "effectful", "undoable", "key", "id", "deferred"})
"""Members that only the machine needs; ``--output json`` has everything."""
_NOTHING: tuple[Any, ...] = (None, False, "", [], {})
_STEPS = [("NO", "right"), ("UNDO OF", "free"), ("RUN", "right"), ("OUTCOME", "whole"), ("IF", "free")]


def history_view(events: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Events, one a line."""
    if not events:
        return "No events."
    rows = [[each["version"], moment(each["at"])[11:], each["type"], _what(each)] for each in events]
    return Group(Text(f"began {moment(events[0]['at'])}"), table(_EVENTS, rows))


def event_line(event: Mapping[str, Any]) -> str:
    """One event of a history that is followed."""
    return f"{event['version']:>4}  {moment(event['at'])}  {event['type']}  {_what(event)}".rstrip()


def would_record(would: Mapping[str, Any]) -> str:
    """What a command would record."""
    events = [f"  {each['type']}  {_what(each)}".rstrip() for each in would["events"]]
    first = "Nothing would be recorded." if not events else f"At version {would['version']} these would be recorded:"
    return "\n".join([first, *events])


def plan_view(plan: Mapping[str, Any]) -> RenderableType:
    """What a cancel would undo, in order, and what it would leave."""
    rows = [
        [number, step["task"], step["run"], step["outcome"], _condition(step["condition"])]
        for number, step in enumerate(plan["steps"], start=1)
    ]
    parts: list[RenderableType] = [table(_STEPS, rows) if rows else Text("A cancel would undo nothing now.")]
    parts += [Text(printable(f"not undone: {left['task']} ({left['why']})")) for left in plan["not_undone"]]
    for part, what in (("steps", "steps"), ("not_undone", "that it would not undo")):
        if (hidden := plan.get(f"{part}_total", 0) - len(plan[part])) > 0:
            parts.append(Text(f"and {hidden} more {what}"))
    if plan["blocked_by_pivot"]:
        parts.append(Text("The point of no return is passed: a cancel needs --override-pivot."))
    return Group(*parts)


def _what(event: Mapping[str, Any]) -> str:
    run = f" #{event['run']}" if event.get("run", 1) != 1 else ""
    attempt = f" attempt {event['attempt']}" if event.get("attempt") else ""
    # Who asked matters for what was asked for; tasks only follow from it.
    actor = f" by {event['actor']}" if event.get("actor") and not event.get("task") else ""
    data = " ".join(
        f"{name}={_value(value)}"
        for name, value in (event.get("data") or {}).items()
        if name not in _INTERNAL and value not in _NOTHING
    )
    return f"{event.get('task', '')}{run}{attempt}{actor} {data}".strip()


def _value(value: Any) -> str:
    """An error as people read it, everything else as JSON that may be cut."""
    if isinstance(value, Mapping):
        if {"type", "status"} <= value.keys():
            return _quoted(fault(value))
        if isinstance(why := value.get("fault"), Mapping):
            return _quoted(f"{value.get('kind', 'error')}, {fault(why)}")
    return compact(value, 60)


def _quoted(text: str) -> str:
    return compact(text, 300)


def _condition(condition: Mapping[str, Any] | None) -> str:
    return "" if condition is None else f"{condition['expression']} is {compact(condition['result'], 40)}"
