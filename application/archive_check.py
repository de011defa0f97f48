"""Checks that the archive holds the bytes that the log vouches for, and all of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from hashlib import sha256
from itertools import groupby
from typing import Final
from uuid import UUID

from application.archive import unpacked
from application.audit_log import ArchivedRow, AuditLog
from application.blob_check import BlobCheck
from application.damage import Damage
from application.storage import ArchiveRecord
from domain.errors import StorageError

_PAGE: Final = 50
_MOST_MISSING: Final = 200
Events = Sequence[tuple[bytes, int, int, bytes | None]]
"""(orchestration, version, position, state_hash) of one orchestration, in order of version."""


async def archive_damage(
    audit: AuditLog,
    partition: int,
    locate: Callable[[str], tuple[int, UUID]],
    counted: Callable[[], None],
    blobs: BlobCheck,
) -> AsyncIterator[Damage]:
    """What is wrong with the archive of a partition, and with what its events refer to. `counted` is called for each
    orchestration that was looked at.
    """
    after: bytes | None = None
    while rows := await audit.archived(partition, after, _PAGE):
        after = rows[-1].orchestration
        found = await audit.archived_events(partition, [row.orchestration for row in rows])
        events = {name: list(group) for name, group in groupby(found, key=lambda each: each[0])}
        for row in rows:
            states: list[bytes] = []
            for damage in _row_damage(partition, row, events.get(row.orchestration, ()), locate, states):
                yield damage
            for damage in await _of_blobs(row, events.get(row.orchestration, ()), states, blobs):
                yield damage
            counted()
            await asyncio.sleep(0)
    for orchestration, position in await audit.unarchived(partition, _MOST_MISSING):
        yield Damage(
            kind="archive_missing",
            partition=partition,
            position=position,
            identity=orchestration,
            detail="the bytes of its events are neither in the log nor in the archive",
        )


async def one_archived(
    audit: AuditLog,
    partition: int,
    record: ArchiveRecord,
    locate: Callable[[str], tuple[int, UUID]],
    blobs: BlobCheck,
) -> list[Damage]:
    """The same of one orchestration."""
    name = record.orchestration.bytes
    events = await audit.archived_events(partition, [name])
    row, states = ArchivedRow(name, record.public_id, record.events, record.content), list[bytes]()
    found = _row_damage(partition, row, events, locate, states)
    return found + await _of_blobs(row, events, states, blobs)


async def _of_blobs(row: ArchivedRow, events: Events, states: Sequence[bytes], blobs: BlobCheck) -> list[Damage]:
    found: list[Damage] = []
    for state, (identity, version, position, _) in zip(states, events, strict=False):
        # Archived bytes come without their topic; references to large values need none.
        found += await blobs.findings(identity, version, position, "", state, row.public_id)
    return found


def _row_damage(
    partition: int,
    row: ArchivedRow,
    events: Events,
    locate: Callable[[str], tuple[int, UUID]],
    unpacked_to: list[bytes],
) -> list[Damage]:
    def damage(detail: str, position: int, version: int | None = None) -> Damage:
        return Damage(
            kind="archive_changed",
            partition=partition,
            position=position,
            identity=row.orchestration,
            orchestration=row.public_id,
            version=version,
            detail=detail,
        )

    if not events:
        gone = f"the archive has {row.events} events of it, and the log has none"
        return [
            Damage(
                kind="orchestration_missing",
                partition=partition,
                position=0,
                identity=row.orchestration,
                orchestration=row.public_id,
                detail=gone,
            )
        ]
    first = events[0][2]
    if locate(row.public_id) != (partition, UUID(bytes=row.orchestration)):
        return [damage("the id that the archive gives belongs to another orchestration", first)]
    try:
        states = unpacked(row.content)
        unpacked_to += states
    except StorageError as error:
        return [damage(error.detail, first)]
    if not len(states) == row.events == len(events):
        return [damage(f"the archive has {len(states)} events of it, and the log {len(events)}", first)]
    return [
        damage("the archive has other bytes than the log once had", position, version)
        for state, (_, version, position, state_hash) in zip(states, events, strict=True)
        if sha256(state).digest() != state_hash
    ]
