"""What is held of events from outside: those for whoever waits later, and those that one orchestration keeps for its tasks.

Attributes are shown, data is not: it is nobody's yet. What an orchestration keeps ends with it; the others are kept for a
time that the settings choose.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec

from application.cursors import MalformedCursorError, Seal
from application.identity import Identity
from application.reader import Reader
from application.registers import HeldEventStore
from application.service import Json
from application.status import instant
from domain.state import State
from domain.state_streams import Held, Order


class _Position(msgspec.Struct, frozen=True, array_like=True):
    received_at: datetime
    source: str
    id: str


class HeldEvents:
    """The lists of one service."""

    def __init__(self, store: HeldEventStore, reader: Reader, identity: Identity, *, hold_s: float) -> None:
        self._store = store
        self._reader = reader
        self._seal = Seal(identity.sealing_key(), "held events")
        self._hold = timedelta(seconds=hold_s)

    async def for_anybody(self, event_type: str | None, source: str | None, cursor: str | None, limit: int) -> Json:
        """A page of those that nobody has taken, oldest first: {items, next}. Raises MalformedCursorError."""
        at = None if cursor is None else self._seal.opened(cursor, _Position)
        after = None if at is None else (at.received_at, at.source, at.id)
        found = await self._store.waiting(event_type, limit + 1, after, source=source)
        items = [
            _entry(msgspec.json.decode(each.event), each.received_at, each.received_at + self._hold)
            for each in found[:limit]
        ]
        last = found[limit - 1] if len(found) > limit else None
        following = None if last is None else self._seal.sealed(_Position(last.received_at, last.source, last.id))
        return {"items": items, "next": following}

    async def of(self, id_: str, event_type: str | None, source: str | None, cursor: str | None, limit: int) -> Json:
        """A page of those that an orchestration keeps, in the order in which they are offered, the parked ones last. Raises
        NotFoundError, MalformedCursorError.
        """
        state = (await self._reader.settled(id_)).state
        start = 0 if cursor is None else self._seal.opened(cursor, int)
        if start < 0:
            raise MalformedCursorError
        kept = [
            each for each in _kept(state) if event_type in (None, each["type"]) and source in (None, each["source"])
        ]
        end = start + limit
        return {"items": kept[start:end], "next": self._seal.sealed(end) if len(kept) > end else None}


def _kept(state: State) -> list[Json]:
    if state.final:
        return []
    kept = [_of(state, each, None) for each in state.held]
    for name, stream in state.streams.items():
        for order in stream.orders.values():
            kept += [_of(state, order.parked[number], _place(name, order, number)) for number in sorted(order.parked)]
    return kept


def _place(stream: str, order: Order, number: int) -> Json:
    return {"stream": stream, "key": order.key, "number": number}


def _of(state: State, held: Held, parked: Json | None) -> Json:
    return {**_entry(held.event, held.at, None), "orchestration": state.id, "parked": parked}


def _entry(event: dict[str, Any], received_at: datetime | None, expires_at: datetime | None) -> Json:
    attributes = {name: value for name, value in event.items() if name not in ("data", "data_base64")}
    return {
        "type": event.get("type"),
        "source": event.get("source"),
        "id": event.get("id"),
        "attributes": attributes,
        "received_at": instant(received_at),
        "expires_at": instant(expires_at),
        "orchestration": None,
        "parked": None,
    }
