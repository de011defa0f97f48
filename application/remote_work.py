"""The owner's side of work for remote workers: what was reported becomes a command, a lease that is over a report.

Rows change in the transaction of the events (`remote_changes`), and every report, whoever made it, is in its row before
anything is decided from it. So whatever dies here, the next owner finds the row and goes on. Carrying a report out twice is
harmless: the second time nobody waits for it.

A look that finds nothing costs two statements a second for all partitions that are held.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Final

import structlog

from application.effects import Effects
from application.engine import Engine
from application.inbox import Signals
from application.live import Live
from application.ownership import Ownership
from application.ports import Callouts
from application.remote_changes import packed, unpacked
from application.storage import EndTask, Head, LogStore
from application.task_store import TaskKey, TaskRow, TaskStore
from domain import commands as c
from domain import events as e
from domain.errors import ArchivedError, ContentMissingError, NotFoundError, OwnershipLostError, StorageError, fault
from domain.remote import may_unwant

_log = structlog.get_logger(__name__)
WORK: Final = "tasks"
"""The hint that something waits for workers."""
REPORTS: Final = "reports"
"""The hint that something was reported to a node that does not own it."""
_LOOK_S: Final = 1.0
_PAGE: Final = 500
_AT_ONCE: Final = 64


def _offers(live: Live, event: e.Event) -> bool:
    """Whether workers may have something to do after it."""
    begun = type(event) is e.AttemptStarted and (event.run, event.number) in live.remote
    return begun or type(event) is e.OrchestrationResumed


class RemoteWork:
    """One loop per node; it is woken by hints and by commits that give work up."""

    def __init__(
        self,
        engine: Engine,
        store: TaskStore,
        log: LogStore,
        ownership: Ownership,
        signals: Signals,
        callouts: Callouts,
        effects: Effects,
    ) -> None:
        self._engine = engine
        self._store = store
        self._log = log
        self._ownership = ownership
        self._signals = signals
        self._callouts = callouts
        self._effects = effects
        self._gained: set[int] = set()
        self._in_hand: dict[TaskKey, asyncio.Future[None]] = {}
        self._poison: set[TaskKey] = set()
        """Reports that could not be handled because of a defect; tried again when an operator says so."""
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._telling: set[asyncio.Task[None]] = set()
        signals.listen(lambda hint: self._wake.set() if hint == REPORTS else None)
        engine.follow(self)

    def committed(self, live: Live, events: list[e.Event]) -> None:
        """Workers may have something to do; what was given up is to be handled."""
        if not live.remote:
            return
        if self._poison and any(type(event) is e.IncidentResolved for event in events):
            self._poison = {key for key in self._poison if key.orchestration != live.orchestration}
            self._wake.set()
        if may_unwant(live.state, events):
            self._wake.set()
        if any(_offers(live, event) for event in events):
            self._tell(WORK)

    def _tell(self, hint: str) -> None:
        task = asyncio.get_running_loop().create_task(self._signals.tell(hint))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    # Ownership --------------------------------------------------------------------------------------------------------

    def gained(self, head: Head) -> None:
        """Look for what moved into the process or out of it."""
        self._gained.add(head.partition)
        self._wake.set()

    def lost(self, partition: int) -> None:
        """The next owner goes on."""
        self._gained.discard(partition)

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="remote-work")

    async def stop(self) -> None:
        tasks = [*self._telling, *([self._task] if self._task else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *self._in_hand.values(), return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                for partition in sorted(self._gained):
                    await self._moved(partition)
                    self._gained.discard(partition)
                while await self.look():
                    pass
            except StorageError as error:
                _log.warning("tasks.not_read", detail=error.detail)
            except OwnershipLostError:
                pass
            except Exception:
                _log.exception("tasks.broken")
            try:
                async with asyncio.timeout(_LOOK_S):
                    await self._wake.wait()
            except TimeoutError:
                continue
            self._wake.clear()

    async def look(self) -> bool:
        """Handle what is reported and what is overdue; whether there may be more."""
        held = self._ownership.held
        if not held:
            return False
        now = self._engine.clock.now()
        overdue = await self._store.overdue(held, now, _PAGE)
        await asyncio.gather(*[self._lose(row, now) for row in overdue])
        reported = await self._store.reported(held, _PAGE)
        before = len(self._in_hand)
        open_ = [(row.key, row.report) for row in reported if row.report is not None and row.key not in self._poison]
        await asyncio.gather(*[self.handle(key, report) for key, report in open_])
        return len(reported) == _PAGE and not before

    async def _lose(self, row: TaskRow, now: datetime) -> None:
        """The lease is over: nobody knows how it ended, and the worker's token does not count any more."""
        if row.token is None or row.deadline is None:
            return
        if row.deadline <= now:
            why = fault("timeout", f"no report of {row.function} came before the deadline")
        else:
            why = fault("communication", f"the worker that had {row.function} was lost: its lease is over")
        await self._store.void(row.key, row.token, now, packed("uncertain", why=why))

    # Reports ----------------------------------------------------------------------------------------------------------

    async def handle(self, key: TaskKey, report: bytes) -> None:
        """Carry a report out, once at a time. Returns when that is done or its owner was told to do it."""
        if not self._ownership.holds(key.partition):
            self._tell(REPORTS)
            return
        known = self._in_hand.get(key)
        if known is not None:
            await asyncio.wait((known,))
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._in_hand[key] = done
        try:
            async with self._slots:
                await self._carry_out(key, report)
        finally:
            del self._in_hand[key]
            done.set_result(None)

    async def _carry_out(self, key: TaskKey, report: bytes) -> None:
        place = key.partition, key.orchestration
        try:
            members = unpacked(report)
            live = await self._engine.cache.load_at(*place)
            awaited = (key.run, key.number) in live.remote
            await self._engine.execute(
                place, lambda _: self._engine.command(c.ReportResult, run=key.run, number=key.number, **members)
            )
            if not awaited:  # else the row was ended in the transaction of the events
                row = await self._store.get(key)
                if row is not None and row.status != "ended":
                    end = EndTask(key.orchestration, key.run, key.number, self._engine.now())
                    await self._engine.reply(key.partition, live.epoch, end)
        except (ArchivedError, NotFoundError):
            await self._store.discard(key, self._engine.now())
        except OwnershipLostError:
            return
        except StorageError as error:
            _log.warning("report.not_handled", detail=error.detail)  # the row says it still
        except Exception as error:
            _log.exception("report.poison")
            self._poison.add(key)
            await self._engine.report_poison(*place, f"a report could not be handled: {error!r}")

    # Functions that moved ---------------------------------------------------------------------------------------------

    async def _moved(self, partition: int) -> None:
        """What was in flight in a process that had other functions than this one."""
        after = None
        while page := await self._log.in_flight(partition, after):
            for orchestration in page:
                try:
                    live = await self._engine.cache.load_at(partition, orchestration)
                    if live.remote or not live.agenda[0]:  # or it has been decided on before this came by
                        await self._engine.mend(partition, orchestration)
                except ContentMissingError as error:  # the others need not wait for it
                    _log.error("tasks.not_moved", detail=error.detail)
            after = page[-1]
        for function in await self._store.open_functions(partition):
            while self._callouts.knows(function) and (rows := await self._store.open_of(partition, function, _PAGE)):
                for row in rows:
                    await self._take_in(row)
        self._tell(WORK)

    async def _take_in(self, row: TaskRow) -> None:
        """From now on it is carried out here, under the same key; a worker that has it reports to nobody."""
        key = row.key
        try:
            attempt = key.run, key.number
            live = await self._engine.mend(key.partition, key.orchestration, taken_in=[attempt])
            self._effects.resume(live, "its worker was given up: the function is in the process now")
        except (ArchivedError, NotFoundError):
            await self._store.discard(key, self._engine.now())
