"""The targets of the project, checked against what was measured. They are told, never asserted: a machine may be slow."""

from __future__ import annotations

import os
from collections.abc import Callable

import msgspec

from tests.benchmarks.figures import Results
from tests.benchmarks.tables import EVERY_CORE, OURS, TITLES, table

_RESTATE = ("restate-typescript", "restate-python")
_DBOS = ("dbos", "dbos-threads")
_POSTGRESQL = OURS[0]


class Check(msgspec.Struct, frozen=True):
    """`holds`: None where something was not measured."""

    target: str
    measured: str
    holds: bool | None


def checks(alone: Results | None, beside: Results | None) -> list[Check]:
    """Every target. Those that compare come from the run beside the peers, all others from the run of Retrace alone, or
    from the former where that run was of other workloads.
    """
    found: list[Check] = []
    if beside is not None:
        found += [*_rates(beside, "w1"), *_alone(beside), *_rates(beside, "w2"), *_accepted(beside)]
    for workload, checked in (("w3", _parked), ("w4", _ended)):
        runs = [run for run in (alone, beside) if run is not None]
        own = next((run for run in runs if any(figure.workload == workload for figure in run.figures)), None)
        if own is not None or runs:
            found += checked(own or runs[0])
    if alone is not None:
        found += [*_growth(alone), *_nodes(alone)]
    return found


def told(alone: Results | None, beside: Results | None) -> str:
    """The table, with a warning where the sizes are not those that the targets speak of."""
    words = {True: "yes", False: "**no**", None: "not measured"}
    rows = [[c.target, c.measured, words[c.holds]] for c in checks(alone, beside)]
    text = table(["target", "measured", "holds"], rows)
    if any(results.quick for results in (alone, beside) if results is not None):
        text += "\n\nThe sizes were small, so this says that the measurement works, not whether a target holds."
    return text


def _rates(results: Results, workload: str) -> list[Check]:
    found = []
    for ours in (EVERY_CORE, *OURS):
        for name, peers, factor in (("Restate's better", _RESTATE, 5), ("DBOS's better", _DBOS, 20)):
            rate, best = results.of(workload, ours, "sagas_per_s"), _best(results, workload, "sagas_per_s", peers, max)
            target = f"{workload.upper()}, {TITLES[ours]}: at least {factor} x {name}"
            if rate is None or best is None:
                found.append(Check(target, "", None))
            else:
                measured = f"{rate:,.0f}/s, {rate / best:.1f} x {best:,.0f}/s"
                found.append(Check(target, measured, rate >= factor * best))
    return found


def _alone(results: Results) -> list[Check]:
    found = []
    for ours in OURS:
        p50, best = results.of("w1", ours, "p50_ms"), _best(results, "w1", "p50_ms", _RESTATE, min)
        target = f"W1 one alone, {TITLES[ours]}: p50 at most half of Restate's better"
        if p50 is None or best is None:
            found.append(Check(target, "", None))
        else:
            found.append(Check(target, f"{p50:.2f} ms, {p50 / best:.2f} of {best:.2f} ms", p50 <= best / 2))
    return found


def _accepted(results: Results) -> list[Check]:
    found = []
    for ours in (EVERY_CORE, *OURS):
        rate, best = results.of("w4", ours, "accepted_per_s"), _best(results, "w4", "accepted_per_s", _RESTATE, max)
        target = f"W4, {TITLES[ours]}: at least the accepted starts of Restate's better"
        if rate is None or best is None:
            found.append(Check(target, "", None))
        else:
            found.append(Check(target, f"{rate:,.0f}/s, {rate / best:.2f} x {best:,.0f}/s", rate >= best))
    return found


def _parked(results: Results) -> list[Check]:
    limits = (("started_s", "10,000 started in {} s", 5), ("ended_s", "all ended {} s after the first signal", 5))
    found = []
    for ours in OURS:
        for metric, words, limit in limits:
            found.append(_within(results, "w3", ours, metric, words.format(limit), limit, "s"))
        found.append(_within(results, "w3", ours, "memory_mb", "process under 300 MB", 300, "MB"))
    return found


def _ended(results: Results) -> list[Check]:
    words = "all ended within 2 s after the load stops"
    return [_within(results, "w4", ours, "ended_after_s", words, 2, "s") for ours in (EVERY_CORE, *OURS)]


def _within(results: Results, workload: str, ours: str, metric: str, words: str, limit: float, unit: str) -> Check:
    value = results.of(workload, ours, metric)
    target = f"{workload.upper()}, {TITLES[ours]}: {words}"
    return Check(target, "", None) if value is None else Check(target, f"{value:,.2f} {unit}", value <= limit)


def _growth(results: Results) -> list[Check]:
    """The cost is the processor time of the node and, where it is known, of the database; wall time is told beside it."""
    found = []
    for ours in OURS:
        for what in ("finished", "parked"):
            points = [f.at for f in results.select("w5", ours, "cpu_us") if f.at.startswith(what)]
            target = f"W5, {TITLES[ours]}, {what}: cost within 1.2 x from the smallest to the largest"
            if len(points) < 2:
                found.append(Check(target, "", None))
                continue
            costs = [_cost(results, ours, at) for at in points]
            wall = [results.of("w5", ours, "wall_us", at) or 0.0 for at in points]
            measured = (
                f"CPU {costs[0]:,.0f} to {costs[-1]:,.0f} us, {max(costs) / min(costs):.2f} x between the extremes; "
                f"wall {wall[-1] / wall[0]:.2f} x"
            )
            found.append(Check(target, measured, max(costs) <= 1.2 * min(costs)))
    return found


def _cost(results: Results, ours: str, at: str) -> float:
    return sum(results.of("w5", ours, metric, at) or 0.0 for metric in ("cpu_us", "database_cpu_us"))


def _nodes(results: Results) -> list[Check]:
    one, two = (results.of("w6", _POSTGRESQL, "sagas_per_s", f"nodes {count}") for count in (1, 2))
    taken, lease = (results.of("w6", _POSTGRESQL, metric) for metric in ("takeover_s", "lease_s"))
    cores = f"{os.cpu_count()} cores for the nodes and PostgreSQL together"
    target = "W6: 2 nodes at least 1.4 x of one where the machine has a core to give"
    scaling = Check(target, "", None)
    if one and two:
        scaling = Check(target, f"{two / one:.2f} x; {cores}", two >= 1.4 * one)
    target = "W6: takeover after SIGKILL within lease + 2 s"
    takeover = Check(target, "", None)
    if taken is not None and lease is not None:
        takeover = Check(target, f"{taken:.1f} s, lease {lease:.0f} s", taken <= lease + 2)
    return [scaling, takeover]


def _best(
    results: Results, workload: str, metric: str, systems: tuple[str, ...], better: Callable[[list[float]], float]
) -> float | None:
    values = [value for system in systems if (value := results.of(workload, system, metric)) is not None]
    return better(values) if values else None
