"""Whole histories, read for whoever looks back: from the log, and from the archive where they have gone there."""

from __future__ import annotations

from application.archive import ArchiveReader
from application.identity import Identity
from application.journal import Codec
from application.storage import LogStore, StoredRecord
from domain import events as e
from domain.errors import (
    ContentMissingError,
    HistoryUnreadableError,
    InvalidInputError,
    NotFoundError,
    Problem,
    RetraceError,
)

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
        """All events. Raises NotFoundError; TooLongError when there are more than `most`; HistoryUnreadableError or
        ContentMissingError when they are not what they once were.
        """
        if not self._identity.well_formed(public_id):
            raise NotFoundError("There is no orchestration with this id.")
        place = self._identity.locate(public_id)
        events: list[e.Event] = []
        limit = _FIRST_PAGE
        while True:
            records = await self._log.stream(*place, len(events), limit)
            if records and records[0].state_hash is not None:
                records, _ = await self._archive.page(*place, len(events), limit)
            events += (self._decoded(record, version) for version, record in enumerate(records, len(events) + 1))
            if len(events) > most:
                raise TooLongError(most)
            if len(records) < limit:
                break
            limit = _PAGE
        if not events:
            raise NotFoundError("There is no orchestration with this id.")
        return events

    def _decoded(self, record: StoredRecord, version: int) -> e.Event:
        if record.version != version:
            raise HistoryUnreadableError(f"the event of version {version} is missing")
        try:
            return self._codec.decode(record.topic, record.state, record.blobs)
        except ContentMissingError:
            raise
        except RetraceError as error:
            raise HistoryUnreadableError(f"the event of version {version}: {error.detail}") from error
        except Exception as error:  # decoders and ciphers have many words for damaged bytes
            raise HistoryUnreadableError(f"the event of version {version} is damaged") from error


class TooLongError(InvalidInputError):
    """The history is longer than is looked at here."""

    def __init__(self, most: int) -> None:
        detail = f"Its history has more than {most} events; that many are looked at here."
        super().__init__([Problem("", detail, "too-long")], detail)
