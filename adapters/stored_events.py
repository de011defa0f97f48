"""Event <-> stored bytes: msgspec structs in msgpack, through the Mapper of `eventsourcing`.

The stored name of an event is its topic, never a class path; members are only ever added, with defaults, so old bytes
decode under new classes. `upcast` is the place where bytes of an older form are changed before they are decoded. The
mapper's compressor and cipher hooks apply to the bytes, so hashes are over what is stored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast
from uuid import UUID

import msgspec
from eventsourcing.persistence import Mapper, StoredEvent, Transcoder

from adapters.stored_states import StateMapper
from application.large_values import MARK, Blob, Contents, has_references, put_back, shown_in, take_out, value_in
from domain.errors import ArchivedError, StorageError
from domain.events import TOPICS, Event

LARGEST_VALUE: Final = 64 * 1024
"""Bytes of a value that goes beside its event, at least, once that is large as a whole."""


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

    def __init__(
        self, *, upcasts: dict[str, Upcast] | None = None, largest_value: int = LARGEST_VALUE, **hooks: Any
    ) -> None:
        """`largest_value`: bytes up to which a value stays in its event, where `split` is asked."""
        super().__init__(_NoTranscoder(), **hooks)
        self._encode = msgspec.msgpack.Encoder().encode
        self.encode: Callable[[Event], bytes] = self._sealed if self.compressor or self.cipher else self._encode
        """The bytes to store."""
        self._decoders = {topic: msgspec.msgpack.Decoder(cls).decode for topic, cls in TOPICS.items()}
        self._upcasts = upcasts or {}
        self._largest_value = largest_value
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

    def split(self, state: bytes) -> tuple[bytes, list[Blob]]:
        """The bytes to store of an event that has many, and the values that go beside it; everything stays in one piece
        where it is compressed or encrypted as a whole.
        """
        if self.compressor or self.cipher:
            return state, []
        return take_out(state, self._largest_value)

    def decode(self, topic: str, state: bytes, blobs: Contents | None = None) -> Event:
        """The event that was stored. Raises ArchivedError where its bytes are in the archive, StorageError for a topic that
        this version does not know, ContentMissingError where a value beside it is not among `blobs`.
        """
        if not state:
            raise ArchivedError
        if state[0] == MARK:
            return self._decoded(topic, put_back(state, value_in(Contents() if blobs is None else blobs)))
        return self._decoded(topic, self._open(state))

    def shown(self, topic: str, state: bytes, blobs: Contents | None = None) -> Event:
        """The same with references in the places of values beside it; for readers, not for folding."""
        if not has_references(state):
            return self.decode(topic, state)
        try:
            return self._decoded(topic, put_back(state, shown_in(Contents() if blobs is None else blobs)))
        except msgspec.ValidationError:  # a member of a fixed form is among them
            return self.decode(topic, state, blobs)

    def _decoded(self, topic: str, state: bytes) -> Event:
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
