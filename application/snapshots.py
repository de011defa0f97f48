"""Keeps long histories quick to open: now and then the state of a long orchestration is stored as it is.

A snapshot is written beside the work of the day, never in the transaction of the events, and only when a fold would
otherwise have much to do: when more events have come since the last one than `after`, and than a sixteenth of the
history. So what is written in all stays in proportion to the history, and so does what is left to fold.

The bytes are packed in pieces, with the family's lock held: the orchestration waits, others do not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Final
from uuid import UUID

import structlog

from application.engine import Engine
from application.journal import StateCodec
from application.live import Live
from application.storage import SnapshotRecord, SnapshotStore
from domain import events as e
from domain.errors import StorageError

_log = structlog.get_logger(__name__)
_SHARE: Final = 16


class Snapshots:
    """One loop per process; woken by commits and by long folds."""

    def __init__(self, engine: Engine, store: SnapshotStore, states: StateCodec, *, after: int = 1000) -> None:
        self._engine = engine
        self._store = store
        self._states = states
        self._after = after
        self._wanted: dict[UUID, None] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        engine.follow(self)
        engine.cache.on_load(self._consider)

    def committed(self, live: Live, events: list[e.Event]) -> None:
        if live.state.version - live.snapshot >= self._after:
            self._consider(live)

    def _consider(self, live: Live) -> None:
        if self._due(live):
            self._wanted[live.orchestration] = None
            self._wake.set()

    def _due(self, live: Live) -> bool:
        since = live.state.version - live.snapshot
        return since >= self._after and since * _SHARE >= live.state.version

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="snapshots")

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._wanted:
                orchestration = next(iter(self._wanted))
                del self._wanted[orchestration]
                try:
                    await self._take(orchestration)
                except StorageError as error:
                    _log.warning("snapshot.not_written", detail=error.detail)
                except Exception:
                    _log.exception("snapshot.broken")

    async def _take(self, orchestration: UUID) -> None:
        live = self._engine.cache.peek_at(orchestration)
        if live is None:
            return
        async with self._engine.cache.family(live.family):
            if self._engine.cache.peek_at(orchestration) is not live or not self._due(live):
                return  # it was forgotten, or wanted again while the last one was being taken
            # Whatever comes of it: the next one is due after as many events again.
            live.snapshot = live.state.version
            version, event_hash = live.state.version, live.event_hash
            state = await _packed(self._states.pack(live.state))
        await self._store.put(
            live.partition, SnapshotRecord(orchestration, version, self._states.format, event_hash, state)
        )


async def _packed(packing: Generator[None, None, bytes]) -> bytes:
    while True:
        try:
            next(packing)
        except StopIteration as done:
            return bytes(done.value)
        await asyncio.sleep(0)
