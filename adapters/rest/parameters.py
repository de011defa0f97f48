"""Query parameters, read strictly: an unknown one, a repeated one that may come once, and a malformed value are 400.

A `Parameter` is read and described by the same value. Values that reach an index or a statement are bounded and free of
NUL, since no database keeps those alike.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes

from adapters.rest.forms import FORMS
from adapters.rest.problems import malformed

T = TypeVar("T")
_INTEGER = re.compile(r"\d{1,15}\Z", re.ASCII)
_INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:[Zz]|[+-]\d{2}:\d{2})\Z", re.ASCII)
LONGEST_TEXT = 512


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter: how it is read (ValueError says what is wrong) and how it is described (JSON Schema)."""

    name: str
    read: Callable[[str], Any]
    schema: dict[str, Any]
    description: str
    many: bool = False


def integer(name: str, description: str, least: int, most: int | None = None, default: int | None = None) -> Parameter:
    """A whole number between `least` and `most`."""
    schema: dict[str, Any] = {"type": "integer", "minimum": least, "maximum": most if most is not None else 2**31 - 1}
    if default is not None:
        schema["default"] = default

    def read(text: str) -> int:
        if not _INTEGER.match(text) or not least <= int(text) <= schema["maximum"]:
            raise ValueError(f"is a whole number from {least} to {schema['maximum']}")
        return int(text)

    return Parameter(name, read, schema, description)


def instant(name: str, description: str) -> Parameter:
    """An RFC 3339 instant."""
    return Parameter(name, read_instant, {"type": "string", "format": "date-time"}, description)


def read_instant(text: str) -> datetime:
    """An RFC 3339 instant in UTC. A plus sign that was not escaped in a query arrives as a space and is understood."""
    text = text.replace(" ", "+")
    if not _INSTANT.match(text):
        raise ValueError("is an RFC 3339 instant such as 2026-11-23T10:00:00Z")
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("is an RFC 3339 instant that exists") from None


def boolean(name: str, description: str) -> Parameter:
    """``true`` or ``false``."""

    def read(text: str) -> bool:
        if text not in {"true", "false"}:
            raise ValueError("is true or false")
        return text == "true"

    return Parameter(name, read, {"type": "boolean"}, description)


def choice(name: str, description: str, values: Sequence[str], *, many: bool = False) -> Parameter:
    """One of some words; with `many` the parameter may be repeated."""

    def read(text: str) -> str:
        if text not in values:
            raise ValueError(f"is one of {', '.join(values)}")
        return text

    return Parameter(name, read, {"type": "string", "enum": list(values)}, description, many)


def text(
    name: str, description: str, *, pattern: str | None = None, longest: int = LONGEST_TEXT, many: bool = False
) -> Parameter:
    """Text without NUL; `pattern` must match all of it."""
    compiled = re.compile(pattern) if pattern else None
    schema: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": longest}
    if pattern:
        schema["pattern"] = f"^{pattern}$"

    def read(value: str) -> str:
        if not value or len(value) > longest or "\0" in value or (compiled and not compiled.fullmatch(value)):
            form = FORMS.get(f"^{pattern}$")
            told = f"has 1 to {longest} characters"
            if form and compiled and 0 < len(value) <= longest:
                told = f"cannot be {value[:60]!r}"
            raise ValueError(f"{told}. {form.rstrip('.')}" if form else told)
        return value

    return Parameter(name, read, schema, description, many)


def read_query(raw: bytes, parameters: Sequence[Parameter]) -> dict[str, Any]:
    """Values by name, absent ones left out; lists for those that may be repeated. Raises ProblemError (400)."""
    if not raw:
        return {}
    known = {each.name: each for each in parameters}
    values: dict[str, Any] = {}
    for pair in raw.split(b"&"):
        if not pair:
            continue
        name, _, value = (_unescaped(part) for part in pair.partition(b"="))
        parameter = known.get(name)
        if parameter is None:
            here = f"those here are {', '.join(known)}" if known else "there are none here"
            raise malformed(f"There is no query parameter {name[:60]!r}; {here}.")
        try:
            found = parameter.read(value)
        except ValueError as error:
            raise malformed(f"The query parameter {name} {error}.") from None
        if parameter.many:
            values.setdefault(name, []).append(found)
        elif name in values:
            raise malformed(f"The query parameter {name} is given twice.")
        else:
            values[name] = found
    return values


def _unescaped(part: bytes) -> str:
    try:
        return unquote_to_bytes(part.replace(b"+", b" ")).decode()
    except UnicodeDecodeError:
        raise malformed("The query string is not UTF-8.") from None


LIMIT = integer("limit", "How many items at most.", 1, 500, 100)
CURSOR = text("cursor", "Where to go on: `next` of the page before.", longest=4096)
DRY_RUN = boolean("dry_run", "Only tell what would be recorded or found; nothing is changed.")
