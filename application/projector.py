"""Drives the status view: reads the log behind the commits and keeps one row per orchestration, exactly once.

Per partition the rows and the position up to which the log has been seen change in one transaction. A row is a function of
the orchestration's state, so building the view again from the log gives the same rows. Many events become one row.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
import structlog

from application.engine import Engine
from application.live import Live
from application.status import instant
from application.storage import LogStore, StatusRow, StatusView
from domain import events as e
from domain.errors import StorageError
from domain.state import State

_log = structlog.get_logger(__name__)
PROJECTION: Final = "status"
_BATCH: Final = 1000
_IDLE_S: Final = 5.0


class StatusProjector:
    """One loop per process; woken by commits."""

    def __init__(self, engine: Engine, log: LogStore, view: StatusView, partitions: int) -> None:
        self._engine = engine
        self._log = log
        self._view = view
        self._partitions = partitions
        self._seen: dict[int, int] = {}
        self._behind: dict[int, datetime] = {}
        self._wake = asyncio.Event()
        self._caught_up = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        engine.follow(self)

    def committed(self, live: Live, events: list[e.Event]) -> None:
        self._behind.setdefault(live.partition, events[0].at)
        self._caught_up.clear()
        self._wake.set()

    def as_of(self) -> datetime:
        """Up to which instant the view is complete: that of the partition that is furthest behind."""
        return min(self._behind.values(), default=self._engine.clock.now())

    async def start(self) -> None:
        self._seen = await self._view.tracked(PROJECTION)
        now = self._engine.clock.now()
        self._behind = dict.fromkeys(range(self._partitions), now)
        self._task = asyncio.create_task(self._run(), name="status projector")

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def caught_up(self) -> None:
        """Returns when every commit so far is in the view."""
        await self._caught_up.wait()

    async def rebuild(self) -> None:
        """Forget the view and build it again from the log."""
        await self._view.reset(PROJECTION)
        self._seen = {}
        self._behind = dict.fromkeys(range(self._partitions), self._engine.clock.now())
        self._caught_up.clear()
        self._wake.set()

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                for partition in list(self._behind):
                    await self._catch_up(partition)
            except StorageError as error:
                _log.warning("status.not_projected", detail=error.detail)
                self._seen = await self._tracked_again()
                continue
            except Exception:
                _log.exception("status.broken")
                await asyncio.sleep(_IDLE_S)
            if not self._behind:
                self._caught_up.set()
                try:
                    await asyncio.wait_for(self._wake.wait(), _IDLE_S)
                except TimeoutError:
                    self._behind = dict.fromkeys(range(self._partitions), self._engine.clock.now())

    async def _tracked_again(self) -> dict[int, int]:
        while True:
            try:
                return await self._view.tracked(PROJECTION)
            except StorageError:
                await asyncio.sleep(1.0)

    async def _catch_up(self, partition: int) -> None:
        self._behind[partition] = self._engine.clock.now()
        while True:
            after = self._seen.get(partition, 0)
            records = await self._log.log(partition, after, _BATCH)
            if not records:
                break
            touched: dict[UUID, None] = {record.orchestration: None for record in records}
            rows = [await self._row(partition, orchestration) for orchestration in touched]
            until = records[-1].position
            if await self._view.apply(PROJECTION, partition, after, until, rows):
                self._seen[partition] = until
            else:
                self._seen = await self._view.tracked(PROJECTION)
            if len(records) < _BATCH:
                break
        self._behind.pop(partition, None)

    async def _row(self, partition: int, orchestration: UUID) -> StatusRow:
        live = self._engine.cache.peek_at(orchestration)
        if live is not None and not live.deciding:
            return row_of(partition, orchestration, live.state)
        state, _ = await self._engine.cache.fold(partition, orchestration)
        return row_of(partition, orchestration, state)


def row_of(partition: int, orchestration: UUID, state: State) -> StatusRow:
    """One line of the view."""
    assert state.started_at is not None
    assert state.updated_at is not None
    reference, _, version = state.definition.partition("@")
    namespace, _, name = reference.partition("/")
    incidents = len(state.open_incidents())
    summary = {
        "id": state.id,
        "definition": state.definition,
        "digest": state.digest,
        "status": state.status,
        "version": state.version,
        "business_key": state.business_key,
        "tags": state.tags,
        "error": state.fault.as_json() if state.fault else None,
        "incidents": incidents,
        "parent": state.parent[0] if state.parent else None,
        "started_at": instant(state.started_at),
        "updated_at": instant(state.updated_at),
        "ended_at": instant(state.ended_at),
    }
    return StatusRow(
        partition,
        orchestration,
        state.id,
        namespace,
        name,
        version,
        state.status,
        state.version,
        state.business_key,
        dict(state.tags),
        incidents,
        state.started_at,
        state.updated_at,
        msgspec.json.encode(summary),
    )
