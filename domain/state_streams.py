"""What the state of an orchestration knows of its event streams: how far each order has come, and what is parked in it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec


class Held(msgspec.Struct):
    source: str
    id: str
    event: dict[str, Any]
    at: datetime | None = None
    """When it was received."""


class Order(msgspec.Struct):
    """How far one order of a stream has come. `parked`: by number those that came before their turn."""

    key: str | int | bool | None
    next: int
    parked: dict[int, Held] = {}
    skipped: list[tuple[int, int]] = []
    """(first, last) of the numbers that are not waited for any longer."""

    def lacks(self, most: int) -> list[int]:
        """The numbers that have to come before what is parked can be offered, the lowest first; without any the next."""
        if not self.parked:
            return [self.next]
        found: list[int] = []
        begin = self.next
        for number in sorted(self.parked):
            found += range(begin, min(number, begin + most - len(found)))
            begin = number + 1
            if len(found) >= most:
                break
        return found

    @property
    def lacking(self) -> int:
        """How many they are."""
        return max(self.parked) + 1 - self.next - len(self.parked) if self.parked else 1


class Stream(msgspec.Struct):
    """Events that are put in order. `orders`: by the text of the key; `gaps`: when what is parked in some of them has
    waited long enough.
    """

    type: str | None
    first: int
    orders: dict[str, Order] = {}
    gaps: dict[str, datetime] = {}

    def order(self, key: str | int | bool | None) -> Order:
        """The order of a key as it stands; what is new is not kept."""
        return self.orders.get(text_of(key)) or Order(key, self.first)


def text_of(key: str | int | bool | None) -> str:
    """The name of an order in a stream; empty where there is only one."""
    return "" if key is None else msgspec.json.encode(key).decode()
