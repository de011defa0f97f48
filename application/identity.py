"""Public ids, the partitions they belong to, and the aggregates' own ids.

``partition(public id) = HMAC(salt, public id) mod N``, so an id needs no directory and shows no partition; fresh ids are
drawn until one falls where it must, and the others are kept for later. The aggregate's own id is derived in the same way and
never leaves the service.
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
IDS_IN_A_ROW: Final = 16
_DRAWS_AT_ONCE: Final = 64
"""A few tenths of a millisecond, where few of many partitions are ours."""
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

    def __init__(self, salt: bytes, partitions: int, chance: Chance, *, in_a_row: int = IDS_IN_A_ROW) -> None:
        """`in_a_row`: how many fresh orchestrations, about, are begun in one partition after the other."""
        self.partitions = partitions
        self._in_a_row = in_a_row
        self._salt = salt
        self._place_key = self._keyed("place")
        self._chance = chance
        self._places: dict[str, tuple[int, UUID]] = {}
        self._drawn: list[list[str]] = [[] for _ in range(partitions)]
        """Ids that nothing has yet, by partition."""
        self._current = 0

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
        if partition is None:
            return "o_" + base62(self._chance.random_bytes(LENGTH))
        while not self._drawn[partition]:
            self._draw_ahead()
        return self._drawn[partition].pop()

    def draw_in(self, partitions: Collection[int]) -> str:
        """A fresh public id in one of these partitions, of which there must be one. Several in a row are in the same one:
        what is begun at one time goes on at one time, and a batch of commits pays for every partition that it touches.
        """
        if self._current not in partitions or not self._drawn[self._current]:
            self._current = self._next(partitions)
        return self._drawn[self._current].pop()

    def _next(self, partitions: Collection[int]) -> int:
        """The one with the most ids that are drawn already, so all get their share."""
        fullest = max(partitions, key=lambda partition: len(self._drawn[partition]))
        draws = 0
        while not self._drawn[fullest] or (len(self._drawn[fullest]) < self._in_a_row and draws < _DRAWS_AT_ONCE):
            partition = self._draw_ahead()
            draws += 1
            if partition in partitions and len(self._drawn[partition]) > len(self._drawn[fullest]):
                fullest = partition
        return fullest

    def _draw_ahead(self) -> int:
        """The partition of one more id. Where there are enough, it is dropped."""
        public_id = self.draw()
        partition = self.locate(public_id)[0]
        if len(self._drawn[partition]) < self._in_a_row:
            self._drawn[partition].append(public_id)
        return partition

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
