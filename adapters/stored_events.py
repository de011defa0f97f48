"""Event <-> stored bytes: msgspec structs in msgpack, through the Mapper of `eventsourcing`.

The stored name of an event is its topic, never a class path; members are only ever added, with defaults, so old bytes
decode under new classes. `upcast` is the place where bytes of an older form are changed before they are decoded. The
mapper's compressor and cipher hooks apply to the bytes, so hashes are over what is stored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast
from uuid import UUID

import msgspec
from eventsourcing.persistence import Mapper, StoredEvent, Transcoder

from adapters.stored_states import StateMapper
from domain.errors import ArchivedError, StorageError
from domain.events import TOPICS, Event


class RecordedEvent(msgspec.Struct, frozen=True):
    """An event with its place, in the shape that `eventsourcing` expects of a domain event."""

    originator_id: UUID
    originator_version: int
    event: Event


class _NoTranscoder(Transcoder):
    """msgspec does all the encoding; the library's own transcoder is never asked."""

    def encode(self, obj: Any) -> bytes:
        raise TypeError("events are encoded by msgspec")

    def decode(self, data: bytes) -> Any:
        raise TypeError("events are decoded by msgspec")


Upcast = Callable[[bytes], bytes]


class EventMapper(Mapper[UUID]):
    """`encode` and `decode` are the hot path; the inherited interface serves the library's readers."""

    def __init__(self, *, upcasts: dict[str, Upcast] | None = None, **hooks: Any) -> None:
        super().__init__(_NoTranscoder(), **hooks)
        self._encode = msgspec.msgpack.Encoder().encode
        self.encode: Callable[[Event], bytes] = self._sealed if self.compressor or self.cipher else self._encode
        """The bytes to store."""
        self._decoders = {topic: msgspec.msgpack.Decoder(cls).decode for topic, cls in TOPICS.items()}
        self._upcasts = upcasts or {}
        self.states = StateMapper(self._seal, self._open)

    def _seal(self, state: bytes) -> bytes:
        if self.compressor:
            state = self.compressor.compress(state)
        return self.cipher.encrypt(state) if self.cipher else state

    def _open(self, state: bytes) -> bytes:
        if self.cipher:
            state = self.cipher.decrypt(state)
        return self.compressor.decompress(state) if self.compressor else state

    def _sealed(self, event: Event) -> bytes:
        return self._seal(self._encode(event))

    def decode(self, topic: str, state: bytes) -> Event:
        """The event that was stored. Raises ArchivedError where its bytes are in the archive, StorageError for a topic that
        this version does not know.
        """
        if not state:
            raise ArchivedError
        state = self._open(state)
        if topic in self._upcasts:
            state = self._upcasts[topic](state)
        decoder = self._decoders.get(topic)
        if decoder is None:
            raise StorageError(
                f"the log holds an event of the unknown kind {topic}; was it written by a newer version?"
            )
        return decoder(state)

    def to_stored_event(self, domain_event: Any) -> StoredEvent:
        event: Event = domain_event.event
        return StoredEvent(domain_event.originator_id, domain_event.originator_version, event.topic, self.encode(event))

    def to_domain_event(self, stored_event: StoredEvent) -> Any:
        event = self.decode(stored_event.topic, stored_event.state)
        originator_id = cast(UUID, stored_event.originator_id)
        return RecordedEvent(originator_id, stored_event.originator_version, event)
