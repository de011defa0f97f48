"""The SQL of one projection's table, made from templates: only here do names that users chose become part of statements.

A name is checked once more before it is quoted; values always travel as parameters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any

import msgspec

from adapters.sql.statements import parse
from application.projection_store import Build, Kind, Row

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


def quoted(name: str) -> str:
    """An identifier in quotes. Raises ValueError for what is none of ours."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot name a table or a column")
    return f'"{name}"'


class Dialect(msgspec.Struct, frozen=True):
    """How one database writes the kinds of columns. `values` has the placeholder of a batch, `read` the format of a column
    that is read; `encode` and `decode` turn values into the database's own and back, where they differ.
    """

    package: str
    types: Mapping[Kind, str]
    values: Mapping[Kind, str]
    read: Mapping[Kind, str]
    encode: Mapping[Kind, Callable[[Any], Any]]
    decode: Mapping[Kind, Callable[[Any], Any]]


class TableStatements:
    """The statements for the table of a build."""

    def __init__(self, dialect: Dialect, build: Build) -> None:
        self._templates = _templates(dialect.package)
        columns = build.shape.columns
        names = [quoted(column.name) for column in columns]
        kinds = [column.kind for column in columns]
        self._parts = {
            "table": quoted(build.table),
            "view": quoted(build.view),
            "key": quoted(build.shape.key),
            "names": ", ".join(names),
            "columns": ", ".join(f"{name} {dialect.types[kind]}" for name, kind in zip(names, kinds, strict=True)),
            "values": ", ".join(dialect.values[kind] for kind in kinds),
            "read": ", ".join(dialect.read[kind].format(name) for name, kind in zip(names, kinds, strict=True)),
            "assignments": ", ".join(f"{name} = excluded.{name}" for name in names),
        }
        self._encoders = [dialect.encode.get(kind) for kind in kinds]
        self._decoders = [dialect.decode.get(kind) for kind in kinds]
        self._encode_value = dialect.encode
        self._kinds: dict[str, Kind] = {build.shape.key: "text", **{each.name: each.kind for each in columns}}

    def text(self, name: str, **more: str) -> str:
        """A statement by the name of its template."""
        return self._templates[name].format(**self._parts, **more)

    def page(self, columns: Sequence[str]) -> str:
        """The statement for a page of rows, filtered by these columns: `value_0`, `value_1`, ..."""
        template = self._templates["filter"]
        filters = "".join(f"\n  {template.format(name=quoted(name), n=n)}" for n, name in enumerate(columns))
        return self.text("page", filters=filters)

    def value(self, column: str, value: Any) -> Any:
        """A value to compare a column with, as the database has it."""
        encode = self._encode_value.get(self._kinds[column])
        return value if encode is None or value is None else encode(value)

    def encoded(self, row: Row) -> list[Any]:
        return [_turned(turn, value) for turn, value in zip(self._encoders, row, strict=True)]

    def decoded(self, row: Sequence[Any]) -> Row:
        return tuple(_turned(turn, value) for turn, value in zip(self._decoders, row, strict=True))


def _turned(turn: Callable[[Any], Any] | None, value: Any) -> Any:
    return value if turn is None or value is None else turn(value)


@lru_cache(4)
def _templates(package: str) -> dict[str, str]:
    return parse(files(package).joinpath("projections.sql").read_text(encoding="utf-8"))
