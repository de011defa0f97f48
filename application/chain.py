"""The hash chain of the log (storage.md, Hashes).

``event_hash = SHA256(previous event_hash of the orchestration || partition || position || orchestration || version ||
topic || SHA256(stored bytes))`` and ``log_hash = SHA256(previous log_hash || event_hash)``. Numbers are big-endian
(partition 2 bytes, position and version 8 each), the orchestration its 16 bytes, the topic UTF-8: only one part has no
fixed length, so no two inputs have the same bytes. The chains begin with 32 zero bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import sha256
from struct import Struct
from typing import Final
from uuid import UUID

from application.storage import StoredRecord

GENESIS: Final = bytes(32)

_PLACE: Final = Struct(">HQ16sQ").pack


def event_hash(
    previous: bytes, partition: int, position: int, orchestration: UUID, version: int, topic: str, state: bytes
) -> bytes:
    """The hash that binds an event to its place in the log and to the history before it."""
    place = _PLACE(partition, position, orchestration.bytes, version)
    return sha256(previous + place + topic.encode() + sha256(state).digest()).digest()


def archived_hash(previous: bytes, partition: int, record: StoredRecord, state_hash: bytes) -> bytes:
    """The same of an event of whose bytes only the hash is known."""
    place = _PLACE(partition, record.position, record.orchestration.bytes, record.version)
    return sha256(previous + place + record.topic.encode() + state_hash).digest()


def log_hash(previous: bytes, event: bytes) -> bytes:
    """The hash that binds an event to everything before it in its partition."""
    return sha256(previous + event).digest()


def breaks(partition: int, records: Iterable[StoredRecord]) -> Iterator[str]:
    """Where the chain of a partition does not hold: a sentence for each place. `records`: its log from the first position
    on, archived events included. Remembers one hash per orchestration.
    """
    last: dict[UUID, tuple[int, bytes]] = {}
    chain = GENESIS
    for position, record in enumerate(records, 1):
        version, previous = last.get(record.orchestration, (0, GENESIS))
        if (record.position, record.version) != (position, version + 1):
            yield f"position {record.position}, version {record.version} stands where {position}, {version + 1} must be"
        state_hash = sha256(record.state).digest() if record.state_hash is None else record.state_hash
        wanted = archived_hash(previous, partition, record, state_hash)
        chain = log_hash(chain, wanted)
        if (record.event_hash, record.log_hash) != (wanted, chain):
            yield f"the chain breaks at position {position}"
        last[record.orchestration], chain = (record.version, record.event_hash), record.log_hash
