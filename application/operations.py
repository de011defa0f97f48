"""Long-running operations: work that takes longer than a request should, and can be watched and cancelled meanwhile.

The node that takes the request runs it, as a task beside everything else; what it has done so far is stored every second, so
that every node can tell. Those signs of life are also its lease: an operation whose node was silent for too long is failed
for everybody, and a node that comes back finds that out before it can store a result. Nothing is ever run twice: whoever
wants a failed operation again asks for it again.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import structlog

from application.identity import Chance
from application.operation_store import OperationRecord, OperationStatus, OperationStore
from application.ports import Clock
from application.status import instant
from domain.base62 import LENGTH, base62
from domain.errors import NotFoundError, OverloadedError, RetraceError, StorageError

Json = dict[str, Any]

_log = structlog.get_logger(__name__)
_FORM: Final = re.compile(r"p_[0-9A-Za-z]{22}\Z")
_BEAT_S: Final = 1.0
LEASE_S: Final = 30.0
"""How long a node may be silent before its operations count as failed."""
_LAST_WORDS_S: Final = 5.0
_LOOK_S: Final = 0.5
"""How often somebody who waits looks at an operation of another node."""
MOST_AT_A_TIME: Final = 8
LARGEST_RESULT_BYTES: Final = 16 << 20
_NO_SUCH: Final = "There is no operation with this id; operations are kept for a week."


class Progress:
    """How far a piece of work is. The work sets `done` and `total` as it goes on; anybody may look at any time."""

    __slots__ = ("done", "total")

    def __init__(self) -> None:
        self.done: int = 0
        self.total: int | None = None

    def advance(self, by: int = 1) -> None:
        """So much more is done."""
        self.done += by


Work = Callable[[Progress], Awaitable[Json]]
"""What an operation does: gives its result, a JSON object; a RetraceError becomes its error."""


_Outcome = tuple[bytes | None, bytes | None]
"""(result, error), as JSON."""


class MalformedCursorError(RetraceError):
    """This cursor is not one that this service gave; start again without it."""

    code = "malformed-request"


class _Running:
    """An operation of this node."""

    def __init__(self, work: asyncio.Task[Json], progress: Progress) -> None:
        self.work = work
        self.progress = progress
        self.cancelled = False
        self.ended = asyncio.Event()


class Operations:
    """The operations of one node, and a view of all. `node`: the name under which it runs them. `closed`: whether nobody
    should be kept waiting any more.
    """

    def __init__(
        self, store: OperationStore, clock: Clock, chance: Chance, node: str, closed: Callable[[], bool] = lambda: False
    ) -> None:
        self._store = store
        self._clock = clock
        self._chance = chance
        self._node = node
        self._closed = closed
        self._running: dict[str, _Running] = {}
        self._starting = 0
        self._keepers: set[asyncio.Task[None]] = set()

    # Running ----------------------------------------------------------------------------------------------------------

    async def start(self, kind: str, actor: str, work: Work, request: Json | None = None) -> str:
        """Begin; gives the id at once. `request`: what was asked for, shown with the operation. Raises OverloadedError when
        too many run here.
        """
        if len(self._running) + self._starting >= MOST_AT_A_TIME:
            raise OverloadedError(
                f"{MOST_AT_A_TIME} operations run on this node already; wait for one, or cancel one.", retry_after_s=5
            )
        id_ = "p_" + base62(self._chance.random_bytes(LENGTH))
        body = msgspec.json.encode(request or {})
        progress = Progress()
        self._starting += 1
        try:
            await self._store.put(id_, kind, actor, body, self._node, self._clock.now(), LEASE_S)
        finally:
            self._starting -= 1
        _log.info("operation.started", operation=id_, kind=kind, actor=actor)
        running = _Running(asyncio.ensure_future(_called(work, progress)), progress)
        self._running[id_] = running
        keeper = asyncio.create_task(self._keep(id_, running), name="operation")
        self._keepers.add(keeper)
        keeper.add_done_callback(self._keepers.discard)
        return id_

    async def stop(self) -> None:
        """End what runs; it is told as failed."""
        for running in list(self._running.values()):
            running.work.cancel()
        if self._keepers:
            await asyncio.wait(self._keepers, timeout=_LAST_WORDS_S)
        for keeper in list(self._keepers):
            keeper.cancel()

    async def _keep(self, id_: str, running: _Running) -> None:
        """Tell how it stands until it has ended, then how it ended."""
        try:
            while not running.work.done():
                await asyncio.wait({running.work}, timeout=_BEAT_S)
                if not running.work.done() and not await self._beat(id_, running):
                    running.work.cancel()
            status, outcome = _outcome(id_, running)
            await self._end(id_, running.progress, status, outcome)
        finally:
            running.work.cancel()
            running.ended.set()
            self._running.pop(id_, None)

    async def _beat(self, id_: str, running: _Running) -> bool:
        """Whether it should go on."""
        progress = running.progress
        try:
            wanted = await self._store.beat(id_, self._node, progress.done, progress.total, self._clock.now(), LEASE_S)
        except StorageError as error:
            _log.warning("operation.not_told", operation=id_, detail=error.detail)
            return True
        running.cancelled = running.cancelled or bool(wanted)
        return wanted is False

    async def _end(self, id_: str, progress: Progress, status: OperationStatus, outcome: _Outcome) -> None:
        until = asyncio.get_running_loop().time() + LEASE_S
        at, pause_s = self._clock.now(), 0.1
        while True:
            try:
                told = await self._store.end(id_, self._node, status, (progress.done, progress.total), outcome, at)
            except StorageError as error:
                if asyncio.get_running_loop().time() > until:
                    _log.warning("operation.not_told", operation=id_, detail=error.detail)
                    return
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, 2.0)
            else:
                _log.info("operation.ended", operation=id_, status=status, told=told)
                return

    # Looking ----------------------------------------------------------------------------------------------------------

    async def get(self, id_: str) -> Json:
        """The representation of one, with its result. Raises NotFoundError."""
        record = await self._found(id_)
        running = self._running.get(id_)
        shown = represent(record)
        if running is not None and record.status == "running":
            shown["progress"] = {"done": running.progress.done, "total": running.progress.total}
        shown["result"] = None if record.result is None else msgspec.Raw(record.result)
        return shown

    async def wait(self, id_: str, timeout_s: float) -> None:
        """Returns when it has ended, or after `timeout_s`."""
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_s
        while not self._closed() and (left_s := until - loop.time()) > 0:
            running = self._running.get(id_)
            if running is None and _has_ended(await self._found(id_)):
                return
            pause_s = min(left_s, _LOOK_S)
            if running is None:
                await asyncio.sleep(pause_s)
            elif await _within(running.ended, pause_s):
                return

    async def list(self, kind: str | None = None, limit: int = 100, cursor: str | None = None) -> Json:
        """One page, newest first: {"items": [...], "next": cursor or None}; without results."""
        rows = await self._store.list(kind, limit + 1, None if cursor is None else _opened(cursor))
        page = rows[:limit]
        following = _sealed(page[-1].started_at, page[-1].operation) if len(rows) > limit else None
        return {"items": [represent(each) for each in page], "next": following}

    async def cancel(self, id_: str) -> Json:
        """Ask its node to stop it; gives how it stands. One that has ended stays as it is."""
        if not _has_ended(await self._found(id_)):
            await self._store.cancel(id_)
            running = self._running.get(id_)
            if running is not None:
                running.cancelled = True
                running.work.cancel()
                await _within(running.ended, _LOOK_S)
        return await self.get(id_)

    async def expire(self, before: datetime) -> int:
        """Forget what was started before and does not run any more."""
        return await self._store.expire(before)

    async def _found(self, id_: str) -> OperationRecord:
        record = await self._store.get(id_) if _FORM.match(id_) else None
        if record is None:
            raise NotFoundError(_NO_SUCH)
        return record


def represent(record: OperationRecord) -> Json:
    """An operation as clients see it, without its result."""
    status: str = record.status
    error = None if record.error is None else msgspec.json.decode(record.error)
    ended_at = record.ended_at
    if _is_dead(record):
        status, ended_at = "failed", record.updated_at
        error = {"code": "interrupted", "detail": "The node that ran it is gone. Ask for it again."}
    return {
        "id": record.operation,
        "kind": record.kind,
        "status": status,
        "request": msgspec.json.decode(record.request),
        "progress": {"done": record.done, "total": record.total},
        "error": error,
        "actor": record.actor,
        "cancel_requested": record.cancel_requested,
        "started_at": instant(record.started_at),
        "updated_at": instant(record.updated_at),
        "ended_at": None if ended_at is None else instant(ended_at),
    }


def _outcome(id_: str, running: _Running) -> tuple[OperationStatus, _Outcome]:
    """How the work ended, which it has."""
    if running.work.cancelled():
        if running.cancelled:
            return "cancelled", (None, None)
        return "failed", (None, _error("interrupted", "The node that ran it was stopped. Ask for it again."))
    error = running.work.exception()
    if isinstance(error, RetraceError):
        return "failed", (None, _error(error.code, error.detail))
    if error is not None:
        _log.error("operation.broken", operation=id_, exc_info=error)
        detail = f"An unexpected error; the log of the service tells of it at {id_}."
        return "failed", (None, _error("internal", detail))
    result = msgspec.json.encode(running.work.result())
    if len(result) > LARGEST_RESULT_BYTES:
        return "failed", (None, _error("payload-too-large", "The result is too large to be kept; ask for less."))
    return "completed", (result, None)


async def _called(work: Work, progress: Progress) -> Json:
    return await work(progress)


async def _within(event: asyncio.Event, timeout_s: float) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return False
    return True


def _is_dead(record: OperationRecord) -> bool:
    return record.status == "running" and not record.alive


def _has_ended(record: OperationRecord) -> bool:
    return record.status != "running" or not record.alive


def _error(code: str, detail: str) -> bytes:
    return msgspec.json.encode({"code": code, "detail": detail})


def _sealed(started_at: datetime, operation: str) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode([started_at, operation])).decode().rstrip("=")


def _opened(cursor: str) -> tuple[datetime, str]:
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        started_at, operation = msgspec.json.decode(raw, type=tuple[datetime, str])
        in_utc = started_at.astimezone(UTC)
    except (ValueError, OverflowError, binascii.Error):
        raise MalformedCursorError from None
    if started_at.tzinfo is None or not _FORM.match(operation):
        raise MalformedCursorError
    return in_utc, operation
