"""Whole histories, read for whoever looks back: from the log, and from the archive where they have gone there."""

from __future__ import annotations

from application.archive import ArchiveReader
from application.identity import Identity
from application.journal import Codec
from application.storage import LogStore, StoredRecord
from domain import events as e
from domain.errors import InvalidInputError, NotFoundError, Problem

_FIRST_PAGE = 64
_PAGE = 1000


class Histories:
    """Reads what is committed, whoever owns it."""

    def __init__(self, log: LogStore, archive: ArchiveReader, codec: Codec, identity: Identity) -> None:
        self._log = log
        self._archive = archive
        self._codec = codec
        self._identity = identity

    async def whole(self, public_id: str, most: int) -> list[e.Event]:
        """All events. Raises NotFoundError; TooLongError when there are more than `most`."""
        if not self._identity.well_formed(public_id):
            raise NotFoundError("There is no orchestration with this id.")
        place = self._identity.locate(public_id)
        events: list[e.Event] = []
        limit = _FIRST_PAGE
        while True:
            records = await self._log.stream(*place, len(events), limit)
            if records and records[0].state_hash is not None:
                records, _ = await self._archive.page(*place, len(events), limit)
            events += map(self._decoded, records)
            if len(events) > most:
                raise TooLongError(most)
            if len(records) < limit:
                break
            limit = _PAGE
        if not events:
            raise NotFoundError("There is no orchestration with this id.")
        return events

    def _decoded(self, record: StoredRecord) -> e.Event:
        return self._codec.decode(record.topic, record.state, record.blobs)


class TooLongError(InvalidInputError):
    """The history is longer than is looked at here."""

    def __init__(self, most: int) -> None:
        detail = f"Its history has more than {most} events; that many are looked at here."
        super().__init__([Problem("", detail, "too-long")], detail)
