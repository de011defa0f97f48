"""Keeps users' projections: each node folds the partitions that it owns, in batches behind the commits.

A round gives every build one batch in every partition, so that one that is built from the beginning of the log holds up no
other, and is followed by a rest as long as it took, so that writers get their turn. Builds at the same position share what
was read; one that is being built goes before the live one, which therefore never gets ahead of it for long.

Nothing here is fenced by the epoch: rows are a function of the log before a position, and the store moves a build only from
the position that the writer believes. After any doubt the positions are read again. Without projections nothing runs.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from itertools import groupby
from typing import Any, Final, Protocol, TypeVar
from uuid import UUID

import structlog

from application.folding import Fold, Folded, Seen, failure_of, fold_batch, keyed
from application.inbox import Signals
from application.journal import Journal
from application.log_pages import LogPages
from application.ownership import Ownership
from application.ports import Clock
from application.projection_store import Build, Progress, ProjectionChangedError, ProjectionStore
from application.storage import Head, LogStore, StoredRecord
from domain.errors import StorageError

_log = structlog.get_logger(__name__)
HINT: Final = "projections"
"""Told to every node when builds begin, go live, or are retried."""
_BATCH: Final = 250
_REST_S: Final = 0.2
_LOOKS_EVERY_S: Final = 5.0
_FINISHES_EVERY_S: Final = 1.0
_AFTER_TROUBLE_S: Final = 1.0

Result = TypeVar("Result")


class Folds(Protocol):
    """The projections that this process has the code of."""

    @property
    def all(self) -> Sequence[Fold]: ...

    async def run(self, work: Callable[[], Result]) -> Result:
        """Calls `work`, which calls users' code, without holding up the loop."""
        ...


class NoFolds:
    """`Folds` of a service without projections."""

    all: Sequence[Fold] = ()

    async def run(self, work: Callable[[], Result]) -> Result:
        return work()


