"""What is measured, and in which size.

| | work | said of it |
|---|---|---|
| w1 | three steps in process, `at_once` at a time, and one alone | instances/s; p50 and p99 of one alone |
| w2 | the third step refuses, two are undone | instances/s |
| w3 | `parked` instances wait for an event, then all get it | time to start, time to end, memory |
| w4 | starts over HTTP from `connections` connections for `load_s` | accepted/s, time until all have ended |
| w5 | w1 with more and more finished, and parked, in the database | cost of one saga, by their number |
| w6 | w1 on several nodes over one PostgreSQL; one is killed | instances/s by nodes; time of the takeover |

The sizes of a slow system are smaller where rates are compared, so that a run takes about as long everywhere; W4 is the
same for all.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Workload = Literal["w1", "w2", "w3", "w4", "w5", "w6"]
ALONE: tuple[Workload, ...] = ("w1", "w2", "w3", "w4", "w5", "w6")
SIDE_BY_SIDE: tuple[Workload, ...] = ("w1", "w2", "w3", "w4")


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """How much of everything one run does."""

    warm_up: int = 200
    sagas: int = 5000
    """w1 and w2; also what each measurement of w5 runs."""
    at_once: int = 64
    alone: int = 200
    parked: int = 10_000
    warm_load_s: float = 1.0
    load_s: float = 8.0
    connections: int = 32
    growth: tuple[int, ...] = (1000, 10_000, 100_000)
    growth_sagas: int = 2000
    quiet_s: float = 4.0
    """How long each measurement of w5 may wait for a quiet machine."""
    nodes: tuple[int, ...] = (1, 2, 4)
    node_sagas: int = 12_000
    """Of all nodes together."""
    limit_s: float = 300.0
    """A run that takes longer has failed."""


QUICK = Sizes(
    warm_up=20,
    sagas=300,
    alone=30,
    parked=300,
    load_s=1.0,
    growth=(200, 400, 800),
    growth_sagas=200,
    quiet_s=0.0,
    nodes=(1, 2),
    node_sagas=300,
    limit_s=120.0,
)
TINY = msgspec.structs.replace(
    QUICK,
    warm_up=2,
    sagas=8,
    at_once=4,
    alone=4,
    parked=8,
    warm_load_s=0.1,
    load_s=0.2,
    connections=2,
    growth=(4, 8),
    growth_sagas=4,
)
