"""The hash chain of the log (storage.md, Hashes).

``event_hash = SHA256(previous event_hash of the orchestration || partition || position || orchestration || version ||
topic || SHA256(stored bytes))`` and ``log_hash = SHA256(previous log_hash || event_hash)``. Numbers are big-endian
(partition 2 bytes, position and version 8 each), the orchestration its 16 bytes, the topic UTF-8: only one part has no
fixed length, so no two inputs have the same bytes. The chains begin with 32 zero bytes.

`application.partition_check` checks a log by it.
"""

from __future__ import annotations

from hashlib import sha256
from struct import Struct
from typing import Final
from uuid import UUID

GENESIS: Final = bytes(32)

PLACE: Final = Struct(">HQ16sQ").pack
"""(partition, position, orchestration, version) as they go into an event's hash."""


def event_hash(
    previous: bytes, partition: int, position: int, orchestration: UUID, version: int, topic: str, state: bytes
) -> bytes:
    """The hash that binds an event to its place in the log and to the history before it."""
    place = PLACE(partition, position, orchestration.bytes, version)
    return sha256(previous + place + topic.encode() + sha256(state).digest()).digest()


def log_hash(previous: bytes, event: bytes) -> bytes:
    """The hash that binds an event to everything before it in its partition."""
    return sha256(previous + event).digest()
