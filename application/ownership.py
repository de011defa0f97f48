"""Whether the partitions are still ours: asks the database now and then, so that a node that writes nothing learns too.

A node that has lost a partition must not answer for it; `lost` is set as soon as it is known, and whoever runs the node
stops it. Correctness does not rest on this: every write is fenced.
"""

from __future__ import annotations

import asyncio

import structlog

from application.journal import Journal
from application.storage import LogStore
from domain.errors import StorageError

_log = structlog.get_logger(__name__)


class Ownership:
    """One loop per process; without `every_s` only a refused write tells."""

    def __init__(self, journal: Journal, log: LogStore, partitions: int, every_s: float | None) -> None:
        self._journal = journal
        self._log = log
        self._partitions = partitions
        self._every_s = every_s
        self._task: asyncio.Task[None] | None = None
        self.lost = asyncio.Event()
        journal.on_lost(self._on_lost)

    def _on_lost(self, partition: int) -> None:
        if not self.lost.is_set():
            _log.error(
                "database.taken_over", detail="another process has taken this database over; this one has to stop"
            )
        self.lost.set()

    def start(self) -> None:
        if self._every_s is not None:
            self._task = asyncio.create_task(self._run(self._every_s), name="ownership")

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, every_s: float) -> None:
        while not self.lost.is_set():
            await asyncio.sleep(every_s)
            try:
                self._journal.compare(await self._log.heads(range(self._partitions)))
            except StorageError:
                continue  # a database that is away says nothing about who owns it
