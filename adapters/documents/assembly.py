"""Builds a JSON value, and its tree of marks, from a flat stream of begin, scalar, alias and end.

The YAML and the JSON reader both drive this builder, so that limits and refusals are the same for both and nothing
here recurses: a document that nests a hundred thousand levels deep, or one whose aliases unfold to a billion values,
is a problem with a line and a column. What can be passed over (a duplicate key) is collected; what cannot ends the
reading.
"""

from __future__ import annotations

import math
from typing import Any, NoReturn

from adapters.documents.positions import Mark, join
from domain.errors import InvalidDefinitionError, Problem

MAX_DEPTH = 100
"""Levels of nesting, also through aliases."""
MAX_REPEATED = 200_000
"""Values that aliases may add to a document."""
MAX_EXACT_INTEGER = 2**53 - 1
"""Beyond this, integers do not survive other JSON implementations (RFC 8785, RFC 7493)."""


class _Merge:
    """Stands for the key ``<<`` of YAML."""


MERGE = _Merge()


class _Frame:
    __slots__ = ("anchor", "key", "key_at", "mark", "merges", "value")

    def __init__(self, value: dict[str, Any] | list[Any], mark: Mark, anchor: str | None) -> None:
        self.value = value
        self.mark = mark
        self.anchor = anchor
        self.key: str | _Merge | None = None
        self.key_at = (0, 0)
        self.merges: list[tuple[dict[str, Any], Mark]] = []


class Assembler:
    """Takes the parts of a document in order. After the last part, `value` and `mark` are the whole."""

    def __init__(self) -> None:
        self.value: Any = None
        self.mark: Mark | None = None
        self.problems: list[Problem] = []
        self._stack: list[_Frame] = []
        self._anchors: dict[str, tuple[Any, Mark] | None] = {}
        self._repeated = 0

    def too_deep(self, line: int, column: int) -> NoReturn:
        """End reading: it nests too deep here."""
        self.stop(f"the document nests deeper than {MAX_DEPTH} levels", "too-deep", line, column)

    def begin(self, value: dict[str, Any] | list[Any], line: int, column: int, anchor: str | None = None) -> None:
        """An object or a list begins; `value` is the empty container to fill."""
        if len(self._stack) >= MAX_DEPTH:
            self.too_deep(line, column)
        mark = Mark(line, column)
        mark.children = {}
        if anchor is not None:
            self._anchors[anchor] = None
        self._stack.append(_Frame(value, mark, anchor))

    def end(self) -> None:
        """The innermost object or list ends."""
        frame = self._stack.pop()
        for merged, mark in frame.merges:
            self._merge(frame, merged, mark)
        if frame.anchor is not None:
            self._anchors[frame.anchor] = (frame.value, frame.mark)
        self._place(frame.value, frame.mark)

    def scalar(self, value: Any, line: int, column: int, anchor: str | None = None) -> None:
        """A string, number, boolean, null, or the merge key."""
        mark = Mark(line, column)
        if type(value) is int and abs(value) > MAX_EXACT_INTEGER:
            self.report(
                "this integer is too large to be exact in JSON; write it as a string", "number-range", line, column
            )
            value = 0
        elif type(value) is float and not math.isfinite(value):
            self.report("NaN and infinite numbers do not exist in JSON", "number-range", line, column)
            value = 0.0
        if anchor is not None:
            self._anchors[anchor] = (value, mark)
        self._place(value, mark)

    def alias(self, name: str, line: int, column: int) -> None:
        """The value that was anchored under `name`, once more."""
        if name not in self._anchors:
            self.stop(f"there is no anchor &{name} before this alias", "syntax", line, column)
        target = self._anchors[name]
        if target is None:
            self.stop(f"the alias *{name} contains itself", "cyclic-alias", line, column)
            return
        value, mark = target
        self._repeated += mark.size
        if self._repeated > MAX_REPEATED:
            self.stop(f"aliases unfold to more than {MAX_REPEATED} values", "too-large", line, column)
        if len(self._stack) + mark.depth > MAX_DEPTH:
            self.too_deep(line, column)
        self._place(value, mark, (line, column))

    def report(self, detail: str, code: str, line: int, column: int) -> None:
        """Note a problem and go on reading."""
        self.problems.append(Problem(self.pointer(), detail, code, line, column))

    def stop(self, detail: str, code: str, line: int, column: int) -> NoReturn:
        """Note a problem that makes the rest unreadable.

        Raises:
            InvalidDefinitionError: always, with every problem so far.
        """
        self.report(detail, code, line, column)
        raise InvalidDefinitionError(self.problems)

    def pointer(self) -> str:
        """The JSON Pointer of the place that is filled next."""
        steps: list[str | int] = []
        for frame in self._stack:
            if isinstance(frame.value, list):
                steps.append(len(frame.value))
            elif isinstance(frame.key, str):
                steps.append(frame.key)
        return join("", *steps)

    def _place(self, value: Any, mark: Mark, at: tuple[int, int] | None = None) -> None:
        line, column = at or (mark.line, mark.column)
        if not self._stack:
            self.value, self.mark = value, mark
            return
        frame = self._stack[-1]
        if isinstance(frame.value, dict) and frame.key is None:
            self._key(frame, value, line, column)
            return
        frame.mark.size += mark.size
        frame.mark.depth = max(frame.mark.depth, mark.depth + 1)
        children = frame.mark.children
        if children is None:
            return
        if isinstance(frame.value, list):
            children[len(frame.value)] = (line, column, mark)
            frame.value.append(value)
        elif isinstance(frame.key, str):
            children[frame.key] = (*frame.key_at, mark)
            frame.value[frame.key] = value
            frame.key = None
        else:
            self._note_merge(frame, value, mark, line, column)

    def _key(self, frame: _Frame, key: Any, line: int, column: int) -> None:
        frame.key_at = (line, column)
        if isinstance(key, _Merge):
            frame.key = key
            return
        name = key if isinstance(key, str) else f"({type(key).__name__} at {line}:{column})"
        repeated = name in frame.value
        frame.key = name
        if not isinstance(key, str):
            self.report(f"names of members are strings; put {key!r:.40} into quotes", "non-string-key", line, column)
        elif repeated:
            self.report(f"the member {name!r} is there twice", "duplicate-key", line, column)

    def _note_merge(self, frame: _Frame, value: Any, mark: Mark, line: int, column: int) -> None:
        frame.key = None
        sources = [(value, mark)]
        if isinstance(value, list) and mark.children is not None:
            sources = [(item, mark.children[index][2]) for index, item in enumerate(value)]
        for source, source_mark in sources:
            if isinstance(source, dict):
                frame.merges.append((source, source_mark))
            else:
                self.report("<< takes an object, or a list of objects", "syntax", line, column)

    def _merge(self, frame: _Frame, merged: dict[str, Any], mark: Mark) -> None:
        own, source = frame.mark.children, mark.children
        if own is None or source is None or not isinstance(frame.value, dict):
            return
        for key, value in merged.items():
            if key not in frame.value:
                frame.value[key] = value
                own[key] = source[key]
