"""`emit` and `listen`: CloudEvents out and in."""

from __future__ import annotations

import re
from typing import Any, cast

from adapters.documents.compilation import Compilation, Surroundings, Task
from adapters.documents.data import expression, template, transformation
from adapters.documents.reader import Cursor
from domain.expressions import Expression, is_wrapped
from domain.plan import Emit, EventFilter, Listen, Strategy, Template

_ATTRIBUTE = re.compile(r"[a-z0-9]+\Z")
_URI_REFERENCE = re.compile(r"\S+\Z")


def emit(task: Task) -> Emit:
    """``emit.event.with``: the attributes and data of the event; `source` and `type` are needed."""
    found = task.members["emit"].members(("event",), ("event",))
    event = found["event"].members(("with",), ("with",)) if "event" in found else {}
    if "with" not in event:
        return Emit(Template())
    given = event["with"]
    for name in ("source", "type"):
        if isinstance(given.value, dict) and name not in given.value:
            given.refuse(f"the member {name!r} is missing: an event that is emitted needs it", "missing")
    for name, attribute in given.entries():
        _attribute(name, attribute)
    return Emit(template(given))


def listen(task: Task) -> Listen:
    """``listen.to``, ``listen.read`` and ``foreach``."""
    found = task.members["listen"].members(("to", "read"), ("to",))
    to = strategy(found["to"]) if "to" in found else Strategy("one")
    read = found["read"].choice("data", "envelope", "raw") if "read" in found else "data"
    made: dict[str, Any] = {}
    if "foreach" in task.members:
        made = _foreach(task.members["foreach"], task.around, task.making)
    return Listen(to, cast(Any, read), **made)


def strategy(cursor: Cursor, nested: bool = False) -> Strategy:
    """Which events are consumed; `nested` inside an ``until``."""
    modes = [mode for mode in ("one", "any", "all") if isinstance(cursor.value, dict) and mode in cursor.value]
    found = cursor.members(("one", "any", "all") if nested else ("one", "any", "all", "until"))
    if len(modes) != 1:
        if isinstance(cursor.value, dict):
            cursor.refuse("expected exactly one of one, any, all")
        return Strategy("one")
    mode = modes[0]
    if mode == "one":
        filters: tuple[EventFilter, ...] = (event_filter(found["one"]),)
    else:
        filters = tuple(event_filter(item) for item in found[mode].items(1 if mode == "all" else 0))
    until, until_events = None, None
    if "until" in found:
        if mode != "any":
            found["until"].refuse("`until` goes with `any` only")
        elif isinstance(found["until"].value, dict):
            until_events = strategy(found["until"], nested=True)
        else:
            until = expression(found["until"])
    return Strategy(cast(Any, mode), filters, until, until_events)


def event_filter(cursor: Cursor) -> EventFilter:
    """``with`` and ``correlate``."""
    found = cursor.members(("with", "correlate"), ("with",))
    wanted = attributes(found["with"]) if "with" in found else ()
    correlate: list[tuple[str, Expression, Template | None]] = []
    if "correlate" in found:
        for name, member in found["correlate"].entries():
            key = member.members(("from", "expect"), ("from",))
            if "from" in key:
                expected = template(key["expect"]) if "expect" in key else None
                correlate.append((name, expression(key["from"]), expected))
    return EventFilter(wanted, tuple(correlate))


def attributes(cursor: Cursor) -> tuple[tuple[str, Any | Expression], ...]:
    """``with`` of a filter: the attributes that an event must have."""
    if cursor.value == {}:
        cursor.refuse("expected at least one attribute", "missing")
    return tuple([(name, _match(name, member)) for name, member in cursor.entries()])


def _match(name: str, cursor: Cursor) -> Any | Expression:
    _attribute(name, cursor)
    if isinstance(cursor.value, str) and is_wrapped(cursor.value):
        return expression(cursor)
    if template(cursor).holes:
        cursor.refuse(
            "an expression inside a value that is compared is not supported; make the whole value ${ ... }",
            "unsupported",
        )
    return cursor.value


def _attribute(name: str, cursor: Cursor) -> None:
    if name == "data":
        return
    if not _ATTRIBUTE.match(name):
        cursor.refuse("names of CloudEvents attributes are lower-case letters and digits")
    if isinstance(cursor.value, str) and is_wrapped(cursor.value):
        return
    if name in ("source", "dataschema"):
        cursor.text("a URI", _URI_REFERENCE)
    elif name in ("id", "type", "time", "subject", "datacontenttype"):
        cursor.text()
    elif isinstance(cursor.value, dict | list) or cursor.value is None:
        cursor.refuse("expected a string, a number or a boolean", "wrong-type")


def _foreach(cursor: Cursor, around: Surroundings, making: Compilation) -> dict[str, Any]:
    found = cursor.members(("item", "at", "do", "output", "export"))
    made: dict[str, Any] = {}
    if "item" in found:
        made["item"] = found["item"].variable()
    if "at" in found:
        made["at"] = found["at"].variable()
    if "do" in found:
        made["scope"] = making.scope(found["do"], around.inside("a foreach"))
    for name in ("output", "export"):
        if name in found:
            parts = found[name].members(("as", "schema"))
            if "schema" in parts:
                parts["schema"].refuse(f"`schema` is not supported in foreach.{name}", "unsupported")
            if "as" in parts:
                made[f"foreach_{name}"] = transformation(parts["as"])
    return made
