"""Runs everything in turn: each round does every workload on every system, one run at a time, so that whatever slowly
changes on the machine meets all systems alike. A run that fails is told and kept as a failure; the others go on.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from tests.benchmarks import machine
from tests.benchmarks.figures import Results, Runs
from tests.benchmarks.processes import RunFailedError
from tests.benchmarks.systems import System
from tests.benchmarks.workloads import Sizes, Workload


class Campaign:
    """All runs of one command. `quiet_wait_s`: how long all of them together may wait for a quiet machine."""

    def __init__(self, systems: Sequence[System], sizes: Sizes, quiet_wait_s: float, command: str) -> None:
        self._systems = systems
        self._sizes = sizes
        self._quiet_wait_s = quiet_wait_s
        self._command = command
        self._runs = Runs()
        self._failures: list[str] = []
        self._busy = 0.0

    def carry_out(self, workloads: Sequence[Workload], rounds: int) -> Results:
        """Measure, and tell on the terminal how far it is."""
        began, begun = datetime.now(UTC), time.monotonic()
        for number in range(1, rounds + 1):
            for workload in workloads:
                for system in self._systems:
                    if system.does(workload) and number <= system.rounds(workload, rounds):
                        self._one(number, workload, system)
        return Results(
            command=self._command,
            began_at=f"{began:%Y-%m-%d %H:%M} UTC",
            took_s=time.monotonic() - begun,
            machine=machine.describe() | {"busy": f"at most {self._busy:.2f} cores busy with other work before a run"},
            systems={system.name: system.about() for system in self._systems},
            sizes={system.name: self._told(system, workloads) for system in self._systems},
            figures=self._runs.figures(),
            quick=self._sizes.sagas < Sizes().sagas or self._sizes.parked < Sizes().parked,
            failures=self._failures,
        )

    def _one(self, number: int, workload: Workload, system: System) -> None:
        begun = time.monotonic()
        self._busy = max(self._busy, machine.quiet(self._quiet_wait_s))
        self._quiet_wait_s = max(0.0, self._quiet_wait_s - (time.monotonic() - begun - machine.LOOK_S))
        begun = time.monotonic()
        what = f"round {number}, {workload}, {system.name}"
        try:
            values = system.run(workload, system.sizes(workload, self._sizes))
        except Exception as error:  # noqa: BLE001 - one run that fails must not cost all others
            why = str(error) if isinstance(error, RunFailedError) else repr(error)
            self._failures.append(f"{what}: {why}")
            print(f"{what}: FAILED, {why}", flush=True)
            return
        self._runs.add(workload, system.name, values)
        shown = ", ".join(f"{v.metric}{f' ({v.at})' if v.at else ''} {v.value:,.2f}" for v in values)
        print(f"{what} [{time.monotonic() - begun:.0f} s]: {shown}", flush=True)

    def _told(self, system: System, workloads: Sequence[Workload]) -> str:
        """How much of each workload one run of this system does."""
        found = {workload: system.sizes(workload, self._sizes) for workload in workloads if system.does(workload)}
        parts = [f"{name.upper()} {_amount(name, sizes)}" for name, sizes in found.items()]
        return "; ".join(parts)


def _amount(workload: Workload, sizes: Sizes) -> str:
    shown = msgspec.structs.asdict(sizes)
    words = {
        "w1": "{sagas:,} sagas, {at_once} at a time, {alone} alone",
        "w2": "{sagas:,} sagas, {at_once} at a time",
        "w3": "{parked:,} parked",
        "w4": "{connections} connections for {load_s:.0f} s",
        "w5": "{growth_sagas:,} sagas three times at each point",
        "w6": "{node_sagas:,} sagas, {at_once} at a time on each node",
    }
    return words[workload].format(**shown)
