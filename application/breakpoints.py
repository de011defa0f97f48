"""Where to stop in a history: a small language over the members of one event.

    type == task.failed and task ~ book
    data.effect in [uncertain, failed] or not (actor == ada)

A left side is a member of the event as histories show it: ``version``, ``type``, ``at``, ``actor``, ``task``, ``run``,
``attempt``, ``cause``, or ``data`` with names or indices behind dots. A right side is a word, a text in quotes, a number,
``true``, ``false``, ``null``, or, after ``in``, a list of those. ``~``: contains. ``task`` is the reference of a task; its
last name is enough to be equal to it. A member alone is true where the event has it and it is not false. Nothing is evaluated
but this: no call, no arithmetic, no attribute of Python.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

Breakpoint = Callable[[Mapping[str, Any]], bool]
_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"\\]|\\.)*"|'[^']*')|(?P<op>==|!=|~|\(|\)|\[|\]|,)|(?P<word>[^\s"'()\[\],=!~]+))"""
)
_MEMBERS: Final = ("version", "type", "at", "actor", "task", "run", "attempt", "cause", "data")
_DEEPEST: Final = 50
_ABSENT: Final = object()


class BreakpointError(ValueError):
    """An expression that cannot be read; the text says what is wrong and where."""


def read_breakpoint(text: str) -> Breakpoint:
    """The test of an event (as in a history) that an expression stands for. Raises BreakpointError."""
    reader = _Reader(text)
    found = reader.any_of(0)
    reader.ended()
    return found


class _Reader:
    """Recursive descent; each method reads one level of precedence."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[tuple[str, str, int]] = []
        self._next = 0
        place = 0
        while text[place:].strip():
            found = _TOKEN.match(text, place)
            if found is None:
                wrong = len(text) - len(text[place:].lstrip())
                raise BreakpointError(f"{text[wrong]!r} at character {wrong + 1} means nothing here")
            kind = found.lastgroup or ""
            self._tokens.append((kind, found[kind], found.start(kind)))
            place = found.end()

    def any_of(self, depth: int) -> Breakpoint:
        parts = [self._all_of(depth)]
        while self._took("word", "or"):
            parts.append(self._all_of(depth))
        return parts[0] if len(parts) == 1 else lambda event: any(part(event) for part in parts)

    def ended(self) -> None:
        if self._next < len(self._tokens):
            _, found, place = self._tokens[self._next]
            raise BreakpointError(f"{found!r} at character {place + 1} is one too many; join tests with and, or")

    def _all_of(self, depth: int) -> Breakpoint:
        parts = [self._one(depth)]
        while self._took("word", "and"):
            parts.append(self._one(depth))
        return parts[0] if len(parts) == 1 else lambda event: all(part(event) for part in parts)

    def _one(self, depth: int) -> Breakpoint:
        if depth > _DEEPEST:
            raise BreakpointError(f"more than {_DEEPEST} levels are too deep")
        if self._took("word", "not"):
            inner = self._one(depth + 1)
            return lambda event: not inner(event)
        if self._took("op", "("):
            inner = self.any_of(depth + 1)
            self._need("op", ")")
            return inner
        return self._test()

    def _test(self) -> Breakpoint:
        path = self._path()
        if self._took("op", "=="):
            return _equal(path, self._value())
        if self._took("op", "!="):
            equal = _equal(path, self._value())
            return lambda event: not equal(event)
        if self._took("op", "~"):
            part = self._value()
            return lambda event: _contains(_member(event, path), part)
        if self._took("word", "in"):
            tests = [_equal(path, value) for value in self._list()]
            return lambda event: any(test(event) for test in tests)
        return lambda event: _member(event, path) not in (_ABSENT, None, False)

    def _path(self) -> tuple[str, ...]:
        kind, found, place = self._take("the name of a member, such as type")
        path = tuple(found.split("."))
        if kind != "word" or path[0] not in _MEMBERS or (len(path) > 1 and path[0] != "data"):
            known = ", ".join(_MEMBERS)
            raise BreakpointError(f"{found!r} at character {place + 1} is no member; there are {known} (and data.NAME)")
        return path

    def _list(self) -> list[Any]:
        self._need("op", "[")
        values = [self._value()]
        while self._took("op", ","):
            values.append(self._value())
        self._need("op", "]")
        return values

    def _value(self) -> Any:
        kind, found, place = self._take("a value")
        if kind == "text":
            try:
                return json.loads(found) if found[0] == '"' else found[1:-1]
            except ValueError:
                raise BreakpointError(f"{found} at character {place + 1} is no text") from None
        if kind == "word":
            try:
                return json.loads(found)
            except ValueError:
                return found
        raise BreakpointError(f"{found!r} at character {place + 1} stands where a value must be")

    def _took(self, kind: str, what: str) -> bool:
        taken = self._next < len(self._tokens) and self._tokens[self._next][:2] == (kind, what)
        self._next += taken
        return taken

    def _need(self, kind: str, what: str) -> None:
        if not self._took(kind, what):
            raise BreakpointError(f"{what!r} is missing {self._place()}")

    def _take(self, what: str) -> tuple[str, str, int]:
        if self._next >= len(self._tokens):
            raise BreakpointError(f"{what} is missing {self._place()}")
        self._next += 1
        return self._tokens[self._next - 1]

    def _place(self) -> str:
        if self._next >= len(self._tokens):
            return f"at the end of {self._text!r}"
        return f"at character {self._tokens[self._next][2] + 1}"


def _member(event: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    found: Any = event
    for name in path:
        if isinstance(found, Mapping) and name in found:
            found = found[name]
        elif isinstance(found, list | tuple) and name.isdecimal() and int(name) < len(found):
            found = found[int(name)]
        else:
            return _ABSENT
    return found


def _equal(path: tuple[str, ...], value: Any) -> Breakpoint:
    if path == ("task",):
        return lambda event: value in (str(event.get("task")), str(event.get("task")).rpartition("/")[2])

    def test(event: Mapping[str, Any]) -> bool:
        found = _member(event, path)
        if found is _ABSENT:
            return value is None
        return bool(found == value) and isinstance(found, bool) == isinstance(value, bool)

    return test


def _contains(found: Any, part: Any) -> bool:
    if isinstance(found, str):
        return str(part) in found
    return isinstance(found, Mapping | list | tuple) and part in found
