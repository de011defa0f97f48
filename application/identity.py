"""Public ids, the partitions they belong to, and the aggregates' own ids.

``partition(public id) = HMAC(salt, public id) mod N``, so an id needs no directory and shows no partition; a fresh id is
drawn until it falls where it must. The aggregate's own id is derived in the same way and never leaves the service.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Collection
from datetime import datetime
from typing import Final, Protocol
from uuid import UUID

from domain.base62 import LENGTH, base62

_REMEMBERED: Final = 20_000
_FORM: Final = re.compile(r"o_[0-9A-Za-z]{22}\Z")


class Chance(Protocol):
    """Where randomness comes from. A simulation gives a seeded one."""

    def random_bytes(self, count: int) -> bytes: ...


def place_of(place_key: bytes, partitions: int, public_id: str) -> tuple[int, UUID]:
    """(partition, the aggregate's own id) of a public id, for whoever has the key that they are derived with."""
    digest = hmac.digest(place_key, public_id.encode(), "sha256")
    return int.from_bytes(digest[:8], "big") % partitions, UUID(bytes=digest[8:24])


class Identity:
    """Ids of one database, keyed by its salt."""

    def __init__(self, salt: bytes, partitions: int, chance: Chance) -> None:
        self.partitions = partitions
        self._salt = salt
        self._place_key = self._keyed("place")
        self._chance = chance
        self._places: dict[str, tuple[int, UUID]] = {}

    @staticmethod
    def well_formed(public_id: str) -> bool:
        """Whether a text could be a public id at all."""
        return _FORM.match(public_id) is not None

    def _keyed(self, *parts: str) -> bytes:
        return hmac.digest(self._salt, "\x00".join(parts).encode(), "sha256")

    def locate(self, public_id: str) -> tuple[int, UUID]:
        """(partition, the aggregate's own id) of a public id."""
        place = self._places.get(public_id)
        if place is None:
            place = place_of(self._place_key, self.partitions, public_id)
            if len(self._places) >= _REMEMBERED:
                self._places.clear()
            self._places[public_id] = place
        return place

    def draw(self, partition: int | None = None) -> str:
        """A fresh public id, in this partition if one is named."""
        while True:
            public_id = "o_" + base62(self._chance.random_bytes(LENGTH))
            if partition is None or self.locate(public_id)[0] == partition:
                return public_id

    def draw_in(self, partitions: Collection[int]) -> str:
        """A fresh public id in one of these partitions, of which there must be one."""
        while True:
            public_id = self.draw()
            if self.locate(public_id)[0] in partitions:
                return public_id

    def command_id(self, caller: str, key: str, *about: str) -> str:
        """The id of a command with an idempotency key: the same for every repeat."""
        return self._keyed("command", caller, key, *about).hex()

    def derived(self, caller: str, key: str) -> str:
        """The public id of a start with an idempotency key: the same for every repeat."""
        return "o_" + base62(self._keyed("start", caller, key))

    def of_occurrence(self, definition: str, at: datetime, *, by_hand: bool) -> str:
        """The public id of what an occurrence of a schedule starts: the same however often it is started."""
        return "o_" + base62(self._keyed("by hand" if by_hand else "occurrence", definition, at.isoformat()))

    def of_event(self, definition: str, source: str, id_: str) -> str:
        """The public id of what an event starts of a definition: the same however often it arrives."""
        return "o_" + base62(self._keyed("event", definition, source, id_))

    def place_key(self) -> bytes:
        """What partition and own id of an orchestration are derived with, for those who check an exported log elsewhere. It
        says nothing of the salt.
        """
        return self._place_key

    def sealing_key(self) -> bytes:
        """A key for what clients carry around unread, such as cursors."""
        return self._keyed("seal")
