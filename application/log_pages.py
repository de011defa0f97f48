"""Reads the log of a partition as history items, whoever wrote it and however long ago.

An event in the log names its orchestration by an id that never leaves the service; readers outside want the public id and the
definition, which stand in its first event. They are remembered for the orchestrations seen lately. What is archived is read
from the archive, as the log vouches for it; what an operator has deleted there is passed over, and said to be so.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog

from application.archive import ArchiveReader
from application.folding import Seen
from application.history import event_json
from application.journal import Codec
from application.storage import LogStore, StoredRecord
from domain.errors import ArchivedError, StorageError
from domain.events import Beginning

_log = structlog.get_logger(__name__)
_REMEMBERED: Final = 10_000
Origin = tuple[str, str]


class LogPages:
    """Pages of a log, oldest first."""

    def __init__(self, log: LogStore, archive: ArchiveReader, codec: Codec) -> None:
        self._log = log
        self._archive = archive
        self._codec = codec
        self._origins: OrderedDict[int, Origin] = OrderedDict()  # a UUID's own hash is computed in Python

    async def read(
        self, partition: int, after: int, limit: int, topics: frozenset[str] | None = None
    ) -> tuple[int, list[StoredRecord]]:
        """The position of the last event read, and the events with these topics, whole. Raises StorageError."""
        records = await self._log.log(partition, after, limit)
        wanted = [each for each in records if topics is None or each.topic in topics]
        return records[-1].position if records else after, await self._whole(partition, wanted)

    async def seen(self, partition: int, records: Sequence[StoredRecord]) -> list[Seen]:
        """Records as items with `orchestration` and `definition`; made afresh, so the caller may hand them on to anyone."""
        found: list[Seen] = []
        for record in records:
            event = self._codec.decode(record.topic, record.state, record.blobs)
            if isinstance(event, Beginning):
                self._remember(record.orchestration, (event.id, event.definition))
            known = self._origins.get(record.orchestration.int)
            public_id, definition = known or await self._origin(partition, record.orchestration)
            item = {"orchestration": public_id, "definition": definition, **event_json(event, record.version)}
            found.append(Seen(record.position, event.at, item))
        return found

    async def instant_after(self, partition: int, position: int) -> datetime | None:
        """When the first event after a position happened; None when there is none."""
        _, records = await self.read(partition, position, 1)
        return self._codec.decode(records[0].topic, records[0].state, records[0].blobs).at if records else None

    async def _whole(self, partition: int, records: Sequence[StoredRecord]) -> list[StoredRecord]:
        """With the bytes of those that are archived; an orchestration's archive is opened once."""
        bare: dict[UUID, list[int]] = {}
        for record in records:
            if record.state_hash is not None:
                bare.setdefault(record.orchestration, []).append(record.version)
        if not bare:
            return list(records)
        whole: dict[int, StoredRecord] = {}
        for orchestration, versions in bare.items():
            first, last = versions[0], versions[-1]
            try:
                page, _ = await self._archive.page(partition, orchestration, first - 1, last - first + 1)
            except ArchivedError:
                _log.warning(
                    "log.events_gone", detail="events are neither in the log nor in the archive; they are passed over"
                )
                continue
            whole |= {each.position: each for each in page}
        found = [whole.get(each.position, each) for each in records]
        return [each for each in found if each.state_hash is None]

    async def _origin(self, partition: int, orchestration: UUID) -> Origin:
        first = await self._whole(partition, await self._log.stream(partition, orchestration, 0, 1))
        event = self._codec.decode(first[0].topic, first[0].state, first[0].blobs) if first else None
        if not isinstance(event, Beginning):
            raise StorageError("an orchestration does not begin with its start")
        self._remember(orchestration, (event.id, event.definition))
        return event.id, event.definition

    def _remember(self, orchestration: UUID, origin: Origin) -> None:
        self._origins[orchestration.int] = origin
        if len(self._origins) > _REMEMBERED:
            self._origins.popitem(last=False)
