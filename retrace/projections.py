"""Projections: tables that a user's fold builds from everything that has ever happened.

A fold gets one row (or None) and one event, and gives the row as it is afterwards (or None: there is none). The service reads
the whole log, keeps the rows exactly once, and serves them as a table of its database and over REST::

    @projection("bookings", version=1, table={"city": str, "status": str, "started_at": datetime})
    def bookings(row: Row | None, event: Event) -> Row | None:
        if event.type == "orchestration.started":
            return {"city": event.data["input"]["city"], "status": "running", "started_at": event.at}
        if row is not None and event.type.startswith("orchestration."):
            row["status"] = event.type.removeprefix("orchestration.")
        return row

A fold must be pure: it looks at nothing but its arguments, so that the same events give the same rows whenever and wherever
they are folded. Changing what it does means raising `version`: the new version is built beside the one that is live, from
the beginning of the log, and takes its place when it has caught up.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

Row = dict[str, Any]
"""A row by the names of its columns. Columns that are left out are empty (None)."""

COLUMN_TYPES: Final[Mapping[type, str]] = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "boolean",
    datetime: "instant",
    dict: "json",
    list: "json",
}
"""What a column may hold, and what the service calls it."""

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,29}")
_TAKEN: Final = re.compile(r".*_v[0-9]+(_[0-9]+)?")
_COLUMN: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_TOPIC: Final = re.compile(r"[a-z]+\.[a-z]+")
_MOST_COLUMNS: Final = 100
_HIGHEST_VERSION: Final = 999_999


@dataclass(slots=True)  # not frozen: that would make it four times as slow, and each fold gets events of its own
class Event:
    """One event of one orchestration, as its history shows it."""

    orchestration: str
    """Public id."""
    definition: str
    """``namespace/name@version`` that it was started with."""
    version: int
    """1, 2, 3, ... within the orchestration."""
    type: str
    """The topic, such as ``task.completed``."""
    at: datetime
    actor: str | None
    task: str | None
    """Reference (JSON Pointer) of the task, where it is about one."""
    run: int | None
    attempt: int | None
    data: dict[str, Any]


Fold = Callable[[Row | None, Event], Row | None]
By = Callable[[Event], str | None]
_F = TypeVar("_F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Projection:
    """One registered projection."""

    name: str
    version: int
    key: str
    columns: Mapping[str, type]
    """Without the key."""
    types: frozenset[str] | None
    by: By | None
    fold: Fold
    source: str
    """Where it was defined, as ``file:line``."""


class DuplicateProjectionError(ValueError):
    """Two projections ask for one name."""

    def __init__(self, first: Projection, second: Projection) -> None:
        super().__init__(f"The projection {first.name!r} is there twice: at {first.source} and at {second.source}.")


class ProjectionRegistry(Mapping[str, Projection]):
    """Projections by name, in the order of their registration."""

    def __init__(self) -> None:
        self._projections: dict[str, Projection] = {}

    def add(self, projection: Projection) -> None:
        """Register a projection; the same fold again changes nothing.

        Raises:
            DuplicateProjectionError: another one has the name.
        """
        known = self._projections.setdefault(projection.name, projection)
        if known.fold is not projection.fold:
            raise DuplicateProjectionError(known, projection)

    def __getitem__(self, name: str) -> Projection:
        return self._projections[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._projections)

    def __len__(self) -> int:
        return len(self._projections)


PROJECTIONS = ProjectionRegistry()
"""What was registered by ordinary imports, outside `retrace.functions.load_functions`."""

collecting: ContextVar[ProjectionRegistry] = ContextVar("retrace_projections_collecting", default=PROJECTIONS)
"""Where the decorator registers."""


def projection(
    name: str,
    *,
    table: Mapping[str, type],
    version: int = 1,
    key: str = "id",
    by: By | None = None,
    types: Iterable[str] | None = None,
) -> Callable[[_F], _F]:
    """Keep a table by folding events into its rows; the function itself stays as it is.

    Args:
        name: of the table: ``projection_<name>`` in the database, ``/v1/projections/<name>/rows`` over REST.
        table: columns and their types: ``str``, ``int``, ``float``, ``bool``, ``datetime``, and ``dict`` or ``list`` for
            JSON. Every column may be empty. The key need not be among them.
        version: to be raised with every change of the columns or of what the fold does.
        key: the column that names a row.
        by: which row an event belongs to (None: to no row). Without it there is one row per orchestration, by its public id.
            What `by` gives should name something of one orchestration, such as a run of a task: of a key that several
            orchestrations share there is one row in each part of the log, and whoever reads adds them up.
        types: the event types that the fold is called with; all of them unless said.

    Raises:
        TypeError, ValueError: a name, a type or the function cannot be used; the message says which.
        DuplicateProjectionError: another projection has the name.
    """
    columns = {column: kind for column, kind in table.items() if column != key}
    _check_names(name, version, key, table)
    wanted = None if types is None else frozenset(types)
    for topic in wanted or ():
        if not _TOPIC.fullmatch(topic):
            raise ValueError(f"projection {name!r}: {topic!r} is no event type; they look like task.completed")

    def register(fold: _F) -> _F:
        for called in (fold, by) if by is not None else (fold,):
            _check_function(name, called)
        code = getattr(inspect.unwrap(fold), "__code__", None)
        source = f"{code.co_filename}:{code.co_firstlineno}" if code else type(fold).__module__
        collecting.get().add(Projection(name, version, key, columns, wanted, by, fold, source))
        return fold

    return register


def _check_names(name: str, version: int, key: str, table: Mapping[str, type]) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name) or _TAKEN.fullmatch(name):
        raise ValueError(
            f"{name!r} cannot name a projection: up to 30 lower-case letters, digits and underscores, a letter first, "
            "not ending like a version (_v1)"
        )
    if isinstance(version, bool) or not isinstance(version, int) or not 1 <= version <= _HIGHEST_VERSION:
        raise ValueError(f"projection {name!r}: the version is a whole number from 1 on, not {version!r}")
    for column in (key, *table):
        if not isinstance(column, str) or not _COLUMN.fullmatch(column) or column == "partition":
            raise ValueError(
                f"projection {name!r}: {column!r} cannot name a column: up to 40 lower-case letters, digits and underscores, "
                "a letter first, not partition"
            )
    for column, kind in table.items():
        if kind not in COLUMN_TYPES or (column == key and kind is not str):
            asked = "str, for it is the key" if column == key else "str, int, float, bool, datetime, dict or list"
            raise TypeError(f"projection {name!r}: the type of column {column!r} is {asked}, not {kind!r}")
    if not set(table) - {key} or len(table) > _MOST_COLUMNS:
        raise ValueError(f"projection {name!r}: a table has 1 to {_MOST_COLUMNS} columns besides its key")


def _check_function(name: str, called: Any) -> None:
    target = inspect.unwrap(called) if callable(called) else called
    if not callable(called) or inspect.isclass(called):
        raise TypeError(f"projection {name!r} goes on a function, not on {called!r}")
    if inspect.iscoroutinefunction(target) or inspect.isgeneratorfunction(target) or inspect.isasyncgenfunction(target):
        raise TypeError(f"projection {name!r}: a fold waits for nothing; {target.__qualname__} must be a plain def")
