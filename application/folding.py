"""Folds a batch of events into rows: the pure part of projections.

Between a fold and its table stand the kinds of the columns: what a fold gives is checked and brought into the one form that
every database gives back, so that a row is the same whether it comes from memory or was stored in between. A fold gets a copy
of its row each time: one that changes it and then fails has changed nothing.

Whatever a user's function raises stops its projection at that event; everything before it counts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from math import isfinite
from typing import Any, Protocol

import msgspec

from application.projection_store import Column, Failure, Kind, Row, Shape, Value

Json = dict[str, Any]
_LONGEST_KEY = 512
_LONGEST_ERROR = 1000
_LEAST, _MOST = -(2**63), 2**63 - 1


class Fold(Protocol):
    """A user's projection, as the application knows it."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def shape(self) -> Shape: ...
    @property
    def types(self) -> frozenset[str] | None:
        """Event types it is called with; None: all."""
        ...

    def event(self, item: Json, at: datetime) -> Any:
        """What the user's functions see of a history item (`application.history`) with `orchestration` and `definition`."""
        ...

    def key(self, event: Any) -> Any: ...
    def fold(self, row: Json | None, event: Any) -> Any: ...


class Seen(msgspec.Struct, frozen=True):
    """An event with its place in the log."""

    position: int
    at: datetime
    item: Json


class Keyed(msgspec.Struct, frozen=True):
    """An event for the row of a key."""

    seen: Seen
    event: Any
    key: str


class Batch(msgspec.Struct):
    """Events with their keys, up to the end of what was read or to the first that could not be read."""

    keyed: list[Keyed]
    failed: tuple[Seen, str] | None = None

    @property
    def keys(self) -> Collection[str]:
        return {each.key for each in self.keyed}


class Folded(msgspec.Struct):
    """Rows as they are afterwards (None: gone), and where it stopped: before the event `failed`, or nowhere."""

    rows: dict[str, Row | None]
    failed: tuple[Seen, str] | None = None


class UnfitValueError(ValueError):
    """A fold gave what its table cannot hold."""


def keyed(fold: Fold, events: Sequence[Seen]) -> Batch:
    """Which rows the events belong to."""
    batch = Batch([])
    for seen in events:
        if fold.types is not None and seen.item["type"] not in fold.types:
            continue
        try:
            event = fold.event(seen.item, seen.at)
            key = fold.key(event)
            if key is not None:
                batch.keyed.append(Keyed(seen, event, _checked_key(key)))
        except (Exception, SystemExit) as error:  # a user's function may raise anything
            batch.failed = seen, _told(error)
            break
    return batch


def fold_batch(fold: Fold, batch: Batch, rows: Mapping[str, Row]) -> Folded:
    """What becomes of the rows."""
    now: dict[str, Row | None] = dict(rows)
    changed: dict[str, Row | None] = {}
    for each in batch.keyed:
        row = now.get(each.key)
        try:
            given = fold.fold(None if row is None else shown(fold.shape, each.key, row), each.event)
            row = None if given is None else _checked_row(fold.shape, each.key, given)
        except (Exception, SystemExit) as error:  # a user's function may raise anything
            return Folded(changed, (each.seen, _told(error)))
        now[each.key] = changed[each.key] = row
    return Folded(changed, batch.failed)


def failure_of(seen: Seen, error: str, at: datetime) -> Failure:
    """What is told of an event that could not be folded."""
    item = seen.item
    return Failure(item["orchestration"], item["version"], item["type"], error, at)


def shown(shape: Shape, key: str, row: Row) -> Json:
    """A row by the names of its columns; JSON as values of its own."""
    found: Json = {shape.key: key}
    for column, value in zip(shape.columns, row, strict=True):
        found[column.name] = msgspec.json.decode(value) if column.kind == "json" and isinstance(value, str) else value
    return found


def _told(error: BaseException) -> str:
    text = f"{type(error).__name__}: {error}" if not isinstance(error, UnfitValueError) else str(error)
    return text.replace("\0", "").encode(errors="replace").decode()[:_LONGEST_ERROR]


def _checked_key(key: Any) -> str:
    if not isinstance(key, str) or not 0 < len(key) <= _LONGEST_KEY:
        raise UnfitValueError(f"A key is a text of 1 to {_LONGEST_KEY} characters, not {key!r:.100}.")
    return _text(key)


def _checked_row(shape: Shape, key: str, given: Any) -> Row:
    if not isinstance(given, dict):
        raise UnfitValueError(f"A fold gives a dict with the columns of its row, or None; it gave {given!r:.100}.")
    if given.get(shape.key, key) != key:
        raise UnfitValueError(f"The row of {key!r:.100} came back with {given[shape.key]!r:.100} in {shape.key}.")
    known = 1 if shape.key in given else 0
    row: list[Value] = []
    for column in shape.columns:
        if column.name in given:
            known += 1
            row.append(_checked(column, given[column.name]))
        else:
            row.append(None)
    if known != len(given):
        names = {shape.key, *(column.name for column in shape.columns)}
        unknown = next(name for name in given if name not in names)
        raise UnfitValueError(f"There is no column {unknown!r:.100} in its table.")
    return tuple(row)


def _checked(column: Column, value: Any) -> Value:
    if value is None:
        return None
    try:
        return _CHECKS[column.kind](value)
    except (ValueError, TypeError, OverflowError) as error:
        raise UnfitValueError(f"The column {column.name} cannot hold {value!r:.100}: {error}") from None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("it is no text")
    if "\0" in value:
        raise ValueError("no database keeps NUL in a text")
    value.encode()
    return value


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError("it is no whole number")
    if not _LEAST <= value <= _MOST:
        raise ValueError("it is beyond 64 bits")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("it is no number")
    if not isfinite(value):
        raise ValueError("it is not finite")
    return float(value)


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("it is neither True nor False")
    return value


def _instant(value: Any) -> datetime:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise TypeError("it is no datetime with a time zone")
    return value.astimezone(UTC)


def _json(value: Any) -> str:
    return _text(msgspec.json.encode(value).decode())


_CHECKS: dict[Kind, Callable[[Any], Value]] = {
    "text": _text,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "instant": _instant,
    "json": _json,
}
