"""Drops what was written beside the log and came to nothing: files of callouts whose result was never committed, contents
of transactions that were not, and everything of orchestrations whose archive an operator has deleted.

Only what has been loose for a day is looked at: by then whoever wrote it has committed, or never will. Its orchestration's
history tells whether anything refers to it; what does is loose no longer, the rest is dropped. A digest that is merely
mentioned counts, for what was kept once too often harms nobody. Events of the orchestration wait meanwhile (the lock of its
family), and a writer that comes with the same content once more makes it young again, which a drop respects.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import groupby
from typing import Final
from uuid import UUID

import structlog

from application.archive import ArchiveReader
from application.attached_log import AttachedLog
from application.audit_log import AuditLog
from application.blob_store import BlobStore
from application.engine import Engine
from application.large_values import references
from application.storage import Head
from domain.errors import ArchivedError, RetraceError, StorageError

_log = structlog.get_logger(__name__)
GRACE: Final = timedelta(days=1)
_EVERY_S: Final = 3600.0
_PAGE: Final = 100
_MENTION: Final = re.compile(rb"sha256:([0-9a-f]{64})")


class BlobCollector:
    """One loop per process, over the partitions that it owns."""

    def __init__(
        self,
        engine: Engine,
        store: BlobStore,
        log: AttachedLog,
        archive: ArchiveReader,
        audit: AuditLog,
        heads: Callable[[], Sequence[Head]],
    ) -> None:
        self._engine = engine
        self._store = store
        self._log = log
        self._archive = archive
        self._audit = audit
        self._heads = heads
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="blob collector")

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_EVERY_S)
            try:
                await self.collect()
            except StorageError as error:
                _log.warning("blobs.not_collected", detail=error.detail)
            except Exception:
                _log.exception("blobs.not_collected")

    async def collect(self) -> int:
        """Look at all that is old enough; gives how many were dropped."""
        dropped = 0
        for head in self._heads():
            before = self._engine.clock.now() - GRACE
            while found := await self._store.loose(head.partition, before, _PAGE):
                settled = 0
                for orchestration, group in groupby(sorted(found), key=lambda each: each[0]):
                    kept, gone = await self._settle(head.partition, orchestration, [each[1] for each in group])
                    settled += kept + gone
                    dropped += gone
                if not settled:
                    break  # nothing of these can be told now
            dropped += await self._without_archive(head.partition)
        if dropped:
            _log.info("blobs.dropped", blobs=dropped)
        return dropped

    async def _settle(self, partition: int, orchestration: UUID, digests: list[bytes]) -> tuple[int, int]:
        """(how many are referred to, how many were dropped)."""
        before = self._engine.clock.now() - GRACE
        family = await self._family(partition, orchestration)
        async with self._engine.cache.family(family):
            try:
                mentioned = await self._mentioned(partition, orchestration)
            except RetraceError as error:
                _log.warning("blobs.history_unreadable", detail=error.detail)
                return 0, 0
            kept = [each for each in digests if each in mentioned]
            await self._store.keep(partition, orchestration, kept)
            gone = 0
            for digest in digests:
                if digest not in mentioned:
                    gone += await self._store.drop_loose(partition, orchestration, digest, before)
            return len(kept), gone

    async def _family(self, partition: int, orchestration: UUID) -> str:
        """The name of the lock that its events are decided under."""
        try:
            return (await self._engine.cache.load_at(partition, orchestration)).family
        except RetraceError:
            return orchestration.hex  # it has ended and is archived, or never began: there is nothing to wait for

    async def _mentioned(self, partition: int, orchestration: UUID) -> set[bytes]:
        """Every digest that its events refer to, or mention, also inside of what they refer to."""
        found: set[bytes] = set()
        for state in await self._states(partition, orchestration):
            found |= {bytes.fromhex(each.decode()) for each in _MENTION.findall(state)}
            for reference in references(state):
                if reference.digest in found:
                    continue
                found.add(reference.digest)
                blob = await self._store.get(partition, orchestration, reference.digest)
                if blob is not None and blob.content is not None:
                    found |= {bytes.fromhex(each.decode()) for each in _MENTION.findall(blob.content)}
        return found

    async def _states(self, partition: int, orchestration: UUID) -> list[bytes]:
        states: list[bytes] = []
        while records := await self._log.bare.stream(partition, orchestration, len(states)):
            if records[0].state_hash is not None:
                try:
                    records, _ = await self._archive.page(partition, orchestration, len(states), len(records))
                except ArchivedError:
                    return states
            states += [record.state for record in records]
        return states

    async def _without_archive(self, partition: int) -> int:
        """Blobs of orchestrations that are neither in the log nor in the archive any more."""
        dropped, after = 0, 0
        while gone := await self._audit.unarchived(partition, _PAGE, after):
            after = gone[-1][1]
            for orchestration, _ in gone:
                dropped += await self._all_of(partition, UUID(bytes=orchestration))
        return dropped

    async def _all_of(self, partition: int, orchestration: UUID) -> int:
        """Drop whatever one orchestration has; gives how many there were."""
        dropped = 0
        while page := await self._store.page(partition, (orchestration, b""), _PAGE):
            digests = [digest for of, digest, _ in page if of == orchestration]
            await self._store.drop(partition, orchestration, digests)
            dropped += len(digests)
            if len(digests) < len(page) or len(page) < _PAGE:
                break
        return dropped
