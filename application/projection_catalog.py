"""What is asked about projections from outside: which there are and how far, their rows, building anew, trying again.

Everything is read from the database, so every node tells the same.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec
import structlog

from application.folding import Fold, shown
from application.inbox import Signals
from application.log_pages import LogPages
from application.ports import Clock
from application.projection_store import Build, Failure, Progress, ProjectionStore, Row, Shape, Value
from application.projections import HINT
from application.status import instant
from application.storage import LogStore
from domain.errors import NotFoundError, RetraceError, StorageError

Json = dict[str, Any]
_log = structlog.get_logger(__name__)


class UnknownColumnError(RetraceError):
    """A filter names a column that the projection has not got, or a value that the column cannot hold."""

    code = "malformed-request"


class ForeignCursorError(RetraceError):
    """This cursor is not one that this service gave for this projection; start again without it."""

    code = "malformed-request"


class ProjectionCatalog(Protocol):
    """The use cases, as the edge sees them."""

    async def list(self) -> Json:
        """``{"items": [projection], "next": None}``, see `StoredCatalog.list`."""
        ...

    async def rows(self, name: str, where: Sequence[tuple[str, str]], cursor: str | None, limit: int) -> Json:
        """A page of the live rows: ``{"items", "next", "version"}``. Raises NotFoundError, UnknownColumnError,
        ForeignCursorError.
        """
        ...

    async def rebuild(self, name: str, actor: str) -> Json:
        """Build the registered version anew beside what is live. Raises NotFoundError."""
        ...

    async def retry(self, name: str, actor: str) -> Json:
        """Go on where it failed. Raises NotFoundError."""
        ...

    async def drop(self, name: str, actor: str) -> None:
        """Remove its tables. A node that has its code builds it again when it starts. Raises NotFoundError."""
        ...


class StoredCatalog:
    """`ProjectionCatalog` over the store."""

    def __init__(
        self,
        folds: Mapping[str, Fold],
        store: ProjectionStore,
        pages: LogPages,
        log: LogStore,
        signals: Signals,
        clock: Clock,
        key: bytes,
    ) -> None:
        self._folds = folds
        self._store = store
        self._pages = pages
        self._log = log
        self._signals = signals
        self._clock = clock
        self._key = key

    async def list(self) -> Json:
        """A projection is ``{name, version, live, state, table, registered, events_done, events_total, lag_events, lag_ms,
        error, created_at}``: those that are built or live, and of each name the last that was retired.
        """
        builds = await self._store.builds()
        last: dict[str, Build] = {each.name: each for each in builds if each.state == "retired"}
        told = [each for each in builds if each.state != "retired" or last[each.name] == each]
        return {"items": [await self._told(each) for each in told], "next": None}

    async def rows(self, name: str, where: Sequence[tuple[str, str]], cursor: str | None, limit: int) -> Json:
        build = await self._live(name)
        try:
            found = await self._page(build, where, cursor, limit + 1)
        except StorageError:  # its table goes when another takes its place
            successor = await self._live(name)
            if successor == build:
                raise
            build = successor
            found = await self._page(build, where, cursor, limit + 1)
        page = found[:limit]
        items = [_row(build.shape, key, row) for _, key, row in page]
        following = self._sealed(build, page[-1][0], page[-1][1]) if len(found) > limit else None
        return {"items": items, "next": following, "version": build.version}

    async def _page(
        self, build: Build, where: Sequence[tuple[str, str]], cursor: str | None, limit: int
    ) -> Sequence[tuple[int, str, Row]]:
        wanted = [(column, _value(build.shape, column, text)) for column, text in where]
        after = None if cursor is None else self._opened(build, cursor)
        return await self._store.page(build, wanted, after, limit)

    async def rebuild(self, name: str, actor: str) -> Json:
        fold = self._folds.get(name)
        if fold is None:
            raise NotFoundError(f"The node that answers has no projection {name} among its functions.")
        build = await self._store.begin(name, fold.version, fold.shape, self._clock.now(), anew=True)
        if build is None:
            raise NotFoundError(f"The node that answers has an older version of {name} than the one that is live.")
        _log.info("projection.rebuild", projection=name, version=build.version, actor=actor)
        await self._signals.tell(HINT)
        return await self._told(build)

    async def retry(self, name: str, actor: str) -> Json:
        active = await self._active(name)
        for build in active:
            if await self._store.retry(build):
                _log.info("projection.retry", projection=name, version=build.version, actor=actor)
        await self._signals.tell(HINT)
        return await self._told(active[-1])

    async def drop(self, name: str, actor: str) -> None:
        for build in await self._active(name):
            if await self._store.end(build):
                _log.info("projection.dropped", projection=name, version=build.version, actor=actor)
        await self._signals.tell(HINT)

    async def _active(self, name: str) -> Sequence[Build]:
        """Its builds that are there, at least one."""
        builds = [each for each in await self._store.builds() if each.name == name and each.state != "retired"]
        if not builds:
            raise NotFoundError(f"There is no projection {name}; GET /v1/projections lists those that there are.")
        return builds

    async def _live(self, name: str) -> Build:
        for build in await self._active(name):
            if build.state == "live":
                return build
        raise NotFoundError(
            f"The projection {name} is being built for the first time; GET /v1/projections says how far."
        )

    async def _told(self, build: Build) -> Json:
        progress = await self._store.progress(build)
        heads = dict(await self._log.positions(list(progress)))
        behind = {each: at for each, at in progress.items() if at.position < heads[each]}
        failures = [at.failure for at in progress.values() if at.failure is not None]
        done, total = sum(at.position for at in progress.values()), sum(heads.values())
        return {
            "name": build.name,
            "version": build.version,
            "live": build.state == "live",
            "state": "failed" if failures else build.state,
            "table": build.table,
            "registered": _is_registered(self._folds, build),
            "events_done": done,
            "events_total": total,
            "lag_events": max(0, total - done),
            "lag_ms": await self._lag_ms(behind),
            "error": _error(min(failures, key=lambda each: each.at)) if failures else None,
            "created_at": instant(build.created_at),
        }

    async def _lag_ms(self, behind: Mapping[int, Progress]) -> int:
        """Since when the first event has been there that was not seen."""
        since: list[datetime] = []
        for partition, at in behind.items():
            happened_at = await self._pages.instant_after(partition, at.position)
            if happened_at is not None:
                since.append(happened_at)
        if not since:
            return 0
        return max(0, round((self._clock.now() - min(since)).total_seconds() * 1000))

    # Cursors: sealed, for they hold a partition -----------------------------------------------------------------------

    def _sealed(self, build: Build, partition: int, key: str) -> str:
        body = msgspec.json.encode([partition, key])
        return base64.urlsafe_b64encode(self._seal(build, body) + body).decode().rstrip("=")

    def _opened(self, build: Build, cursor: str) -> tuple[int, str]:
        try:
            raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
            place = msgspec.json.decode(raw[12:], type=tuple[int, str])
        except (ValueError, binascii.Error):
            raise ForeignCursorError from None
        if not hmac.compare_digest(raw[:12], self._seal(build, raw[12:])):
            raise ForeignCursorError
        return place

    def _seal(self, build: Build, body: bytes) -> bytes:
        return hmac.new(self._key, build.tracking.encode() + b"\x00" + body, hashlib.sha256).digest()[:12]


def _is_registered(folds: Mapping[str, Fold], build: Build) -> bool:
    """Whether the node that answers keeps it."""
    fold = folds.get(build.name)
    same = fold is not None and (fold.version, fold.shape) == (build.version, build.shape)
    return same and build.state != "retired"


def _error(failure: Failure) -> Json:
    return {
        "orchestration": failure.orchestration,
        "version": failure.version,
        "type": failure.type,
        "detail": failure.error,
        "at": instant(failure.at),
    }


def _row(shape: Shape, key: str, row: tuple[Value, ...]) -> Json:
    found = shown(shape, key, row)
    return {name: instant(value) if isinstance(value, datetime) else value for name, value in found.items()}


def _value(shape: Shape, name: str, text: str) -> Value:
    """What a filter asks for."""
    kinds = {shape.key: "text", **{column.name: column.kind for column in shape.columns}}
    kind = kinds.get(name)
    if kind is None or kind == "json":
        possible = ", ".join(known for known, each in kinds.items() if each != "json")
        raise UnknownColumnError(f"There is no column {name:.60} to filter by; there are {possible}.")
    try:
        return _READ[kind](text)
    except (ValueError, KeyError, OverflowError):
        raise UnknownColumnError(f"The column {name} holds a value of the kind {kind}, not {text:.60}.") from None


def _read_integer(text: str) -> int:
    value = int(text)
    if not -(2**63) <= value < 2**63:
        raise ValueError(text)
    return value


def _read_instant(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(text)
    return at.astimezone(UTC)


_READ: Mapping[str, Callable[[str], Value]] = {
    "text": str,
    "integer": _read_integer,
    "number": float,
    "boolean": {"true": True, "false": False}.__getitem__,
    "instant": _read_instant,
}
