"""Columns of a batch as PostgreSQL's binary arrays, packed a column at a time.

The driver packs arrays element by element, in Python, and looks at each value to find out its type; the hot path spends more
on that than on the database. Here the statement says what each column is (``%b::uuid[]``), so a column of numbers is one
`struct.pack` and a column of bytes one `join`. The format: number of dimensions, whether there are nulls, the type of the
elements, their number, the first index; then for each its length and bytes, length -1 for null; all numbers big-endian
(PostgreSQL, src/backend/utils/adt/arrayfuncs.c, array_recv).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from struct import Struct, pack
from struct import error as struct_error
from typing import Any, Final

import psycopg
from psycopg.adapt import Buffer, Dumper
from psycopg.pq import Format

from adapters.sql.database import Row

_HEAD: Final = Struct(">iiiii").pack
_NULL: Final = pack(">i", -1)
_CAST: Final = re.compile(r"%b::(\w+)\[\]")
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

Column = Callable[[Sequence[Any]], bytes]


class Packed(bytes):
    """A value in its binary form already."""

    __slots__ = ()


class PackedDumper(Dumper):
    """Sends it as it is; the cast in the statement says what it is."""

    format = Format.BINARY

    def dump(self, obj: Any) -> Buffer | None:
        return obj  # type: ignore[no-any-return]


def register(connection: psycopg.Connection) -> None:
    """Teach a connection to send `Packed` values."""
    connection.adapters.register_dumper(Packed, PackedDumper)


def columns(statement: str, rows: Sequence[Row]) -> list[Packed]:
    """The parameters of a statement whose placeholders are all ``%b::type[]``. Raises OverflowError for a number that is
    too large.
    """
    return [
        Packed(column(values)) for column, values in zip(_columns_of(statement), zip(*rows, strict=True), strict=True)
    ]


@lru_cache(256)
def _columns_of(statement: str) -> tuple[Column, ...]:
    return tuple(_COLUMNS[name] for name in _CAST.findall(statement))


@lru_cache(64)
def _length(size: int) -> bytes:
    return pack(">i", size)


def _array(oid: int, count: int, elements: Iterable[bytes | None]) -> bytes:
    parts: list[bytes] = [b""]
    nulls = 0
    for element in elements:
        if element is None:
            parts.append(_NULL)
            nulls = 1
        else:
            parts.append(_length(len(element)))
            parts.append(element)
    parts[0] = _HEAD(1, nulls, oid, count, 1)
    return b"".join(parts)


def _numbers(oid: int, code: str, size: int) -> Column:
    one = Struct(">" + code).pack

    def column(values: Sequence[Any]) -> bytes:
        count = len(values)
        if None in values:
            return _array(oid, count, (None if value is None else one(value) for value in values))
        flat = [size] * (2 * count)
        flat[1::2] = values
        try:
            return _HEAD(1, 0, oid, count, 1) + pack(">" + f"i{code}" * count, *flat)
        except struct_error as error:
            raise OverflowError(f"a number does not fit: {error}") from None

    return column


def _each(oid: int, element: Callable[[Any], bytes]) -> Column:
    def column(values: Sequence[Any]) -> bytes:
        return _array(oid, len(values), [None if value is None else element(value) for value in values])

    return column


def _uuids(values: Sequence[Any]) -> bytes:
    size = _length(16)
    return _HEAD(1, 0, 2950, len(values), 1) + b"".join([size + value.int.to_bytes(16, "big") for value in values])


_COLUMNS: Final[dict[str, Column]] = {
    "smallint": _numbers(21, "h", 2),
    "integer": _numbers(23, "i", 4),
    "bigint": _numbers(20, "q", 8),
    "float8": _numbers(701, "d", 8),
    "boolean": _each(16, lambda value: b"\x01" if value else b"\x00"),
    "text": _each(25, str.encode),
    "bytea": _each(17, bytes),
    "json": _each(114, str.encode),
    "uuid": _uuids,
    "timestamptz": _each(1184, lambda value: pack(">q", (value - _EPOCH) // _MICROSECOND)),
}
