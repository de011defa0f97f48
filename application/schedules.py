"""Runs schedules: what `domain.schedule` decides is stored by compare-and-set, then started, then stored as begun.

The owner of a schedule's partition looks when the next occurrence is due, when a run that it waits for may have ended, and
every few seconds for what other nodes have changed. Nothing depends on there being one node only: two that decide the same
meet at the compare-and-set, and an occurrence that is started twice, by two nodes or again after a crash, has one public id.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final

import msgspec
import structlog

from application.definitions import DefinitionRegistry
from application.forwarding import Begin
from application.identity import Identity
from application.inbox import Signals
from application.ownership import Ownership
from application.ports import Clock, Crons
from application.reader import Reader
from application.routing import Router
from application.schedule_store import ScheduleRow, ScheduleStore
from application.status import instant
from application.storage import Head, canonical
from domain.errors import ArchivedError, NotFoundError, RetraceError, StorageError
from domain.schedule import Begun, Course, Occurrence, activated, advanced, begun
from domain.starting_events import wanted

Json = dict[str, Any]

_log = structlog.get_logger(__name__)
ACTOR: Final = "schedule"
_HINT: Final = "schedules"
_LOOK_S: Final = 10.0
_AGAIN: Final = timedelta(seconds=1)
_AT_ONCE: Final = 16
_REMEMBERED_S: Final = 1.0
_course = msgspec.json.Decoder(Course).decode
_bytes = msgspec.json.Encoder().encode


class Schedules:
    """A tenant of the partitions; one loop per node. `change` is for operators, on any node."""

    def __init__(
        self,
        store: ScheduleStore,
        definitions: DefinitionRegistry,
        router: Router,
        reader: Reader,
        ownership: Ownership,
        identity: Identity,
        signals: Signals,
        clock: Clock,
        crons: Crons,
    ) -> None:
        self._store = store
        self._definitions = definitions
        self._router = router
        self._reader = reader
        self._ownership = ownership
        self._identity = identity
        self._signals = signals
        self._clock = clock
        self._crons = crons
        self._wake = asyncio.Event()
        self._unsure = True
        """Whether there may be deployments whose schedules are not stored."""
        self._by_event: list[Course] = []
        self._by_event_until = 0.0
        self._activating = asyncio.Lock()
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._task: asyncio.Task[None] | None = None
        signals.listen(self._hear)
        definitions.on_deployed(self._deployed)

    # Life -------------------------------------------------------------------------------------------------------------

    def gained(self, head: Head) -> None:
        """The last owner may have died between a deployment and the row of its schedule."""
        self._deployed()

    def lost(self, partition: int) -> None:
        """Nothing of it is in memory; what is being decided meets the next owner at the compare-and-set."""

    def _hear(self, hint: str) -> None:
        if hint == _HINT:
            self._by_event_until = 0.0
            self._wake.set()

    def _deployed(self) -> None:
        self._unsure = True
        self._wake.set()

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="schedules")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            pause_s = _AGAIN.total_seconds()
            try:
                await self.activate()
                pause_s = await self._look()
            except StorageError as error:
                _log.warning("schedules.not_read", detail=error.detail)
            except Exception:
                _log.exception("schedules.broken")
            try:
                async with asyncio.timeout(pause_s):
                    await self._wake.wait()
            except TimeoutError:
                continue

    # Which there are --------------------------------------------------------------------------------------------------

    async def activate(self) -> None:
        """Have a row for the schedule of every definition's latest version. Raises StorageError."""
        async with self._activating:
            if self._unsure:
                self._unsure = False
                try:
                    await self._activate()
                except BaseException:
                    self._unsure = True
                    raise

    async def _activate(self) -> None:
        rows = {(row.namespace, row.name): row for row in await self._store.of(range(self._identity.partitions))}
        changed = False
        for record in await self._definitions.latest_of_all():
            key = (record.namespace, record.name)
            row = rows.get(key)
            if row is None and b'"schedule"' not in record.value:
                continue  # not worth compiling
            plan = await self._definitions.by_digest(record.digest)
            known = None if row is None else _course(row.course)
            if plan.digest == known.digest if known is not None else plan.schedule is None:
                continue
            new = activated(known, plan.reference, plan.digest, plan.schedule, self._clock.now(), self._crons)
            if row is None:
                done = await self._store.put(*key, _bytes(new))
            else:
                done = await self._store.change(*key, row.revision, _bytes(new))
            # Whoever was quicker may know of a later version, or of nothing but the last run: look again at what it left.
            self._unsure = self._unsure or not done
            changed = True
        if changed:
            await self.tell()

    async def change(self, namespace: str, name: str, make: Callable[[Course], Course]) -> Course:
        """Compare-and-set until it holds. Raises NotFoundError, StorageError."""
        await self.activate()
        while True:
            row = await self._store.get(namespace, name)
            if row is None:
                raise NotFoundError(f"There is no schedule of {namespace}/{name}.")
            known = _course(row.course)
            new = make(known)
            if new == known or await self._store.change(namespace, name, row.revision, _bytes(new)):
                self._by_event_until = 0.0
                self._wake.set()
                return new

    async def all(self) -> list[tuple[ScheduleRow, Course]]:
        """Every schedule that is in force, by namespace and name."""
        await self.activate()
        rows = await self._store.of(range(self._identity.partitions))
        found = [(row, _course(row.course)) for row in rows]
        return [(row, course) for row, course in found if course.schedule is not None]

    async def tell(self) -> None:
        """Something was changed here that its owner should see soon."""
        self._wake.set()
        await self._signals.tell(_HINT)

    # Running them -----------------------------------------------------------------------------------------------------

    async def _look(self) -> float:
        """Do what is due in our partitions; gives the seconds until the next look."""
        held: Collection[int] = self._ownership.held
        rows = await self._store.of(sorted(held)) if held else []
        times = await asyncio.gather(*(self._attend(row) for row in rows))
        next_at = min((at for at in times if at is not None), default=None)
        if next_at is None:
            return _LOOK_S
        return min(max((next_at - self._clock.now()).total_seconds(), 0.001), _LOOK_S)

    async def _attend(self, row: ScheduleRow) -> datetime | None:
        """One schedule; gives when to look again."""
        course, now = _course(row.course), self._clock.now()
        try:
            async with self._slots:
                return await self._carry_on(row, course, now)
        except RetraceError as error:
            _log.warning("schedule.not_run", definition=course.definition, detail=error.detail)
        except Exception:
            _log.exception("schedule.broken", definition=course.definition)
        return now + _AGAIN

    async def _carry_on(self, row: ScheduleRow, course: Course, now: datetime) -> datetime | None:
        if course.schedule is None and not course.starting:
            return None
        at = course.look_at(now)
        if (at is not None and at <= now) or course.waits_for_an_end:
            course = await self._ends_noted(course)
        decided = advanced(course, now, self._crons)
        quiet = msgspec.structs.replace(decided, looked_at=course.looked_at) == _course(row.course)
        if quiet and course.looked_at <= now:
            decided = course
        elif not await self._store.change(row.namespace, row.name, row.revision, _bytes(decided)):
            return now  # somebody else has changed it
        if decided.starting:
            runs = [await self.begin(decided, occurrence) for occurrence in decided.starting]
            decided = await self.change(row.namespace, row.name, lambda current: begun(current, runs))
        return decided.look_at(self._clock.now())

    async def begin(self, course: Course, occurrence: Occurrence) -> Begun:
        """Start an occurrence; one that was started before is found again. Raises RetraceError."""
        definition = course.definition.partition("@")[0]
        by_hand = occurrence.actor is not None
        public_id = self._identity.of_occurrence(definition, occurrence.at, by_hand=by_hand)
        members = {
            "input": {"scheduled_for": instant(occurrence.at)},
            "request": sha256(f"{definition} {occurrence.at.isoformat()}".encode()).digest(),
            "actor": occurrence.actor or ACTOR,
            "scheduled_for": occurrence.at,
        }
        await self._router.begin(Begin(public_id, course.digest, members))
        return Begun(public_id, occurrence, self._clock.now())

    # Events -----------------------------------------------------------------------------------------------------------

    async def start_by(self, event: Json, received_at: datetime, actor: str | None) -> bool:
        """Start what this event starts: each definition once, however often it is asked. Raises RetraceError."""
        started = False
        for course in await self._awaiting_events():
            if course.schedule is None or course.paused is not None or not wanted(course.schedule, event):
                continue
            definition = course.definition.partition("@")[0]
            members = {
                "input": [event],
                "request": sha256(canonical([definition, event])).digest(),
                "actor": actor or ACTOR,
                "scheduled_for": received_at,
            }
            public_id = self._identity.of_event(definition, event["source"], event["id"])
            await self._router.begin(Begin(public_id, course.digest, members))
            started = True
        return started

    async def _awaiting_events(self) -> list[Course]:
        """Those that events start; what other nodes deployed is known within a second."""
        now_s = asyncio.get_running_loop().time()
        if self._unsure or now_s >= self._by_event_until:
            found = [course for _, course in await self.all()]
            self._by_event = [course for course in found if course.schedule and course.schedule.on is not None]
            self._by_event_until = now_s + _REMEMBERED_S
        return self._by_event

    async def _ends_noted(self, course: Course) -> Course:
        runs = tuple([run if run.ended_at is not None else await self._seen(run) for run in course.runs])
        return msgspec.structs.replace(course, runs=runs)

    async def _seen(self, run: Begun) -> Begun:
        try:
            state = (await self._reader.settled(run.id)).state
        except (ArchivedError, NotFoundError):
            return msgspec.structs.replace(run, ended_at=run.started_at)
        return msgspec.structs.replace(run, ended_at=state.ended_at) if state.final else run
