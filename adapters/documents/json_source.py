"""Reads JSON (RFC 8259) with positions, strictly and without recursion.

The standard library's parser tells neither where a value stands nor that a key is there twice, and it recurses. This
one is a tokenizer and one set of expectations; the meaning of strings and numbers stays with the standard library.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from typing import Any

from adapters.documents.assembly import Assembler

_TOKEN = re.compile(
    r"""[ \t\n\r]*(?:(?P<mark>[{}\[\],:])|(?P<string>"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*")"""
    r"""|(?P<number>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?(?![0-9A-Za-z.+-]))|(?P<word>true|false|null)\b)"""
)
_SPACE = re.compile(r"[ \t\n\r]*")
_SURROGATE = re.compile("[\ud800-\udfff]")
_LONGEST_NUMBER = 400
_WORDS = {"true": True, "false": False, "null": None}


class _Text:
    """A text with the offsets of its lines."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._starts = [0, *(found.end() for found in re.finditer("\n", text))]

    def place(self, offset: int) -> tuple[int, int]:
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1


def read_json(source: str, parts: Assembler) -> None:
    """Hand the parts of the one JSON value in `source` to `parts`.

    Raises:
        InvalidDefinitionError: the text is not JSON, or goes beyond a limit.
    """
    text, offset = _Text(source), 0
    closers: list[str] = []
    expected = "value"  # value | first (value or end of list) | key | first-key (key or end of object) | colon | after
    while expected != "after" or closers:
        found = _TOKEN.match(source, offset)
        if found is None:
            _refuse(text, offset, expected, parts)
            return
        offset = found.end()
        kind, piece = found.lastgroup or "", found[found.lastgroup or 0]
        line, column = text.place(offset - len(piece))
        if expected == "colon" and piece == ":":
            expected = "value"
        elif expected == "after" and piece == ",":
            expected = "key" if closers[-1] == "}" else "value"
        elif closers and piece == closers[-1] and expected in ("after", "first", "first-key"):
            closers.pop()
            parts.end()
            expected = "after"
        elif expected in ("key", "first-key") and kind == "string":
            parts.scalar(_scalar(kind, piece, parts, line, column), line, column)
            expected = "colon"
        elif expected in ("value", "first") and piece in ("{", "["):
            parts.begin({} if piece == "{" else [], line, column)
            closers.append("}" if piece == "{" else "]")
            expected = "first-key" if piece == "{" else "first"
        elif expected in ("value", "first") and kind != "mark":
            parts.scalar(_scalar(kind, piece, parts, line, column), line, column)
            expected = "after"
        else:
            _refuse(text, offset - len(piece), expected, parts)
    end = _SPACE.match(source, offset)
    if end is not None and end.end() != len(source):
        _refuse(text, end.end(), "nothing more", parts)


def _scalar(kind: str, piece: str, parts: Assembler, line: int, column: int) -> Any:
    if kind == "word":
        return _WORDS[piece]
    if kind == "number":
        return float("inf") if len(piece) > _LONGEST_NUMBER else json.loads(piece)
    value = json.loads(piece)
    if _SURROGATE.search(value):
        parts.report("half of a surrogate pair is not a character", "encoding", line, column)
        return _SURROGATE.sub("\ufffd", value)
    return value


def _refuse(text: _Text, offset: int, expected: str, parts: Assembler) -> None:
    space = _SPACE.match(text.text, offset)
    offset = space.end() if space else offset
    found = repr(text.text[offset : offset + 12]) if offset < len(text.text) else "the end of the text"
    names = {
        "first": "a value or ]",
        "first-key": "a name or }",
        "key": "a name",
        "colon": ":",
        "after": "a comma or an end",
    }
    parts.stop(f"not JSON: expected {names.get(expected, expected)}, found {found}", "syntax", *text.place(offset))