class Projections:
    """One loop per process, for the partitions that are ours."""

    def __init__(
        self,
        folds: Folds,
        store: ProjectionStore,
        pages: LogPages,
        log: LogStore,
        journal: Journal,
        ownership: Ownership,
        signals: Signals,
        clock: Clock,
        *,
        revise: bool = False,
    ) -> None:
        self.folds = {fold.name: fold for fold in folds.all}
        self._run_fold: Callable[[Callable[[], Any]], Awaitable[Any]] = folds.run
        self._store = store
        self._pages = pages
        self._log = log
        self._journal = journal
        self._ownership = ownership
        self._signals = signals
        self._clock = clock
        self._revise = revise
        self._builds: list[Build] = []
        self._at: dict[tuple[str, int], Progress] = {}
        self._goals: dict[str, dict[int, int]] = {}
        """By build: heads that were there some time ago. Who has seen them has caught up."""
        self._patient_until_s: dict[str, float] = {}
        """By build: until when another try to make it live would only hold others up."""
        self._begun: set[str] = set()
        self._stale = True
        self._look_at_s = 0.0
        self._finish_at_s = 0.0
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        if self.folds:
            journal.on_commit(self._on_commit)
            signals.listen(lambda hint: self.look_again() if hint == HINT else None)

    def lags(self) -> dict[tuple[str, str], int]:
        """(projection, ``building`` or ``live``) -> events in our partitions that its build has not seen; what it stopped at
        counts too.
        """
        found: dict[tuple[str, str], int] = {}
        for build in self._builds:
            name = build.name, build.state
            for head in self._journal.heads():
                progress = self._at.get((build.tracking, head.partition))
                seen = head.position if progress is None else progress.position
                found[name] = found.get(name, 0) + max(0, head.position - seen)
        return found

    # What wakes it ----------------------------------------------------------------------------------------------------

    def _on_commit(self, _partition: int, _orchestrations: list[UUID]) -> None:
        self._wake.set()

    def gained(self, head: Head) -> None:
        """The last owner left off anywhere."""
        self.look_again()

    def lost(self, partition: int) -> None:
        """The next owner goes on from the tracked position."""

    def look_again(self) -> None:
        """What is known of the builds may be out of date."""
        self._stale = True
        self._wake.set()

    # Life -------------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Keep them from now on."""
        if not self.folds:
            return
        self._task = asyncio.create_task(self._run(), name="projections")

    async def stop(self) -> None:
        """What was not committed is folded again elsewhere."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def begin(self) -> None:
        """Begin what is new; what cannot be begun now is begun later. Raises ProjectionChangedError."""
        for fold in self.folds.values():
            if fold.name in self._begun:
                continue
            try:
                build = await self._store.begin(
                    fold.name, fold.version, fold.shape, self._clock.now(), revise=self._revise
                )
            except StorageError as error:
                _log.warning("projection.not_begun", projection=fold.name, detail=error.detail)
                continue
            self._begun.add(fold.name)
            if build is None:
                _log.warning("projection.older", projection=fold.name, version=fold.version)

    async def _run(self) -> None:
        while True:
            try:
                while True:
                    await self._turn()
            except StorageError as error:
                _log.warning("projections.not_kept", detail=error.detail)
            except Exception:
                _log.exception("projections.broken")
            self._stale = True
            await asyncio.sleep(_AFTER_TROUBLE_S)

    async def _turn(self) -> None:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        self._wake.clear()
        if self._stale or began_s >= self._look_at_s:
            await self._refresh()
            self._look_at_s = began_s + _LOOKS_EVERY_S  # a hint may be lost
        more = await self._round()
        building = [build for build in self._builds if build.state == "building"]
        if building and loop.time() >= self._finish_at_s:
            for build in building:
                if loop.time() >= self._patient_until_s.get(build.tracking, 0.0):
                    await self._finish(build)
            self._finish_at_s = loop.time() + _FINISHES_EVERY_S
        if more:
            await asyncio.sleep(loop.time() - began_s)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FINISHES_EVERY_S if building else _LOOKS_EVERY_S):
                await self._wake.wait()
        await asyncio.sleep(_REST_S)

    async def _refresh(self) -> None:
        """What there is to keep, and how far it is."""
        self._stale = False
        try:
            await self.begin()
        except ProjectionChangedError as error:  # begun elsewhere meanwhile; the others go on
            _log.error("projection.changed", detail=error.detail)
        ours = [build for build in await self._store.builds() if build.state != "retired" and self._is_ours(build)]
        self._builds = sorted(ours, key=lambda build: build.state)  # building comes before live
        self._at = {}
        for build in self._builds:
            for partition, progress in (await self._store.progress(build)).items():
                self._at[build.tracking, partition] = progress
        self._goals = {build.tracking: self._goals.get(build.tracking, {}) for build in self._builds}

    def _is_ours(self, build: Build) -> bool:
        fold = self.folds.get(build.name)
        return fold is not None and (fold.version, fold.shape) == (build.version, build.shape)

    # Folding ----------------------------------------------------------------------------------------------------------

    async def _round(self) -> bool:
        """One batch for every build in every partition of ours; whether there is certainly more to do. All partitions at
        once, so that their changes share a commit.
        """
        ended = await asyncio.gather(*map(self._partition, self._ownership.held), return_exceptions=True)
        for each in ended:
            if isinstance(each, BaseException):
                raise each
        return any(ended)

    async def _partition(self, partition: int) -> bool:
        if self._journal.epoch(partition) is None:
            return False
        head = self._journal.position(partition)
        behind = [(build, at) for build in self._builds if (at := self._position(build, partition)) < head]
        behind.sort(key=lambda each: each[1])
        more = False
        for position, group in groupby(behind, key=lambda each: each[1]):
            more = await self._step(partition, position, [build for build, _ in group]) or more
        return more

    def _position(self, build: Build, partition: int) -> float:
        progress = self._at.get((build.tracking, partition))
        return progress.position if progress is not None and progress.failure is None else float("inf")

    async def _step(self, partition: int, position: float, builds: Sequence[Build]) -> bool:
        """One batch of a partition for builds at the same position; whether it was a full one."""
        after = int(position)
        folds = [self.folds[build.name] for build in builds]
        topics = (
            None if any(fold.types is None for fold in folds) else frozenset().union(*(f.types or () for f in folds))
        )
        until, records = await self._pages.read(partition, after, _BATCH, topics)
        if until == after:
            return False
        for build, fold in zip(builds, folds, strict=True):
            wanted = [each for each in records if fold.types is None or each.topic in fold.types]
            await self._advance(build, fold, partition, Progress(after), until, wanted)
        return until - after >= _BATCH

    async def _advance(
        self, build: Build, fold: Fold, partition: int, at: Progress, until: int, records: Sequence[StoredRecord]
    ) -> None:
        seen = await self._pages.seen(partition, records)
        folded = await self._folded(build, fold, partition, seen)
        failure = None
        if folded.failed is not None:
            event, error = folded.failed
            failure = failure_of(event, error, self._clock.now())
            until = event.position - 1
        if await self._store.apply(build, partition, at.position, until, folded.rows, failure):
            self._at[build.tracking, partition] = Progress(until, failure)
        else:
            self.look_again()  # someone else has moved it
        if failure is not None:
            of_event = f"event {failure.version} ({failure.type}) of {failure.orchestration}"
            _log.error(
                "projection.failed", projection=build.name, version=build.version, at=of_event, detail=failure.error
            )

    async def _folded(self, build: Build, fold: Fold, partition: int, seen: Sequence[Seen]) -> Folded:
        if not seen:
            return Folded({})
        batch = await self._run_fold(lambda: keyed(fold, seen))
        rows = await self._store.rows(build, partition, batch.keys) if batch.keyed else {}
        folded: Folded = await self._run_fold(lambda: fold_batch(fold, batch, rows))
        return folded

    # Going live -------------------------------------------------------------------------------------------------------

    async def _finish(self, build: Build) -> None:
        """Make a build the live one when it has caught up in all partitions, whoever owns them."""
        progress = await self._store.progress(build)
        if not progress:
            self.look_again()  # it is retired
            return
        heads = dict(await self._log.positions(list(progress)))
        goal = self._goals.get(build.tracking) or heads
        self._goals[build.tracking] = heads
        if any(each.failure is not None for each in progress.values()):
            return
        if any(progress[partition].position < position for partition, position in goal.items()):
            return
        try:
            swapped = await self._store.swap(build)
        except StorageError as error:  # somebody reads the table that would go
            _log.warning("projection.not_swapped", projection=build.name, detail=error.detail)
            self._patient_until_s[build.tracking] = asyncio.get_running_loop().time() + _LOOKS_EVERY_S
            return
        if swapped:
            _log.info("projection.live", projection=build.name, version=build.version)
            self.look_again()
            with contextlib.suppress(StorageError):
                await self._signals.tell(HINT)
