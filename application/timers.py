"""What is due: fires timers when their time has come.

The agenda in the database is the truth; memory holds only what is due within a horizon, so timers by the million cost disk.
The agenda is read again every half horizon, which also covers clocks that jump. A wake-up too many is harmless: the domain
handles what is really due and nothing else.
"""

from __future__ import annotations

import asyncio
import heapq
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from application.engine import Engine
from application.live import Live
from application.measures import Distribution
from application.ownership import Ownership
from application.storage import Head, LogStore
from domain import commands as c
from domain import events as e
from domain.errors import NotFoundError, OwnershipLostError, StorageError

_log = structlog.get_logger(__name__)
HORIZON_S = 60.0
AT_ONCE = 64
_PAGE = 10_000


class Timers:
    """Follows commits for new due times; one loop fires them."""

    def __init__(self, engine: Engine, log: LogStore, ownership: Ownership) -> None:
        self._engine = engine
        self._log = log
        self._ownership = ownership
        self._next_look = 0.0
        self._heap: list[tuple[datetime, int, UUID]] = []
        self._known: set[tuple[datetime, UUID]] = set()
        self._wake = asyncio.Event()
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop_task: asyncio.Task[None] | None = None
        self.lateness = Distribution()
        """Seconds from when each timer was due until what it led to was committed; false alarms are not in it."""
        engine.follow(self)

    def committed(self, live: Live, events: list[e.Event]) -> None:
        due_at = live.agenda[1]
        if due_at is not None and due_at <= self._engine.clock.now() + timedelta(seconds=HORIZON_S):
            self._add(due_at, live.partition, live.orchestration)

    def gained(self, head: Head) -> None:
        """Look at once at what is due there."""
        self._next_look = 0.0
        self._wake.set()

    def lost(self, partition: int) -> None:
        """What is due there is the next owner's; what stays in memory is refused when its time comes."""

    def start(self) -> None:
        self._loop_task = asyncio.create_task(self._run(), name="timers")

    async def stop(self) -> None:
        for task in (self._loop_task, *self._tasks):
            if task is not None:
                task.cancel()
        await asyncio.gather(*(t for t in (self._loop_task, *self._tasks) if t), return_exceptions=True)

    def _add(self, due_at: datetime, partition: int, orchestration: UUID) -> None:
        if (due_at, orchestration) not in self._known:
            self._known.add((due_at, orchestration))
            heapq.heappush(self._heap, (due_at, partition, orchestration))
            self._wake.set()

    def _add_later(self, live: Live) -> None:
        """A timer that is due but has to wait (an undo in progress, say) must not hide the ones after it."""
        now = self._engine.clock.now()
        if live.agenda[1] is not None and live.agenda[1] <= now:
            later = min((when for when, _, _ in live.state.due() if when > now), default=None)
            if later is not None and later <= now + timedelta(seconds=HORIZON_S):
                self._add(later, live.partition, live.orchestration)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            if loop.time() >= self._next_look:
                self._next_look = loop.time() + HORIZON_S  # a partition that is gained meanwhile sets it back
                pause_s = await self._look()
                self._next_look = min(self._next_look, loop.time() + pause_s)
            now = self._engine.clock.now()
            while self._heap and self._heap[0][0] <= now:
                due_at, partition, orchestration = heapq.heappop(self._heap)
                self._known.discard((due_at, orchestration))
                await self._slots.acquire()
                task = loop.create_task(self._fire(due_at, partition, orchestration))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            pause = self._next_look - loop.time()
            if self._heap:
                pause = min(pause, (self._heap[0][0] - now).total_seconds())
            try:
                await asyncio.wait_for(self._wake.wait(), max(pause, 0.001))
            except TimeoutError:
                continue

    async def _look(self) -> float:
        """Read what the agenda has within the horizon; gives the seconds until the next look."""
        now = self._engine.clock.now()
        try:
            page = await self._log.due(self._ownership.held, now + timedelta(seconds=HORIZON_S), limit=_PAGE)
        except StorageError as error:
            _log.warning("timers.not_read", detail=error.detail)
            return 1.0
        for partition, orchestration, due_at in page:
            self._add(due_at, partition, orchestration)
        if len(page) < _PAGE:
            return HORIZON_S / 2
        return min(HORIZON_S / 2, max(1.0, (page[-1][2] - now).total_seconds()))

    async def _fire(self, due_at: datetime, partition: int, orchestration: UUID) -> None:
        try:
            outcome = await self._engine.execute(
                (partition, orchestration), lambda _: self._engine.command(c.FireTimers)
            )
            if outcome.events:
                self.lateness.add((self._engine.clock.now() - due_at).total_seconds())
            self._add_later(await self._engine.cache.settled_at(partition, orchestration))
        except (NotFoundError, OwnershipLostError):
            return
        except StorageError as error:
            _log.warning("timer.not_fired", detail=error.detail)
            later = self._engine.clock.now() + timedelta(seconds=1)
            self._add(later, partition, orchestration)
        except Exception as error:
            _log.exception("timer.poison")
            await self._engine.report_poison(partition, orchestration, f"a timer could not be handled: {error!r}")
        finally:
            self._slots.release()
