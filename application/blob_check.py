"""Checks that what events refer to is there, and is what it was: the digests stand in the events, which the chain fixes.

References to large values are read from the stored bytes. Of files only those are looked for that an attempt's own answer
brought (they stand there as they were written); what passes them on says nothing new.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from typing import Final
from uuid import UUID

import msgspec

from application.blob_store import BlobStore
from application.damage import Damage
from application.large_values import named, references

_MARK: Final = b"\xc1"
_FILE: Final = b"\xa6digest\xd9\x47sha256:"
_WRITTEN: Final = re.compile(re.escape(_FILE) + rb"([0-9a-f]{64})\xa5bytes[\x00-\xff]{1,9}?\xaamedia_type", re.DOTALL)
_OF_ANSWER: Final = b"\xa5cause\xa6result"
_COMPLETED: Final = "task.completed"


def concerns(topic: str, state: bytes) -> bool:
    """Whether an event may refer to something; for most a look at the first byte."""
    return state[:1] == _MARK or (topic == _COMPLETED and _FILE in state)


class BlobCheck:
    """The check of one partition. Each content is read once for an orchestration."""

    def __init__(self, store: BlobStore, partition: int) -> None:
        self._store = store
        self._partition = partition
        self._seen: set[tuple[bytes, bytes]] = set()
        self.checked = 0

    async def findings(
        self, identity: bytes, version: int, position: int, topic: str, state: bytes, public_id: str | None = None
    ) -> Sequence[Damage]:
        """What is wrong with what one event refers to. Raises StorageError."""
        found: list[Damage] = []
        if not concerns(topic, state):
            return found
        for digest in _digests(topic, state):
            key = (identity, digest)
            if key in self._seen or len(identity) != 16:
                continue
            self._seen.add(key)
            self.checked += 1
            blob = await self._store.get(self._partition, UUID(bytes=identity), digest)
            if blob is not None and blob.content is not None and sha256(blob.content).digest() == digest:
                continue
            gone = blob is None or blob.content is None
            found.append(
                Damage(
                    kind="blob_missing" if gone else "blob_changed",
                    partition=self._partition,
                    position=position,
                    identity=identity,
                    orchestration=public_id,
                    version=version,
                    topic=topic,
                    detail=f"the content {named(digest)} that it refers to "
                    + ("is not there" if gone else "is not what it was"),
                )
            )
        return found


def files_in(state: bytes) -> list[bytes]:
    """Digests of the files whose references stand in an event as they were written."""
    return [bytes.fromhex(each.decode()) for each in _WRITTEN.findall(state)] if _FILE in state else []


def _digests(topic: str, state: bytes) -> list[bytes]:
    found: list[bytes] = []
    with suppress(ValueError, IndexError, msgspec.MsgspecError):  # a damaged event is found otherwise
        found += [each.digest for each in references(state)]
    if topic == _COMPLETED and _OF_ANSWER in state:
        found += files_in(state)
    return found
