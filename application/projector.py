"""Drives the status view: reads the log behind the commits and keeps one row per orchestration, exactly once.

Per partition the rows and the position up to which the log has been seen change in one transaction. A row is a function of
the orchestration's state, so building the view again from the log gives the same rows. Many events become one row.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
import structlog

from application.engine import Engine
from application.journal import Journal
from application.live import Live
from application.ownership import Ownership
from application.status import instant
from application.storage import Head, LogStore
from application.views import Move, StatusRow, StatusView
from domain import events as e
from domain.errors import ArchivedError, ContentMissingError, OwnershipLostError, StorageError
from domain.state import State

_log = structlog.get_logger(__name__)
PROJECTION: Final = "status"
_BATCH: Final = 1000
_REST_S: Final = 0.2
_AFTER_TROUBLE_S: Final = 1.0


class StatusProjector:
    """One loop per process, for the partitions that are ours; woken by commits.

    A partition that was gained is read from where its view stopped, up to where it was when it was gained. What is committed
    from then on the journal tells, so the log is not read a second time.
    """

    def __init__(self, engine: Engine, journal: Journal, log: LogStore, view: StatusView, ownership: Ownership) -> None:
        self._engine = engine
        self._journal = journal
        self._log = log
        self._view = view
        self._ownership = ownership
        self._seen: dict[int, int] = {}
        """Up to where each partition's view has seen the log. A partition that is not here has to be read first."""
        self._unread: dict[int, int] = {}
        """Partition -> up to where it has to be read; the journal has told of everything after that."""
        self._moved: dict[int, dict[int, UUID]] = {}
        self._ended: dict[int, dict[int, Live]] = {}
        """Those that have ended since the last look: memory forgets these first, and folding them again for a last row would
        cost more than the row, most when there is most to do.
        """
        self._since: dict[int, datetime] = {}
        self._applying: dict[int, datetime] = {}
        self._wake = asyncio.Event()
        self._hurry = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._waiting: list[asyncio.Future[None]] = []
        journal.on_commit(self._on_commit)
        engine.follow(self)

    def committed(self, live: Live, events: list[e.Event]) -> None:
        if live.state.final:
            self._ended.setdefault(live.partition, {})[live.orchestration.int] = live

    def _on_commit(self, partition: int, orchestrations: list[UUID]) -> None:
        moved = self._moved.setdefault(partition, {})
        for orchestration in orchestrations:
            moved[orchestration.int] = orchestration
        if partition not in self._since:
            self._since[partition] = self._engine.clock.now()
            self._wake.set()

    def gained(self, head: Head) -> None:
        """Read what the last owner left unseen."""
        self._unread[head.partition] = head.position
        self._since.setdefault(head.partition, self._engine.clock.now())
        self._wake.set()

    def lost(self, partition: int) -> None:
        """The next owner goes on from the tracked position."""
        self._forget(partition)
        if not self._since and not self._applying:
            _release(self._waiting)
            self._waiting = []

    def _forget(self, partition: int) -> None:
        self._seen.pop(partition, None)
        self._unread.pop(partition, None)
        self._moved.pop(partition, None)
        self._ended.pop(partition, None)
        self._since.pop(partition, None)
        self._applying.pop(partition, None)

    def _read_again(self, partition: int, since: datetime) -> None:
        self._forget(partition)
        self._unread[partition] = self._journal.position(partition)
        self._since[partition] = since

    def follows(self, partition: int) -> bool:
        """Whether its view is known to hold everything but what `as_of` says; else the log has to be compared with it."""
        return partition in self._seen

    def as_of(self) -> datetime:
        """Up to which instant the view of our partitions is complete: that of the one that is furthest behind."""
        return min([*self._since.values(), *self._applying.values()], default=self._engine.clock.now())

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="status projector")

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def caught_up(self) -> None:
        """Returns when every commit so far on this node is in the view."""
        if self._since or self._applying:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            self._hurry.set()
            await future

    async def rebuild(self) -> None:
        """Forget the view of our partitions and build it again from the log."""
        await self.stop()
        for partition in self._ownership.held:
            self._forget(partition)
            await self._view.reset(PROJECTION, partition)
            if self._ownership.holds(partition):
                self._read_again(partition, self._engine.clock.now())
        await self.start()

    async def _run(self) -> None:
        while True:
            try:
                while True:
                    await self._project()
            except StorageError as error:
                _log.warning("status.not_projected", detail=error.detail)
            except Exception:
                _log.exception("status.broken")
            for partition in self._ownership.held:  # whatever went wrong, the log knows
                since = self._since.get(partition, self._engine.clock.now())  # what was unseen is unseen still
                self._read_again(partition, since)
            await asyncio.sleep(_AFTER_TROUBLE_S)

    async def _project(self) -> None:
        """Everything that has moved since the last time, all partitions at once; then a short rest, so that the view
        costs the writers little.
        """
        if not self._since:
            _release(self._waiting)
            self._waiting = []
            self._wake.clear()
            await self._wake.wait()
        waiting, self._waiting = self._waiting, []
        moved, self._moved = self._moved, {}
        ended, self._ended = self._ended, {}
        self._applying, self._since = self._since, {}
        # What is committed from here on has its turn in the next round.
        heads = {each: self._journal.position(each) for each in self._applying if self._journal.epoch(each) is not None}
        try:
            await self._apply(heads, moved, ended)
        except BaseException:
            self._waiting += waiting
            self._since |= self._applying
            raise
        finally:
            self._applying = {}
        _release(waiting)
        self._hurry.clear()
        if not self._waiting:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), _REST_S)

    async def _apply(
        self, heads: dict[int, int], moved: dict[int, dict[int, UUID]], ended: dict[int, dict[int, Live]]
    ) -> None:
        """What was gained is read first, each for itself; then everything moves in one transaction."""
        await asyncio.gather(*(self._read_log(each) for each in heads if each in self._unread))
        followed = [each for each, until in heads.items() if until > self._seen.get(each, until)]
        rows = await asyncio.gather(*(self._rows(each, moved.get(each, {}), ended.get(each, {})) for each in followed))
        await self._move(
            [
                Move(each, self._seen[each], heads[each], found)
                for each, found in zip(followed, rows, strict=True)
                if each in self._seen  # else it was lost meanwhile
            ]
        )

    async def _rows(self, partition: int, touched: dict[int, UUID], ended: dict[int, Live]) -> list[StatusRow]:
        """A state is looked at in the moment in which it is settled: the next decision may run ahead of the log."""
        rows: list[StatusRow] = []
        cache = self._engine.cache
        with self._unless_lost(partition):
            for key, orchestration in touched.items():
                live = cache.ready_at(partition, orchestration)
                if live is None and key in ended and cache.peek_at(orchestration) is None:
                    live = ended[key] if ended[key].epoch == self._journal.epoch(partition) else None
                if live is None:
                    live = await self._settled(partition, orchestration)
                if live is not None:
                    rows.append(row_of(partition, orchestration, live.state))
        return rows

    @contextlib.contextmanager
    def _unless_lost(self, partition: int) -> Iterator[None]:
        """It does not matter that a partition was lost on the way."""
        try:
            yield
        except OwnershipLostError:
            if self._ownership.holds(partition):
                raise

    async def _read_log(self, partition: int) -> None:
        """From where the view stopped to the head."""
        with self._unless_lost(partition):
            await self._read_on(partition)

    async def _read_on(self, partition: int) -> None:
        epoch = self._journal.epoch(partition)
        seen = (await self._view.tracked(PROJECTION)).get(partition, 0)
        while self._journal.epoch(partition) == epoch is not None:
            records = await self._log.log(partition, seen, _BATCH) if seen < self._unread[partition] else []
            if self._journal.epoch(partition) != epoch:  # somebody may have written since
                return
            if not records:
                del self._unread[partition]
                self._seen[partition] = seen
                return
            # Folded, not from memory: the log may have been written by another owner, of which memory knows nothing.
            touched = dict.fromkeys(record.orchestration for record in records)
            found = [(each, await self._folded(partition, each)) for each in touched]
            rows = [row_of(partition, each, state) for each, state in found if state is not None]
            await self._move([Move(partition, seen, records[-1].position, rows)])
            seen = records[-1].position

    async def _folded(self, partition: int, orchestration: UUID) -> State | None:
        try:
            return (await self._engine.cache.fold(partition, orchestration))[0]
        except ArchivedError:
            return None  # the view has nothing that is archived
        except ContentMissingError as error:
            _not_readable(error)
            return None

    async def _settled(self, partition: int, orchestration: UUID) -> Live | None:
        try:
            return await self._engine.cache.settled_at(partition, orchestration)
        except ArchivedError:
            return None
        except ContentMissingError as error:
            _not_readable(error)
            return None

    async def _move(self, moves: list[Move]) -> None:
        moved = await self._view.apply(PROJECTION, moves) if moves else set()
        for move in moves:
            if move.partition in moved and move.partition in self._seen:
                self._seen[move.partition] = move.until
        if len(moved) < len(moves):
            raise StorageError("the view was moved by someone else")


def _not_readable(error: ContentMissingError) -> None:
    """One that cannot be read must not hold up the rest of its partition; its row stays as it is."""
    _log.error("status.not_readable", detail=error.detail)


def _release(waiting: list[asyncio.Future[None]]) -> None:
    for future in waiting:
        if not future.done():
            future.set_result(None)


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
