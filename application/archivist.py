"""Archives what ended long ago, so that the log and the view stay small.

A family goes as a whole: an orchestration only with its root, all of them final, nothing recorded for any of them since
`retention`. Each is one transaction, children before their parents: after a crash the root is still there, is found
again, and what is left of its family follows. In each transaction the database holds the partition's epoch and finds
the history as long as it was read, so neither another owner nor a late note slips in between; commands of this process
are kept out by the family's lock.

Orchestrations go in small bites, each followed by a rest as long as it took, so that others get their turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec
import structlog

from application.archive import Packing
from application.engine import Engine
from application.journal import Codec
from application.live import agenda_of
from application.projector import StatusProjector
from application.storage import ArchiveRecord, ArchiveStore, Head, LogStore
from application.views import StatusRow, StatusView
from domain import events as e
from domain.errors import StorageError
from domain.evolve import evolve
from domain.lifecycle import ORCHESTRATION_FINAL
from domain.state import State

_log = structlog.get_logger(__name__)
_FINAL: Final = tuple(sorted(ORCHESTRATION_FINAL))
_BITE: Final = 20
_PAGE: Final = 500
_OFTEN_S: Final = 1.0
_SELDOM_S: Final = 60.0
_ROUNDS: Final = 100
"""How often it looks within the retention."""
_VIEW_WAITS_S: Final = 10.0


class _Summary(msgspec.Struct):
    parent: str | None


class _Member(msgspec.Struct):
    """One orchestration of a family, as it was read."""

    root: str
    record: ArchiveRecord
    stripped: list[tuple[int, bytes]]


class _Family(msgspec.Struct):
    """`members`: those that are not archived yet, the root last."""

    name: str
    members: list[_Member]


class Archivist:
    """One loop per process. `heads` gives the partitions that are its own, with their epochs."""

    def __init__(
        self,
        engine: Engine,
        log: LogStore,
        view: StatusView,
        archive: ArchiveStore,
        codec: Codec,
        projector: StatusProjector,
        heads: Callable[[], Sequence[Head]],
        retention_s: float | None,
    ) -> None:
        self._engine = engine
        self._log = log
        self._view = view
        self._archive = archive
        self._codec = codec
        self._projector = projector
        self._heads = heads
        self._retention_s = retention_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._retention_s is not None:
            every_s = min(_SELDOM_S, max(_OFTEN_S, self._retention_s / _ROUNDS))
            self._task = asyncio.create_task(self._run(self._retention_s, every_s), name="archivist")

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, retention_s: float, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            try:
                await self.archive(self._engine.clock.now() - timedelta(seconds=retention_s))
            except (StorageError, TimeoutError) as error:
                _log.warning("archive.failed", detail=str(error))
            except Exception:
                _log.exception("archive.broken")

    async def archive(self, before: datetime) -> int:
        """Archive every family that has been still since `before`; gives how many orchestrations that were."""
        loop = asyncio.get_running_loop()
        archived = 0
        for head in self._heads():
            after = None
            while rows := await self._view.still(head.partition, _FINAL, before, after, _PAGE):
                after = (rows[-1].started_at, rows[-1].public_id)
                roots = [row for row in rows if not _is_awaited(row)]
                for first in range(0, len(roots), _BITE):
                    began_s = loop.time()
                    archived += await self._bite(head, roots[first : first + _BITE], before)
                    await asyncio.sleep(loop.time() - began_s)
        if archived:
            _log.info("archive.done", orchestrations=archived)
        return archived

    async def _bite(self, head: Head, roots: Sequence[StatusRow], before: datetime) -> int:
        read = [await self._family(head.partition, row, before) for row in roots]
        # What was committed before it was read is in the view from here on; so no row comes back after it was removed.
        await asyncio.wait_for(self._projector.caught_up(), _VIEW_WAITS_S)
        counts = await asyncio.gather(*(self._put(head, family) for family in read if family is not None))
        return sum(counts)

    async def _put(self, head: Head, family: _Family) -> int:
        archived = 0
        async with self._engine.cache.family(family.name):
            for member in family.members:
                try:
                    if not await self._archive.put(head, member.record, member.stripped):
                        break
                finally:  # after trouble nobody knows whether it was committed; what is not, is read again
                    self._engine.cache.forget(member.record.orchestration)
                archived += 1
        return archived

    # Reading ----------------------------------------------------------------------------------------------------------

    async def _family(self, partition: int, root: StatusRow, before: datetime) -> _Family | None:
        """All that is left of a family; None when it cannot be archived yet."""
        members: list[_Member] = []
        pending = [root.orchestration]
        while pending:
            found = await self._member(partition, pending.pop(), before)
            if found is None:
                return None
            member, children = found
            if member is not None and member.root != root.public_id:
                return None  # a child that nobody awaits; it goes with its root
            if member is not None:
                members.append(member)
                pending += [self._engine.identity.locate(child)[1] for child in children]
        return _Family(root.public_id, members[::-1])

    async def _member(
        self, partition: int, orchestration: UUID, before: datetime
    ) -> tuple[_Member | None, list[str]] | None:
        """(what to archive, its children); (None, []) when it is archived already, and its children before it; None when
        it is not to be archived.
        """
        state, packing, children = State(), Packing(), dict[str, None]()
        while records := await self._log.stream(partition, orchestration, state.version, _PAGE):
            if records[0].state_hash is not None:
                return None, []
            for stored in records:
                event = self._codec.decode(stored.topic, stored.state, stored.blobs)
                if isinstance(event, e.AttemptStarted) and event.child is not None:
                    children[event.child[0]] = None
                evolve(state, event)
            packing.add(records)
            await asyncio.sleep(0)
        if not state.version:
            return None, []  # a child that never began
        if not _still(state, before):
            return None
        record = self._record(orchestration, state, packing)
        return _Member(state.root, record, packing.stripped), list(children)

    def _record(self, orchestration: UUID, state: State, packing: Packing) -> ArchiveRecord:
        assert state.started_at is not None
        assert state.ended_at is not None
        return ArchiveRecord(
            orchestration,
            state.id,
            state.definition,
            state.status,
            state.started_at,
            state.ended_at,
            state.version,
            self._engine.now(),
            packing.content(),
        )


def _is_awaited(row: StatusRow) -> bool:
    """Whether it is a child whose parent waits for it."""
    return msgspec.json.decode(row.summary, type=_Summary).parent is not None


def _still(state: State, before: datetime) -> bool:
    """Whether it has ended, nothing is in flight, and nothing was recorded since."""
    if not state.final or state.updated_at is None or state.updated_at > before:
        return False
    return state.flying == 0 and agenda_of(state) == (False, None)
