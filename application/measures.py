"""What a node counts about itself: plain numbers in the objects that do the work, read whenever somebody asks.

Counting is an addition, and a `Distribution` a search in a short tuple, so the hot paths pay next to nothing and know nothing
of who reads them. Numbers begin at zero with the process and only grow; they are for operators, not for decisions.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
EVENTS: Final = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0)


class Distribution:
    """How often which size was seen. `counts` has one more than `bounds`: what is beyond the last. A size that equals a
    bound counts below it.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float] = SECONDS) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def add(self, size: float) -> None:
        """Negative sizes (a clock that was set back) count as nothing."""
        size = max(size, 0.0)
        self.counts[bisect_left(self.bounds, size)] += 1
        self.total += size

    @property
    def count(self) -> int:
        return sum(self.counts)
