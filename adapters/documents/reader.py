"""A cursor over a JSON value that knows its pointer and collects problems instead of raising.

Compiling goes on after a problem with whatever makes sense, so that an author sees every problem of a document at
once. What a compile function returns after a problem is never used: a plan with problems is not handed out.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any

from adapters.documents.positions import escape
from domain.errors import Problem

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
RESERVED_VARIABLES = frozenset(
    {
        "context",
        "input",
        "output",
        "outputs",
        "secrets",
        "task",
        "workflow",
        "runtime",
        "authorization",
        "callback",
        "ENV",
    }
)


class Log:
    """The problems and warnings of one compilation, each kept once, in the order in which they were found."""

    def __init__(self) -> None:
        self.problems: dict[Problem, None] = {}
        self.warnings: dict[Problem, None] = {}

    def refuse(self, pointer: str, detail: str, code: str = "invalid") -> None:
        self.problems[Problem(pointer, detail, code)] = None

    def remark(self, pointer: str, detail: str, code: str) -> None:
        self.warnings[Problem(pointer, detail, code)] = None


class Cursor:
    """One value of a document, and where it stands."""

    __slots__ = ("log", "pointer", "value")

    def __init__(self, value: Any, pointer: str, log: Log) -> None:
        self.value = value
        self.pointer = pointer
        self.log = log

    def refuse(self, detail: str, code: str = "invalid") -> None:
        """Note a problem here."""
        self.log.refuse(self.pointer, detail, code)

    def step(self, key: str | int) -> Cursor:
        """The member or item `key`, which must be there."""
        return Cursor(self.value[key], f"{self.pointer}/{escape(key)}", self.log)

    def is_object(self) -> bool:
        """Whether this is an object; notes a problem when it is not."""
        if isinstance(self.value, dict):
            return True
        self._mistyped("an object")
        return False

    def members(self, allowed: Collection[str], required: Collection[str] = ()) -> dict[str, Cursor]:
        """The members of an object; unknown and missing ones become problems. Anything else gives no members."""
        if not self.is_object():
            return {}
        found: dict[str, Cursor] = {}
        for name in self.value:
            cursor = self.step(name)
            if name in allowed:
                found[name] = cursor
            else:
                cursor.refuse(
                    f"unknown keyword {name!r}; known here: {', '.join(sorted(allowed)) or 'none'}", "unknown-keyword"
                )
        for name in required:
            if name not in self.value:
                self.refuse(f"the member {name!r} is missing", "missing")
        return found

    def entries(self) -> Iterator[tuple[str, Cursor]]:
        """Every member of an object whose names are the author's own."""
        if self.is_object():
            for name in self.value:
                yield name, self.step(name)

    def items(self, least: int = 0) -> Iterator[Cursor]:
        """The items of a list."""
        if not isinstance(self.value, list):
            self._mistyped("a list")
            return
        if len(self.value) < least:
            self.refuse(f"at least {least} needed")
        for index in range(len(self.value)):
            yield self.step(index)

    def named_items(self, least: int = 0) -> Iterator[tuple[str, Cursor]]:
        """The items of a list of objects with one member each; a name that is there twice is a problem."""
        seen: set[str] = set()
        for item in self.items(least):
            if not item.is_object():
                continue
            if len(item.value) != 1:
                item.refuse("expected an object with exactly one member, the name")
                continue
            name = next(iter(item.value))
            if name in seen:
                item.step(name).refuse(f"the name {name!r} is there twice in this list", "duplicate-name")
            seen.add(name)
            yield name, item.step(name)

    def text(self, what: str = "a string", pattern: re.Pattern[str] | None = None) -> str:
        """A string, matching `pattern` (described by `what`); empty after a problem."""
        if not isinstance(self.value, str):
            self._mistyped(what)
            return ""
        if not self.value or (pattern is not None and not pattern.match(self.value)):
            self.refuse(f"{self.value!r:.60} is not {what}" if self.value else f"expected {what}, found nothing")
            return ""
        return self.value

    def choice(self, *choices: str) -> str:
        """One of a few words; the first after a problem."""
        if isinstance(self.value, str) and self.value in choices:
            return self.value
        self.refuse(f"expected one of {', '.join(choices)}")
        return choices[0]

    def flag(self) -> bool:
        """A boolean; false after a problem."""
        if not isinstance(self.value, bool):
            self._mistyped("true or false")
        return self.value is True

    def integer(self, least: int, most: int) -> int:
        """An integer within a range; `least` after a problem."""
        value = self.value
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            self._mistyped("an integer")
        elif not least <= value <= most:
            self.refuse(f"expected an integer from {least} to {most}, found {value:.6g}")
        else:
            return value
        return least

    def variable(self) -> str:
        """The name of a variable for expressions, without ``$``."""
        name = self.text("the name of a variable (letters, digits, _)", _VARIABLE)
        if name in RESERVED_VARIABLES:
            self.refuse(f"${name} means something else already")
        return name

    def _mistyped(self, expected: str) -> None:
        kinds = {
            bool: "a boolean",
            int: "a number",
            float: "a number",
            str: "a string",
            list: "a list",
            dict: "an object",
        }
        found = kinds.get(type(self.value), "null")
        hint = "; put it into quotes" if "string" in expected and isinstance(self.value, int | float) else ""
        self.refuse(f"expected {expected}, found {found}{hint}", "wrong-type")
