"""What an archived orchestration leaves: the stored bytes of all its events, compressed, in one value.

The first byte names the form. In form 1 the number of events follows (4 bytes, big-endian), then zlib over the bytes of
each event as a msgpack byte string, that of version 1 first. Topics, hashes and places stay in the log, which also tells
whether the bytes are still those it once had.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from hashlib import sha256
from typing import Final
from uuid import UUID

import msgspec

from application.attached_log import AttachedLog
from application.storage import ArchiveStore, StoredRecord
from domain.errors import ArchivedError, HistoryUnreadableError

_FORM: Final = b"\x01"
_COUNT_BYTES: Final = 4
_ARRAY: Final = b"\xdd"
_LEVEL: Final = 6
_encode = msgspec.msgpack.Encoder().encode
_bytes_of = msgspec.msgpack.Decoder(list[bytes]).decode


class Packing:
    """Packs a history page by page, so that a long one holds nobody up for long."""

    def __init__(self) -> None:
        self.stripped: list[tuple[int, bytes]] = []
        """(position, SHA-256 of the bytes) of every event so far."""
        self._compressor = zlib.compressobj(_LEVEL)
        self._parts: list[bytes] = []

    def add(self, records: Sequence[StoredRecord]) -> None:
        """The next events of the history."""
        self.stripped += [(record.position, sha256(record.state).digest()) for record in records]
        self._parts.append(self._compressor.compress(b"".join(_encode(record.state) for record in records)))

    def content(self) -> bytes:
        """What the archive keeps. Called once, at the end."""
        count = len(self.stripped).to_bytes(_COUNT_BYTES)
        return b"".join((_FORM, count, *self._parts, self._compressor.flush()))


def unpacked(content: bytes) -> list[bytes]:
    """The stored bytes of all events. Raises HistoryUnreadableError when they cannot be had."""
    if content[:1] != _FORM:
        raise HistoryUnreadableError("the archive has a form that this version does not know")
    start = 1 + _COUNT_BYTES
    try:
        return _bytes_of(_ARRAY + content[1:start] + zlib.decompress(content[start:]))
    except (zlib.error, msgspec.MsgspecError) as error:
        raise HistoryUnreadableError("what the archive holds is damaged") from error


class ArchiveReader:
    """Reads histories from the archive. The last one stays at hand, since histories are read page by page."""

    def __init__(self, store: ArchiveStore, log: AttachedLog) -> None:
        self._store = store
        self._log = log
        self._attached = log.attached
        self._last: tuple[UUID, list[bytes]] | None = None

    async def status(self, partition: int, orchestration: UUID) -> str:
        """How an archived orchestration ended."""
        record = await self._store.get(partition, orchestration)
        if record is None:
            raise ArchivedError
        return record.status

    async def page(self, partition: int, orchestration: UUID, after: int, limit: int) -> tuple[list[StoredRecord], int]:
        """Events with version > after, whole as they were once; and how many there are in all. Raises
        HistoryUnreadableError when the archive has not the bytes that the log vouches for.
        """
        records = await self._log.stream(partition, orchestration, after, limit)
        states = await self._states(partition, orchestration)
        found = []
        for record in records:
            state = states[record.version - 1] if record.version <= len(states) else b""
            if sha256(state).digest() != record.state_hash:
                raise HistoryUnreadableError("the archive has other bytes than the log once had")
            found.append(msgspec.structs.replace(record, state=state, state_hash=None))
        return await self._attached(partition, found), len(states)

    async def _states(self, partition: int, orchestration: UUID) -> list[bytes]:
        if self._last is None or self._last[0] != orchestration:
            record = await self._store.get(partition, orchestration)
            if record is None:
                raise ArchivedError("Its events are not in the log any more, and the archive has not got them.")
            self._last = (orchestration, unpacked(record.content))
        return self._last[1]
