"""Users' projections (`retrace.projections`) as the application's `Fold`s; their code runs on a thread beside the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, TypeVar, cast

from application.folding import Fold, Json
from application.projection_store import Column, Kind, Shape
from retrace.projections import COLUMN_TYPES, Event, Projection

Result = TypeVar("Result")


class PythonFold:
    """`Fold` over a registered projection."""

    def __init__(self, projection: Projection) -> None:
        self.name = projection.name
        self.version = projection.version
        self.types = projection.types
        columns = (Column(name, cast(Kind, COLUMN_TYPES[kind])) for name, kind in projection.columns.items())
        self.shape = Shape(projection.key, tuple(columns))
        self._by = projection.by
        self._fold = projection.fold

    def event(self, item: Json, at: datetime) -> Event:
        return Event(
            item["orchestration"],
            item["definition"],
            item["version"],
            item["type"],
            at,
            item["actor"],
            item.get("task"),
            item.get("run"),
            item.get("attempt"),
            item["data"],
        )

    def key(self, event: Event) -> Any:
        return event.orchestration if self._by is None else self._by(event)

    def fold(self, row: Json | None, event: Event) -> Any:
        return self._fold(row, event)


class PythonFolds:
    """`Folds` over all that were registered. One thread is enough: batches are folded one after the other."""

    def __init__(self, projections: Iterable[Projection]) -> None:
        self.all: Sequence[Fold] = [PythonFold(each) for each in projections]
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="retrace-projections")

    async def run(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def close(self) -> None:
        """Does not wait for a fold that is still running."""
        self._thread.shutdown(wait=False, cancel_futures=True)
