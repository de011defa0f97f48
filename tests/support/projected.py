"""Projections for tests, and what their tables should hold: folded from the start, without the service."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from adapters.projections import PythonFold, PythonFolds
from adapters.stored_events import EventMapper
from application.folding import Fold, shown
from application.history import event_json
from application.projection_store import Row
from domain.events import Beginning
from retrace.projections import Event, Projection
from tests.support.stored import Stored

_CODEC = EventMapper()
Table = dict[tuple[int, str], Row]


class Inline(PythonFolds):
    """Folds that run where they are: for a loop without threads."""

    async def run(self, work: Callable[[], Any]) -> Any:
        return work()


def made(name: str, fold: Any, *, version: int = 1, by: Any = None, types: Any = None, **columns: type) -> Projection:
    """A projection without its decorator."""
    return Projection(name, version, "id", columns, None if types is None else frozenset(types), by, fold, "here")


def counted(row: dict[str, Any] | None, event: Event) -> dict[str, Any]:
    """Tells an event that was missed, doubled or out of order."""
    row = row or {"n": 0, "gaps": 0, "seen": []}
    expected = row["seen"][-1][0] + 1 if row["seen"] else 1
    return {
        "n": row["n"] + 1,
        "gaps": row["gaps"] + (event.version != expected),
        "seen": [*row["seen"], [event.version, event.type]],
        "definition": event.definition,
        "last": event.at,
    }


def open_task(row: dict[str, Any] | None, event: Event) -> dict[str, Any] | None:
    """A row while a run goes on."""
    if event.type == "task.scheduled":
        return {"since": event.at, "task": event.data["name"], "attempts": 0}
    if event.type == "attempt.started" and row is not None:
        row["attempts"] += 1
        return row
    return None


def run_of(event: Event) -> str | None:
    return None if event.task is None else f"{event.orchestration}{event.task}#{event.run}"


def tally(row: dict[str, Any] | None, event: Event) -> dict[str, Any]:
    """One row for all orchestrations of a definition: keys are shared within a partition."""
    return {"started": (row or {"started": 0})["started"] + 1, "share": ((row or {}).get("share") or 0.0) + 0.5}


def definition_of(event: Event) -> str:
    return event.definition


COUNTED = made("counted", counted, n=int, gaps=int, seen=list, definition=str, last=datetime)
OPEN_TASKS = made("open_tasks", open_task, by=run_of, since=datetime, task=str, attempts=int)
TALLIES = made("tallies", tally, by=definition_of, types=["orchestration.started"], started=int, share=float)
SAMPLES = (COUNTED, OPEN_TASKS, TALLIES)


def expected(stored: Stored, fold: Fold) -> Table:
    """What the table of a fold should hold: the user's function over every event, in the order of the log."""
    tables: dict[tuple[int, str], dict[str, Any] | None] = {}
    origins: dict[Any, tuple[str, str]] = {}
    for number, partition in enumerate(stored.partitions):
        for record in partition.log:
            contents = stored.blobs.get((number, record.orchestration))
            event = _CODEC.decode(record.topic, stored.bytes_of(number, record), contents)
            if isinstance(event, Beginning):
                origins[record.orchestration] = event.id, event.definition
            if fold.types is not None and record.topic not in fold.types:
                continue
            public_id, definition = origins[record.orchestration]
            item = {"orchestration": public_id, "definition": definition, **event_json(event, record.version)}
            shown_event = fold.event(item, event.at)
            key = fold.key(shown_event)
            if key is not None:
                tables[number, key] = fold.fold(tables.get((number, key)), shown_event)
    return {place: _row(fold, row) for place, row in tables.items() if row is not None}


def _row(fold: Fold, row: dict[str, Any]) -> Any:
    return tuple(row.get(column.name) for column in fold.shape.columns)


def plain(fold: Fold, rows: Iterable[tuple[tuple[int, str], Row]]) -> dict[tuple[int, str], Any]:
    """Stored rows with their JSON read, to compare with `expected`."""
    found = {}
    for place, row in rows:
        read = shown(fold.shape, place[1], row)
        found[place] = tuple(read[column.name] for column in fold.shape.columns)
    return found


def folds(projections: Sequence[Projection] = SAMPLES) -> list[Fold]:
    return [PythonFold(each) for each in projections]
