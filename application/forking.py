"""Reads what a fork is made from: the events of the original up to a version, whole, and how the original stands now.

Any node can: the log is the truth, and the archive has what is no longer in it. What the original does between this reading
and the start of the fork is not seen; so a fork is refused while it may still do something, unless that is accepted.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

import msgspec

from application.archive import ArchiveReader
from application.engine import Place
from application.identity import Identity
from application.journal import Codec
from application.reader import Reader
from application.storage import LogStore, StoredRecord
from domain import events as e
from domain.errors import ArchivedError, ForkConflictError, InvalidInputError, NotFoundError, Problem
from domain.events import Remark
from domain.evolve import evolve
from domain.lineage import conflicts, remarks
from domain.prefix import Prefix, packed
from domain.state import State

_PAGE: Final = 500
MOST_PREFIX_BYTES: Final = 1_048_576
"""A fork carries its prefix in one event and through one inbox row."""


class Source(msgspec.Struct, frozen=True):
    """What a fork begins with. `digest`: of the definition at the fork; `now`: the original as it stands."""

    origin: e.Origin
    prefix: Prefix
    digest: str
    then: State
    now: State
    remarks: tuple[Remark, ...]


class ForkSources:
    """One per node."""

    def __init__(self, identity: Identity, log: LogStore, codec: Codec, archive: ArchiveReader, reader: Reader) -> None:
        self._identity = identity
        self._log = log
        self._codec = codec
        self._archive = archive
        self._reader = reader

    async def read(self, public_id: str, version: int, *, force: bool) -> Source:
        """Raises NotFoundError, InvalidInputError for a version that none can begin from, ForkConflictError unless forced."""
        if not self._identity.well_formed(public_id):
            raise NotFoundError("There is no orchestration with this id.")
        place = self._identity.locate(public_id)
        prefix: list[e.Event] = []
        then, now, size, hash_ = State(), State(), 0, b""
        bounds: list[int] = []
        # Versions with which a decision begins: the last one up to `version`, and the first one after it.
        async for record, event in self._history(place):
            if event.basis is not None and len(bounds) < 2:
                bounds = [record.version] if record.version <= version else [*bounds, record.version]
            if record.version <= version:
                size += len(record.state)
                if size > MOST_PREFIX_BYTES:
                    raise _too_large(record.version - 1)
                prefix.append(event)
                evolve(then, event)
                hash_ = record.event_hash
            evolve(now, event)
        if not prefix:
            raise NotFoundError("There is no orchestration with this id.")
        if now.version < version:
            raise _refused(f"it has the versions 1 to {now.version}", "outside-life")
        first, following = bounds[0], (*bounds, now.version + 1)[1]
        if following != version + 1:
            last = following - 1
            choices = [first - 1] * (first > 1) + [last] * (last < now.version or not now.final)
            raise _inside(version, first, last, choices)
        found = tuple(conflicts(then, now, settled=await self._settled(now)))
        if found and not force:
            detail = "This fork would do harm; see errors. Choose another version, or accept it with force: true."
            raise ForkConflictError([Problem(each.pointer, each.detail, each.code) for each in found], detail)
        told = (*found, *remarks(then, now))
        return Source(e.Origin(public_id, version, hash_), packed(prefix), then.digest, then, now, told)

    async def _settled(self, now: State) -> bool:
        """Whether nobody can undo anything of it any more: a child is undone by its parent, also when it has completed."""
        if not now.final or now.parent is None:
            return now.final
        try:
            return (await self._reader.settled(now.root)).state.final
        except ArchivedError:
            return True
        except NotFoundError:
            return now.final

    async def _history(self, place: Place) -> AsyncIterator[tuple[StoredRecord, e.Event]]:
        after, more = 0, True
        while more:
            records = await self._log.stream(*place, after, _PAGE)
            if records and records[0].state_hash is not None:
                records, _ = await self._archive.page(*place, after, _PAGE)
            for record in records:
                yield record, self._codec.decode(record.topic, record.state, record.blobs)
            more = len(records) == _PAGE
            after = records[-1].version if records else after


def _refused(detail: str, code: str) -> InvalidInputError:
    return InvalidInputError([Problem("/from_version", detail, code)], "There is nothing to go on from.")


def _inside(version: int, first: int, last: int, choices: list[int]) -> InvalidInputError:
    """`choices`: the versions nearest to it that a fork can begin from."""
    way = f"choose {' or '.join(map(str, choices))}" if choices else "it ended with them, so start another one instead"
    detail = f"version {version} is one of {first} to {last}, which were decided at once: {way}"
    return _refused(detail, "within-decision")


def _too_large(version: int) -> InvalidInputError:
    detail = (
        f"its first {version} events are all that fit into a fork ({MOST_PREFIX_BYTES} bytes): choose an earlier one"
    )
    return _refused(detail, "too-large")
