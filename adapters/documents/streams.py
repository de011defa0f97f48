"""``streams``: which events have an order, what numbers them, and how long a gap is waited for. A keyword of ours."""

from __future__ import annotations

import re
from typing import Any, Final, cast

from adapters.documents.data import expression
from adapters.documents.events import attributes
from adapters.documents.policies import duration
from adapters.documents.reader import Cursor
from domain.expressions import is_wrapped
from domain.plan import EventStream

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,62}\Z")
_ATTRIBUTE: Final = re.compile(r"[a-z0-9]+\Z")
_MOST: Final = 50
_LARGEST: Final = 2**53 - 1


def streams(cursor: Cursor) -> dict[str, EventStream]:
    """Every stream by its name, in the order in which an event is looked for among them."""
    found: dict[str, EventStream] = {}
    for name, member in cursor.entries():
        if not _NAME.match(name):
            member.refuse("names of streams are at most 63 letters, digits, _ and -, the first no digit or -")
        found[name] = _stream(name, member)
    if len(found) > _MOST:
        cursor.refuse(f"at most {_MOST} streams are possible", "too-large")
    return found


def _stream(name: str, cursor: Cursor) -> EventStream:
    found = cursor.members(("with", "order", "gap"), ("with",))
    made: dict[str, Any] = {"attributes": attributes(found["with"]) if "with" in found else ()}
    if "order" in found:
        made |= _order(found["order"])
    if "gap" in found:
        made |= _gap(found["gap"])
    return EventStream(name=name, **made)


def _order(cursor: Cursor) -> dict[str, Any]:
    found = cursor.members(("by", "from", "per"))
    made: dict[str, Any] = {}
    if "by" in found:
        if isinstance(found["by"].value, str) and is_wrapped(found["by"].value):
            made["by"] = expression(found["by"])
        else:
            what = "the name of an attribute (lower-case letters and digits), or an expression ${ ... }"
            made["attribute"] = found["by"].text(what, _ATTRIBUTE)
    if "from" in found:
        made["first"] = found["from"].integer(-_LARGEST, _LARGEST)
    if "per" in found:
        made["per"] = expression(found["per"])
    return made


def _gap(cursor: Cursor) -> dict[str, Any]:
    found = cursor.members(("after", "then"), ("after",))
    made: dict[str, Any] = {}
    if "after" in found:
        after = duration(found["after"])
        if after.expression is not None:
            found["after"].refuse("how long a gap is waited for cannot be an expression", "unsupported")
        made["gap_s"] = after.seconds
    if "then" in found:
        made["gap_then"] = cast(Any, found["then"].choice("fault", "continue"))
    return made
