"""Expressions and templates: the parts of a document that are evaluated, and what may stand in them.

Fields that are expressions by definition take jq with or without ``${ }``; elsewhere a string is an expression only
when the whole string is ``${ ... }``, and inside objects and lists that holds in depth. ``$secrets`` may be read only
where a callout takes its arguments, because everything else that is evaluated is recorded.
"""

from __future__ import annotations

import re
from typing import Any

from adapters.documents.positions import join
from adapters.documents.reader import Cursor
from domain.expressions import Expression, is_wrapped, parse
from domain.plan import Hole, Schema, Template

_SECRET = re.compile(r"""\$secrets(?:\.([A-Za-z_]\w*)|\s*\[\s*"([^"\\]*)"\s*\]|\."([^"\\]*)")""")


class Secrecy:
    """Whether secrets may be read here, and which ones the document declares."""

    __slots__ = ("declared",)

    def __init__(self, declared: frozenset[str]) -> None:
        self.declared = declared


def expression(cursor: Cursor, secrecy: Secrecy | None = None) -> Expression:
    """A field that is an expression by definition."""
    if not isinstance(cursor.value, str):
        cursor.text("a string with an expression")
        return Expression("null")
    return _parsed(cursor.value, cursor, cursor.pointer, secrecy)


def template(cursor: Cursor, secrecy: Secrecy | None = None) -> Template:
    """Any JSON value; strings that are wholly ``${ ... }`` become holes."""
    holes: list[Hole] = []
    value = _fill(cursor.value, (), cursor, holes, secrecy)
    return Template(value, tuple(holes))


def transformation(cursor: Cursor) -> Template:
    """`input.from`, `output.as` or `export.as`: an expression by definition, or an object with expressions inside."""
    if isinstance(cursor.value, str):
        return Template(None, (Hole((), expression(cursor)),))
    if cursor.is_object():
        return template(cursor)
    return Template()


def graft(outer: Template, path: tuple[str | int, ...], inner: Template) -> Template:
    """`outer` with what stands at `path` (no hole) replaced by `inner`."""
    value = _replaced(outer.value, path, inner.value)
    kept = tuple(hole for hole in outer.holes if hole.path[: len(path)] != path)
    return Template(value, kept + tuple(Hole(path + hole.path, hole.expression) for hole in inner.holes))


def schema(cursor: Cursor) -> Schema | None:
    """A JSON Schema, inline or by reference; it is not fetched here."""
    found = cursor.members(("format", "document", "resource"))
    if "format" in found:
        name = found["format"].text("the name of a format")
        if name and name.partition(":")[0] != "json":
            found["format"].refuse(f"schemas in the format {name!r} are not supported, only json", "unsupported")
    if ("document" in found) == ("resource" in found):
        cursor.refuse("a schema has either a document or a resource", "missing")
        return None
    if "document" in found:
        if not isinstance(found["document"].value, bool):
            found["document"].is_object()
        return Schema(document=found["document"].value)
    return Schema(resource=external_resource(found["resource"]))


def external_resource(cursor: Cursor) -> Any:
    """``{name?, endpoint}``: something that is fetched at first use, so nothing in it may depend on a run."""
    found = cursor.members(("name", "endpoint"), ("endpoint",))
    if "name" in found:
        found["name"].text()
    if "endpoint" in found:
        endpoint = found["endpoint"]
        if isinstance(endpoint.value, dict):
            endpoint.members(("uri",), ("uri",))
            endpoint = endpoint.step("uri") if "uri" in endpoint.value else endpoint
        uri = endpoint.text("a URI")
        if is_wrapped(uri):
            endpoint.refuse("a schema is the same for every run: its endpoint cannot be an expression", "unsupported")
        elif uri and not re.match(r"https?://", uri):
            endpoint.refuse("expected a URI that begins with http:// or https://")
    return cursor.value


def _fill(value: Any, path: tuple[str | int, ...], top: Cursor, holes: list[Hole], secrecy: Secrecy | None) -> Any:
    if isinstance(value, str):
        if "${" not in value:
            return value
        pointer = join(top.pointer, *path)
        if is_wrapped(value):
            holes.append(Hole(path, _parsed(value, top, pointer, secrecy)))
            return None
        detail = '${ inside a longer string stays as it is; an expression is the whole string, e.g. ${ "a\\(.b)" }'
        top.log.remark(pointer, detail, "literal-expression")
        return value
    if isinstance(value, dict):
        return {name: _fill(member, (*path, name), top, holes, secrecy) for name, member in value.items()}
    if isinstance(value, list):
        return [_fill(item, (*path, index), top, holes, secrecy) for index, item in enumerate(value)]
    return value


def _parsed(source: str, cursor: Cursor, pointer: str, secrecy: Secrecy | None) -> Expression:
    parsed = parse(source)
    if not parsed.program:
        cursor.log.refuse(pointer, "the expression is empty", "empty-expression")
    if not parsed.reads_secrets:
        return parsed
    if secrecy is None:
        detail = "$secrets can be read only in the `with` and `authentication` of a callout; here it would be recorded"
        cursor.log.refuse(pointer, detail, "secret-not-allowed")
        return parsed
    for names in _SECRET.findall(parsed.program):
        name = "".join(names)
        if name not in secrecy.declared:
            cursor.log.refuse(pointer, f"the secret {name!r} is not listed in use.secrets", "unknown-reference")
    return parsed


def _replaced(value: Any, path: tuple[str | int, ...], new: Any) -> Any:
    if not path:
        return new
    if not isinstance(value, dict):
        return value
    return {name: _replaced(member, path[1:], new) if name == path[0] else member for name, member in value.items()}
