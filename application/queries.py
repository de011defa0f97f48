"""The use cases that only read. They implement `application.service.Queries`.

What is in memory is used only between two decisions, so a reader never sees what is not committed. The past is folded from
the log.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hashlib
import hmac
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from itertools import accumulate
from typing import Any

import msgspec

from application.archive import ArchiveReader
from application.attached_log import AttachedLog
from application.bundles import Bundles
from application.cursors import MalformedCursorError
from application.definitions import split_reference
from application.dry_runs import DryRuns
from application.engine import Engine
from application.history import item
from application.journal import Codec
from application.live import Live
from application.nodes import Nodes
from application.projector import PROJECTION, StatusProjector
from application.reader import Reader
from application.service import Json, ListRequest
from application.status import MOST_LISTED, Known, instant, represent, task_entries
from application.storage import StoredRecord
from application.views import StatusQuery, StatusView
from application.watching import Watch
from domain import events as e
from domain.errors import ArchivedError, ContentMissingError, NotFoundError, OutsideLifeError
from domain.state import State

_LIST_WAITS_S = 0.1
"""How long a list waits for the view to see the latest commits."""
_PAGE_BYTES = 1_048_576
"""A page of history ends after so much."""
_FIRST_EVENTS, _MOST_EVENTS = 16, 128
"""Events of a history that are read together: at first few, then as many as fit if they are like those before."""


class OrchestrationQueries:
    """Reads of one service."""

    def __init__(
        self,
        engine: Engine,
        log: AttachedLog,
        view: StatusView,
        codec: Codec,
        watch: Watch,
        projector: StatusProjector,
        reader: Reader,
        dry_runs: DryRuns,
        nodes: Nodes,
        archive: ArchiveReader,
        bundles: Bundles,
        known: Known = lambda _function: True,
    ) -> None:
        self._known = known
        self._bundles = bundles
        self._nodes = nodes
        self._dry_runs = dry_runs
        self._reader = reader
        self._engine = engine
        self._log = log
        self._view = view
        self._codec = codec
        self._watch = watch
        self._projector = projector
        self._archive = archive
        self._key = engine.identity.sealing_key()

    async def _live(self, id_: str) -> Live:
        return await self._reader.settled(id_)

    async def status(self, id_: str, *, at_version: int | None = None, at: datetime | None = None) -> Json:
        live = await self._live(id_)
        if at_version is None and at is None:
            return represent(live.state, known=self._known)
        if at_version is not None and not 1 <= at_version <= live.state.version:
            raise OutsideLifeError(f"It has the versions 1 to {live.state.version}.")
        try:
            state, _ = await self._engine.cache.fold(live.partition, live.orchestration, version=at_version, at=at)
        except NotFoundError:
            raise OutsideLifeError(f"It was started at {instant(live.state.started_at)}.") from None
        if at is not None and at > self._engine.clock.now():
            raise OutsideLifeError("That instant is in the future.")
        return represent(state)

    async def wait(self, id_: str, timeout_s: float, *, after_version: int | None = None) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_s
        while True:
            # What is decided and not enough need not be committed to be looked at: nobody waits for the lock of its family.
            state = self._reader.ahead(id_)
            if state is None or _reached(state, after_version):
                state = (await self._live(id_)).state
                if _reached(state, after_version) or self._watch.closed:
                    return
            place = self._engine.identity.locate(id_)
            if not await self._watch.changed(place, until - loop.time(), ended_only=after_version is None):
                return

    async def tasks(self, id_: str, *, after: int = 0, limit: int = 100) -> tuple[list[Json], int | None]:
        page = task_entries((await self._live(id_)).state, after=after, limit=limit + 1)
        return page[:limit], after + limit if len(page) > limit else None

    async def history(
        self, id_: str, *, after: int = 0, limit: int = 100, archive: bool = False
    ) -> tuple[list[Json], int | None]:
        try:
            live = await self._live(id_)
            items, length = await self._items(live, after, limit), live.state.version
        except ArchivedError:
            if not archive:
                raise
            place = self._engine.identity.locate(id_)
            records, length = await self._archive.page(*place, after, limit)
            items = self._decoded(_bounded(records))
        except ContentMissingError:  # how it came about can be read all the same
            place = self._engine.identity.locate(id_)
            records = await self._log.bare.stream(*place, after, limit + 1)
            length = records[-1].version if records else 0
            shown = await self._log.attached(place[0], _bounded(records[:limit]), only_bytes=True)
            items = self._decoded(shown)
        more = bool(items) and items[-1]["version"] < length
        return items, items[-1]["version"] if more else None

    async def _items(self, live: Live, after: int, limit: int) -> list[Json]:
        """At most so many items, and fewer where they are large: a page is bounded in bytes too."""
        items: list[Json] = []
        stored_bytes = 0
        while len(items) < limit and stored_bytes < _PAGE_BYTES:
            fitting = _FIRST_EVENTS
            if items:
                fitting = 1 + (_PAGE_BYTES - stored_bytes) * len(items) // max(1, stored_bytes)
            asked_for = min(fitting, _MOST_EVENTS, limit - len(items))
            records = await self._log.bare.stream(live.partition, live.orchestration, after, asked_for)
            if records and records[0].state_hash is not None:
                raise ArchivedError  # since it was loaded
            items += self._decoded(await self._log.attached(live.partition, records, only_bytes=True))
            if len(records) < asked_for:
                break
            after = records[-1].version
            stored_bytes += sum(len(record.state) for record in records)
        return items

    def _decoded(self, records: Sequence[StoredRecord]) -> list[Json]:
        """As items, with references to large values."""
        return [item(record, self._codec.shown(record.topic, record.state, record.blobs)) for record in records]

    async def stream(self, id_: str, *, after: int = 0) -> AsyncIterator[Json]:
        """Never ends by itself before the final event; while nothing happens it yields an empty object every 15 s, so
        that the edge can keep the connection alive.
        """
        live = await self._live(id_)
        while True:
            items = await self._items(live, after, 500)
            for found in items:
                yield found
                after = found["version"]
            live = await self._live(id_)
            if live.state.version > after:
                continue
            if live.state.final or self._watch.closed:
                return
            if not await self._watch.changed((live.partition, live.orchestration), 15.0) and not self._watch.closed:
                yield {}

    async def rollback_plan(self, id_: str) -> Json:
        """What a cancel now would do; decided on a copy, with every attempt in flight taken as uncertain."""
        live = await self._live(id_)
        plan: Json = {
            "version": live.state.version,
            "steps": [],
            "steps_total": 0,
            "not_undone": [],
            "not_undone_total": 0,
            "blocked_by_pivot": live.state.pivot_passed is not None,
        }
        if live.state.final:
            return plan
        decided = await self._decided(live)
        if decided is not None:
            definition = await self._dry_runs.plan_of(live.state)
            plan["steps"] = [_planned(live.state, definition, step) for step in decided.plan[:MOST_LISTED]]
            runs, behind = live.state.runs, decided.left_behind
            plan["not_undone"] = [{"task": runs[left.run].name, "why": left.why} for left in behind[:MOST_LISTED]]
            plan["steps_total"], plan["not_undone_total"] = len(decided.plan), len(behind)
        return plan

    async def _decided(self, live: Live) -> e.CompensationDecided | None:
        """The decision that a cancel would lead to, or that was made already."""
        for event in await self._dry_runs.cancel(live.id):
            if isinstance(event, e.CompensationDecided) and not event.rollback:
                return event
        rollback = live.state.rollbacks.get("")
        if rollback is None:
            return None
        return e.CompensationDecided(
            at=self._engine.now(), reason=rollback.reason, plan=rollback.steps, left_behind=rollback.left_behind
        )

    async def bundle(self, id_: str, redact: Sequence[str] = ()) -> tuple[bytes, int]:
        return await self._bundles.export(id_, redact)

    async def nodes(self) -> Json:
        return await self._nodes.list()

    # Lists ------------------------------------------------------------------------------------------------------------

    async def list(self, request: ListRequest) -> Json:
        namespace = name = version = None
        if request.definition is not None:
            namespace, name, version = split_reference(request.definition)
            version = None if version == "latest" else version
        query = StatusQuery(
            statuses=request.statuses,
            namespace=namespace,
            name=name,
            definition_version=version,
            business_key=request.business_key,
            tags=request.tags,
            started_after=request.started_after,
            started_before=request.started_before,
            has_incident=request.has_incident,
            after=self._opened(request.cursor) if request.cursor else None,
            limit=request.limit + 1,
        )
        with contextlib.suppress(TimeoutError):  # what was answered before should be listed; how far it is, is told
            await asyncio.wait_for(self._projector.caught_up(), _LIST_WAITS_S)
        rows = await self._view.list(query)
        page = rows[: request.limit]
        cursor = self._sealed(page[-1].started_at, page[-1].public_id) if len(rows) > request.limit else None
        as_of = min(self._projector.as_of(), await self._elsewhere_as_of())
        lag_ms = max(0, round((self._engine.clock.now() - as_of).total_seconds() * 1000))
        items = [msgspec.Raw(row.summary) for row in page]
        return {"items": items, "next": cursor, "as_of": instant(as_of), "lag_ms": lag_ms}

    async def _elsewhere_as_of(self) -> datetime:
        """Up to which instant the view of partitions that are not followed here (other nodes', or just gained) is complete:
        that of the first event it has not seen.
        """
        as_of = self._engine.clock.now()
        elsewhere = [each for each in range(self._engine.identity.partitions) if not self._projector.follows(each)]
        if not elsewhere:
            return as_of
        seen = await self._view.tracked(PROJECTION)
        for partition, position in await self._log.positions(elsewhere):
            if position > seen.get(partition, 0):
                for record in await self._log.log(partition, seen.get(partition, 0), 1):
                    as_of = min(as_of, self._codec.decode(record.topic, record.state, record.blobs).at)
        return as_of

    def _sealed(self, started_at: datetime, public_id: str) -> str:
        body = msgspec.json.encode([started_at, public_id])
        seal = hmac.new(self._key, body, hashlib.sha256).digest()[:12]
        return base64.urlsafe_b64encode(seal + body).decode().rstrip("=")

    def _opened(self, cursor: str) -> tuple[datetime, str]:
        try:
            raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
            place = msgspec.json.decode(raw[12:], type=tuple[datetime, str])
        except (ValueError, binascii.Error):
            raise MalformedCursorError from None
        if not hmac.compare_digest(raw[:12], hmac.new(self._key, raw[12:], hashlib.sha256).digest()[:12]):
            raise MalformedCursorError
        return place


def _reached(state: State, after_version: int | None) -> bool:
    """Whether it has moved beyond this version; None: whether it has ended."""
    return state.final if after_version is None else state.version > after_version


def _bounded(records: list[StoredRecord]) -> list[StoredRecord]:
    """As many as make a page, one at least."""
    sizes = accumulate(len(record.state) for record in records)
    return [record for record, size in zip(records, sizes, strict=True) if size < _PAGE_BYTES] or records[:1]


def _planned(state: State, plan: Any, step: e.UndoStep) -> Json:
    run = state.runs[step.run]
    node = plan.nodes[run.pointer]
    condition = None
    if node.compensate is not None and node.compensate.if_ is not None:
        condition = {"expression": node.compensate.if_.program, "result": step.condition}
    undo = node.compensate.scope.pointer if node.compensate else None
    return {
        "task": run.name,
        "reference": run.pointer,
        "run": run.number,
        "outcome": step.outcome,
        "condition": condition,
        "undo": undo,
    }
