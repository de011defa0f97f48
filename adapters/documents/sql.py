"""``call: sql``: the text of every statement is the author's; values come only as parameters.

A text that is an expression, or has ``${`` in it, is refused: what a participant or a client sent could become SQL. Where
parameters are written out, they are compared with the placeholders here.
"""

from __future__ import annotations

import re
from typing import Any

from adapters.callouts.sql.text import SqlTextError, Statement, check, read
from adapters.documents.compilation import Task
from adapters.documents.data import template
from adapters.documents.reader import Cursor
from domain.expressions import is_wrapped
from domain.plan import Template

_CONNECTION = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}\Z")
_MEMBERS = ("connection", "query", "execute", "parameters", "expect", "exactly_once", "only_if_recorded")


def sql(cursor: Cursor, task: Task) -> tuple[Template, bool]:
    """``with`` of a call: sql, and whether it only reads."""
    found = cursor.members(_MEMBERS, ("connection",))
    if "connection" in found:
        found["connection"].text("the name of a connection", _CONNECTION)
    if ("query" in found) == ("execute" in found):
        cursor.refuse("a call: sql has either query or execute", "missing")
    for name in ("exactly_once", "only_if_recorded"):
        if name in found:
            found[name].flag()
            if "query" in found:
                found[name].refuse("a query changes nothing; this belongs to execute", "unsupported")
    if "only_if_recorded" in found and not task.around.undo:
        found["only_if_recorded"].refuse(
            "only a compensation can ask whether what it undoes is recorded", "unsupported"
        )
    _texts(found)
    return template(cursor, task.making.secrecy), "query" in found


def _texts(found: dict[str, Cursor]) -> None:
    written = found.get("query") or found.get("execute")
    if written is None:
        return
    if "execute" in found and isinstance(written.value, list):
        for name in ("parameters", "expect"):
            if name in found:
                found[name].refuse(f"with a list of statements each has {name} of its own", "unsupported")
        if not written.value:
            written.refuse("the list has no statement", "missing")
        for each in written.items():
            own = each.members(("statement", "parameters", "expect"), ("statement",)) if _is_object(each) else {}
            _statement(own.get("statement", each), own)
        return
    _statement(written, found)


def _statement(text: Cursor, around: dict[str, Cursor]) -> None:
    if "expect" in around and type(around["expect"].value) is not int:
        around["expect"].refuse("expected a number of rows", "wrong-type")
    if not isinstance(text.value, str):
        text.refuse("expected the text of a statement", "wrong-type")
        return
    if "${" in text.value:
        text.refuse("a statement has no expressions: write :name and give it under parameters", "unsupported")
        return
    try:
        statement = read(text.value)
        _parameters(statement, around.get("parameters"))
    except SqlTextError as problem:
        text.refuse(str(problem))


def _parameters(statement: Statement, given: Cursor | None) -> None:
    value: Any = None if given is None else given.value
    if isinstance(value, str) and is_wrapped(value):
        return  # known when it is sent
    check(statement, value)


def _is_object(cursor: Cursor) -> bool:
    return isinstance(cursor.value, dict)
