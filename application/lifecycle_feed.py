"""Tells the lifecycle of orchestrations and tasks to a sink, from the committed log: nothing is told that did not happen.

Each node reads the partitions that it owns, in the order of the log, and moves a durable position behind what the sink has
taken: at least once, in order within an orchestration, and nothing lost when a node dies or is taken over from. The first
time, the log is followed from where it stands when the first node with this setting starts; later from where it was left,
also after a time without the setting.

Events of a window go out together, those of one orchestration one by one. A sink that refuses one holds up its partition:
order and completeness come before speed. Where no sink is set, nothing of this exists.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import structlog

from application.feed_context import FeedContext
from application.follower_store import FollowerStore
from application.journal import Journal
from application.large_values import references
from application.lifecycle import Subject, lifecycle_events, needs_error
from application.ownership import Ownership
from application.ports import DeliveryError, EventSink, Secrets
from application.storage import Head, StoredRecord
from application.whole_log import WholeLog
from domain import events as e
from domain.errors import Fault, StorageError

_log = structlog.get_logger(__name__)
NAME: Final = "lifecycle"
_WINDOW: Final = 200
_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 5.0
_REMEMBERED: Final = 10_000
_PAGE: Final = 500


class LifecycleFeed:
    """One loop per process."""

    def __init__(
        self,
        sink: EventSink,
        followers: FollowerStore,
        log: WholeLog,
        context: FeedContext,
        journal: Journal,
        ownership: Ownership,
        secrets: Secrets,
    ) -> None:
        self._sink = sink
        self._followers = followers
        self._log = log
        self._context = context
        self._journal = journal
        self._ownership = ownership
        self._secrets = secrets
        self._at: dict[int, int] = {}
        self._ours: dict[int, int] = {}
        """Partitions that were gained, with where their log stood."""
        self._errors: OrderedDict[UUID, Fault | None] = OrderedDict()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        journal.on_commit(lambda *_: self._wake.set())

    @property
    def lag(self) -> int:
        """Events of our partitions that have not been told."""
        heads = {head.partition: head.position for head in self._journal.heads()}
        return sum(max(0, heads.get(partition, at) - at) for partition, at in self._at.items())

    async def begin(self, partitions: int) -> None:
        """Before this node takes anything on: what is committed from now on will be told, whoever dies. Raises
        StorageError.
        """
        for partition, position in enumerate(await self._log.heads(partitions)):
            await self._followers.begin(partition, NAME, position)

    def gained(self, head: Head) -> None:
        """Go on where the last owner stopped."""
        self._at.pop(head.partition, None)
        self._ours[head.partition] = head.position
        self._wake.set()

    def lost(self, partition: int) -> None:
        """What is just being told may be told twice."""
        self._at.pop(partition, None)
        self._ours.pop(partition, None)

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="lifecycle events")

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        pause_s = _PAUSE_S
        while True:
            self._wake.clear()
            partitions = sorted(self._ours)
            ended = await asyncio.gather(*map(self._follow, partitions), return_exceptions=True)
            failed = [each for each in ended if isinstance(each, BaseException)]
            for error in {(type(error), str(error)): error for error in failed}.values():  # once for all partitions
                self._tell(error)
            if failed:
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
            else:
                pause_s = _PAUSE_S
                await self._wake.wait()

    def _tell(self, error: BaseException) -> None:
        if isinstance(error, DeliveryError):
            _log.warning("lifecycle.not_sent", detail=str(error))
        elif isinstance(error, StorageError):
            _log.warning("lifecycle.not_read", detail=error.detail)
        else:
            _log.error("lifecycle.broken", exc_info=error)

    async def _follow(self, partition: int) -> None:
        """Tell what there is. What is committed meanwhile waits for the next round: others would have to wait as well."""
        goal: int | None = None
        while self._ownership.holds(partition) and partition in self._ours:
            after = self._at.get(partition)
            if after is None:
                after = await self._followers.begin(partition, NAME, self._ours[partition])
            if self._journal.epoch(partition) is None:
                return  # lost meanwhile
            head = self._journal.position(partition)
            goal = head if goal is None else goal
            if after < head:
                records = await self._log.window(partition, after, head, _WINDOW)
                until = records[-1].position if records else head
                await self._send(partition, records)
                moved = await self._followers.move(partition, NAME, after, until)
                after = until if moved else None  # None: somebody else has moved it
            if partition not in self._ours:
                return
            if after is None:
                self._at.pop(partition, None)
                continue
            self._at[partition] = after
            if after >= goal:
                return

    async def _send(self, partition: int, records: Sequence[StoredRecord]) -> None:
        by_orchestration: dict[UUID, list[dict[str, Any]]] = {}
        for record in records:
            told = await self._events(partition, record)
            if told:
                by_orchestration.setdefault(record.orchestration, []).extend(told)
        # All are awaited whatever happens, so that none is still on its way in the next attempt.
        ended = await asyncio.gather(*map(self._in_order, by_orchestration.values()), return_exceptions=True)
        for each in ended:
            if isinstance(each, BaseException):
                raise each

    async def _in_order(self, events: Sequence[dict[str, Any]]) -> None:
        for event in events:
            await self._sink.publish(event)

    async def _events(self, partition: int, record: StoredRecord) -> list[dict[str, Any]]:
        event = self._log.event(record)
        if event is None:
            _log.warning("lifecycle.unreadable", detail="an event cannot be read any more; it is passed over")
            return []
        self._context.learn(partition, record, event)
        if isinstance(event, e.RollbackStarted):
            self._remember(record.orchestration, event.reason.fault)
        why = await self._error(partition, record) if needs_error(event) else None
        origin = await self._context.origin(partition, record.orchestration)
        if origin.id is None or origin.definition is None:
            return []
        large = [each.shown() for each in references(record.state) if each.kind != "bytes"]
        told = lifecycle_events(Subject(origin.id, origin.definition), record.version, event, why, large)
        found: list[dict[str, Any]] = [{**each, "data": self._secrets.redact(each["data"])} for each in told]
        return found

    async def _error(self, partition: int, record: StoredRecord) -> Fault | None:
        """What began the last rollback of an orchestration."""
        if record.orchestration in self._errors:
            return self._errors.pop(record.orchestration)
        found: Fault | None = None
        after = 0
        while page := await self._log.stream(partition, record.orchestration, after, _PAGE):
            for each in page:
                if each.topic == e.RollbackStarted.topic and each.version < record.version:
                    event = self._log.event(each)
                    found = event.reason.fault if isinstance(event, e.RollbackStarted) else found
            after = page[-1].version
            if after >= record.version:
                break
        return found

    def _remember(self, orchestration: UUID, why: Fault | None) -> None:
        self._errors[orchestration] = why
        self._errors.move_to_end(orchestration)
        if len(self._errors) > _REMEMBERED:
            self._errors.popitem(last=False)
