"""Values of runs become figures: every run is kept, the median is what is told.

The JSON of `Results` is the machine-readable form, and what tables, targets and plots are made from.
"""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

import msgspec


class Value(msgspec.Struct, frozen=True):
    """One number of one run. `at`: the point where it was taken, where a workload has several (``finished 1000``)."""

    metric: str
    value: float
    at: str = ""


def parked_values(count: int, started_s: float, signalled_s: float, ended_s: float, memory_mb: float) -> list[Value]:
    """What W3 finds, times and rates, so that systems that parked differently many can be compared.

    Args:
        count: how many were parked.
        started_s: from the first start to the last acknowledged one.
        signalled_s: from the first signal to the last acknowledged one.
        ended_s: from the first signal to the last end.
        memory_mb: of the processes and their children, the larger of while they wait and after they have ended.
    """
    return [
        Value("parked", count),
        Value("started_s", started_s),
        Value("started_per_s", count / started_s),
        Value("signalled_s", signalled_s),
        Value("ended_s", ended_s),
        Value("ended_per_s", count / ended_s),
        Value("memory_mb", memory_mb),
    ]


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One number of a system, over all its runs."""

    workload: str
    system: str
    metric: str
    at: str = ""
    median: float
    runs: list[float]


class Results(msgspec.Struct, kw_only=True):
    """Everything that one command measured, and on what."""

    command: str
    began_at: str
    took_s: float = 0.0
    machine: dict[str, str]
    systems: dict[str, str]
    """Name -> version and settings, for people."""
    sizes: dict[str, str]
    """Name of a system -> how much its runs did, where it differs."""
    figures: list[Figure] = []
    quick: bool = False
    """The sizes were small: it was to be seen that it works, not how fast."""
    failures: list[str] = []
    """Runs that gave no values, and why."""

    def of(self, workload: str, system: str, metric: str, at: str = "") -> float | None:
        """The median of a figure; None where it was not measured."""
        return next((f.median for f in self.select(workload, system, metric) if f.at == at), None)

    def select(self, workload: str, system: str, metric: str) -> list[Figure]:
        """The figures of a metric at all points, in the order of their measurement."""
        return [f for f in self.figures if (f.workload, f.system, f.metric) == (workload, system, metric)]


class Runs:
    """Collects the values of runs."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, str, str, str], list[float]] = {}

    def add(self, workload: str, system: str, values: Iterable[Value]) -> None:
        for each in values:
            self._values.setdefault((workload, system, each.metric, each.at), []).append(each.value)

    def figures(self) -> list[Figure]:
        """Of all runs so far."""
        return [
            Figure(workload=workload, system=system, metric=metric, at=at, median=median(values), runs=values)
            for (workload, system, metric, at), values in self._values.items()
        ]
