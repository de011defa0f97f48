"""The events that a fork has from its original, as they lie in its first event: (topic, msgpack) each.

They lie there whole, so that the history of a fork folds by itself: the original may be archived or gone. Their bases stay
with the original, for a fork does not decide them again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec
from msgspec import UNSET

from domain.errors import StorageError
from domain.events import TOPICS, Event, OrchestrationForked, OrchestrationStarted

Prefix = tuple[tuple[str, bytes], ...]

_encode = msgspec.msgpack.Encoder().encode
_DECODERS: Final = {topic: msgspec.msgpack.Decoder(cls).decode for topic, cls in TOPICS.items()}


def packed(events: Iterable[Event]) -> Prefix:
    """Events as a prefix."""
    return tuple(
        (event.topic, _encode(event if event.basis is None else msgspec.structs.replace(event, basis=None)))
        for event in events
    )


def unpacked(prefix: Prefix) -> Iterator[Event]:
    """The events of a prefix. Raises StorageError for a topic that this version does not know."""
    for topic, raw in prefix:
        decoder = _DECODERS.get(topic)
        if decoder is None:
            raise StorageError(f"a fork holds an event of the unknown kind {topic}; was it written by a newer version?")
        yield decoder(raw)


def input_of(event: Event | None) -> Any:
    """The input that an orchestration begins with, by its first event: a fork may have that of its original."""
    match event:
        case OrchestrationStarted(input=given):
            return given
        case OrchestrationForked(input=given) if given is not UNSET:
            return given
        case OrchestrationForked(prefix=prefix):
            return input_of(next(unpacked(prefix[:1]), None))
        case _:
            return None
