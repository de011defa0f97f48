"""The log as it once was: events of a partition or of an orchestration, those from the archive put back in their places.

Whatever cannot be had any more, because the archive has lost or changed it, stays bare (`state_hash` is set and `state` is
empty): whoever reads goes on, and says of these that they are not readable.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from hashlib import sha256
from typing import Final
from uuid import UUID

import msgspec

from application.archive import unpacked
from application.attached_log import AttachedLog
from application.journal import Codec
from application.storage import ArchiveStore, StoredRecord
from domain.errors import RetraceError, StorageError
from domain.events import Event

_KEPT_BYTES: Final = 32 * 1_048_576


class WholeLog:
    """Reads of one node. What was unpacked last stays at hand, since events of an orchestration lie near each other."""

    def __init__(self, log: AttachedLog, archive: ArchiveStore, codec: Codec) -> None:
        self._log = log.bare
        self._attached = log.attached
        self._archive = archive
        self._codec = codec
        self._unpacked: OrderedDict[tuple[int, UUID], list[bytes]] = OrderedDict()
        self._kept_bytes = 0

    async def heads(self, partitions: int) -> list[int]:
        """The position of the last committed event of each partition."""
        found = dict(await self._log.positions(range(partitions)))
        return [found.get(partition, 0) for partition in range(partitions)]

    async def window(
        self, partition: int, after: int, until: int, limit: int, topics: Sequence[str] = ()
    ) -> list[StoredRecord]:
        """Events of a partition with after < position <= until, in order; only these topics, unless there are none."""
        return await self._whole(partition, await self._log.log(partition, after, limit, until=until, topics=topics))

    async def stream(self, partition: int, orchestration: UUID, after: int, limit: int) -> list[StoredRecord]:
        """Events of an orchestration with version > after, in order."""
        return await self._whole(partition, await self._log.stream(partition, orchestration, after, limit))

    def event(self, record: StoredRecord) -> Event | None:
        """What was recorded, with references to large values; None where that cannot be read: it is lost, damaged, or of
        a kind unknown here.
        """
        if record.state_hash is not None:
            return None
        try:
            return self._codec.shown(record.topic, record.state, record.blobs)
        except (RetraceError, ValueError, TypeError):
            return None

    async def _whole(self, partition: int, records: list[StoredRecord]) -> list[StoredRecord]:
        if any(record.state_hash is not None for record in records):
            records = [
                record if record.state_hash is None else await self._put_back(partition, record, record.state_hash)
                for record in records
            ]
        return await self._attached(partition, records, only_bytes=True)

    async def _put_back(self, partition: int, record: StoredRecord, wanted: bytes) -> StoredRecord:
        states = await self._states(partition, record.orchestration)
        state = states[record.version - 1] if record.version <= len(states) else b""
        if not state or sha256(state).digest() != wanted:
            return record
        return msgspec.structs.replace(record, state=state, state_hash=None)

    async def _states(self, partition: int, orchestration: UUID) -> list[bytes]:
        key = (partition, orchestration)
        known = self._unpacked.get(key)
        if known is not None:
            self._unpacked.move_to_end(key)
            return known
        archived = await self._archive.get(partition, orchestration)
        try:
            states = [] if archived is None else unpacked(archived.content)
        except StorageError:
            states = []
        self._unpacked[key] = states
        self._kept_bytes += sum(map(len, states))
        while self._kept_bytes > _KEPT_BYTES and len(self._unpacked) > 1:
            _, dropped = self._unpacked.popitem(last=False)
            self._kept_bytes -= sum(map(len, dropped))
        return states
