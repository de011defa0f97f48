"""Reads YAML 1.2 into plain JSON data.

libyaml (through PyYAML) gives the events, some thirty times faster than a parser in Python; what a plain scalar
*means* is decided here by the core schema of YAML 1.2, so ``no`` and ``on`` are strings, ``0.1.0`` and ``2024-01-01``
are strings, and only ``true`` and ``false`` are booleans. Nothing but JSON comes out: other tags, other documents in
the same text, and numbers that JSON does not know are problems.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from adapters.documents.assembly import MERGE, Assembler

_TAG = "tag:yaml.org,2002:"
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})
_INTEGER = re.compile(r"[-+]?[0-9]+\Z")
_BASED = re.compile(r"0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_SPECIAL = re.compile(r"[-+]?\.(inf|Inf|INF)\Z|\.(nan|NaN|NAN)\Z")
_NUMBER_STARTS = frozenset("0123456789+-.")
_LONGEST_NUMBER = 400
_NESTING = "nesting depth"


def read_yaml(text: str, parts: Assembler) -> None:
    """Hand the parts of the one document in `text` to `parts`.

    Raises:
        InvalidDefinitionError: the text is not YAML, or goes beyond a limit.
    """
    try:
        documents = 0
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
            if documents > 1:
                parts.stop("a definition is one document; here a second one begins", "syntax", *_place(event))
            _hand_over(event, parts)
    except yaml.reader.ReaderError as error:
        before = text.encode()[: error.position].decode(errors="replace")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        parts.stop(f"not YAML: the character U+{error.character:04X} is not allowed", "syntax", line, column)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        detail = getattr(error, "problem", None) or str(error).partition("\n")[0]
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        if _NESTING in detail:  # the parser looks far ahead, and gives up before we see where it became too deep
            parts.too_deep(line, column)
        parts.stop(f"not YAML: {detail}", "syntax", line, column)


def _place(event: Any) -> tuple[int, int]:
    return event.start_mark.line + 1, event.start_mark.column + 1


def _hand_over(event: Any, parts: Assembler) -> None:
    line, column = _place(event)
    if isinstance(event, yaml.ScalarEvent):
        parts.scalar(_value_of(event, parts, line, column), line, column, event.anchor)
    elif isinstance(event, yaml.MappingStartEvent):
        _check_tag(event, "map", parts, line, column)
        parts.begin({}, line, column, event.anchor)
    elif isinstance(event, yaml.SequenceStartEvent):
        _check_tag(event, "seq", parts, line, column)
        parts.begin([], line, column, event.anchor)
    elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
        parts.end()
    elif isinstance(event, yaml.AliasEvent):
        parts.alias(str(event.anchor), line, column)


def _check_tag(event: Any, expected: str, parts: Assembler, line: int, column: int) -> None:
    if event.tag not in (None, "!", _TAG + expected):
        parts.report(f"the tag {event.tag} is not JSON", "custom-tag", line, column)


def _value_of(event: Any, parts: Assembler, line: int, column: int) -> Any:
    tag, text = event.tag, event.value
    if tag is None:
        return resolve(text) if event.implicit[0] else text
    if tag in ("!", _TAG + "str"):
        return text
    value = resolve(text)
    name = {bool: "bool", int: "int", float: "float", type(None): "null"}.get(type(value))
    if tag == _TAG + "float" and name == "int":
        return float(value)
    if name is None or tag != _TAG + name:
        parts.report(f"the tag {tag} is not JSON, or does not fit {text!r:.40}", "custom-tag", line, column)
    return value


def resolve(text: str) -> Any:
    """The meaning of a plain scalar under the core schema of YAML 1.2."""
    if text in _NULL:
        return None
    if text[0] in _NUMBER_STARTS and len(text) <= _LONGEST_NUMBER:
        if _INTEGER.match(text):
            return int(text)
        if _FLOAT.match(text):
            return float(text)
        if _BASED.match(text):
            return int(text, 0)
        if _SPECIAL.match(text):
            return float("nan" if text[-1] in "nN" else "inf")
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    return MERGE if text == "<<" else text
