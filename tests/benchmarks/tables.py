"""Results as tables in markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from tests.benchmarks.figures import Results

TITLES = {
    "retrace-postgresql": "Retrace, PostgreSQL",
    "retrace-every-core": "Retrace, PostgreSQL, a process per core",
    "retrace-sqlite": "Retrace, SQLite",
    "restate-typescript": "Restate, TypeScript",
    "restate-python": "Restate, Python",
    "dbos": "DBOS, coroutines",
    "dbos-threads": "DBOS, threads",
}
"""Systems in the order in which they are told, and their names for people."""
OURS = ("retrace-postgresql", "retrace-sqlite")
EVERY_CORE = "retrace-every-core"
PEERS = tuple(name for name in TITLES if name not in (*OURS, EVERY_CORE))


class Column(msgspec.Struct, frozen=True):
    """`form`: of one number. `more`: whether more is better."""

    metric: str
    title: str
    form: str = ",.0f"
    more: bool = True


COLUMNS: dict[str, tuple[Column, ...]] = {
    "w1": (
        Column("sagas_per_s", "instances/s"),
        Column("cpu_us", "CPU us each", more=False),
        Column("database_cpu_us", "and of PostgreSQL", more=False),
        Column("p50_ms", "alone p50 ms", ".2f", more=False),
        Column("p99_ms", "alone p99 ms", ".2f", more=False),
    ),
    "w2": (
        Column("sagas_per_s", "instances/s"),
        Column("cpu_us", "CPU us each", more=False),
        Column("database_cpu_us", "and of PostgreSQL", more=False),
    ),
    "w3": (
        Column("parked", "parked"),
        Column("started_s", "started in s", ".2f", more=False),
        Column("started_per_s", "started/s"),
        Column("ended_s", "ended s after the first signal", ".2f", more=False),
        Column("ended_per_s", "ended/s"),
        Column("memory_mb", "memory MB", more=False),
    ),
    "w4": (
        Column("accepted_per_s", "accepted/s"),
        Column("refused", "refused", more=False),
        Column("p50_ms", "p50 ms", ".1f", more=False),
        Column("p99_ms", "p99 ms", ".1f", more=False),
        Column("ended_after_s", "ended after s", ".2f", more=False),
    ),
}
HEADINGS = {
    "w1": "W1: three steps, 64 at a time, and one alone",
    "w2": "W2: the third step refuses, two are undone",
    "w3": "W3: parked on an event, then all signalled",
    "w4": "W4: starts over HTTP, until all have ended",
    "w5": "W5: W1 while the database grows",
    "w6": "W6: W1 on several nodes over one PostgreSQL",
}
_RATIOS = (
    ("w1", COLUMNS["w1"][0], "W1"),
    ("w1", COLUMNS["w1"][3], "W1 alone p50"),
    ("w2", COLUMNS["w2"][0], "W2"),
    ("w3", COLUMNS["w3"][2], "W3 started/s"),
    ("w3", COLUMNS["w3"][4], "W3 ended/s"),
    ("w4", COLUMNS["w4"][0], "W4 accepted"),
)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def everything(results: Results) -> str:
    """A table for each workload that was measured, under its heading."""
    parts = [_by_system(results, workload) for workload in COLUMNS]
    parts += [_growth(results), _nodes(results)]
    return "\n\n".join(part for part in parts if part)


def _by_system(results: Results, workload: str) -> str:
    columns = [
        column
        for column in COLUMNS[workload]
        if any(results.of(workload, system, column.metric) is not None for system in TITLES)
    ]
    rows = []
    for system, title in TITLES.items():
        values = [results.of(workload, system, column.metric) for column in columns]
        if any(value is not None for value in values):
            rows.append([title, *(_told(value, column.form) for value, column in zip(values, columns, strict=True))])
    if not rows:
        return ""
    return _under(workload, table(["", *(column.title for column in columns)], rows))


def _growth(results: Results) -> str:
    """Cost by the number of orchestrations there, for each system and kind of growth."""
    rows = []
    for system in OURS:
        points = [figure.at for figure in results.select("w5", system, "cpu_us")]
        for at in points:
            cpu = results.of("w5", system, "cpu_us", at)
            database = results.of("w5", system, "database_cpu_us", at)
            wall = results.of("w5", system, "wall_us", at)
            rows.append([TITLES[system], readable(at), _told(cpu), _told(database), _told(wall)])
    header = ["", "in the database", "CPU us each", "and of PostgreSQL", "wall us each"]
    return _under("w5", table(header, rows)) if rows else ""


def _nodes(results: Results) -> str:
    figures = results.select("w6", OURS[0], "sagas_per_s")
    if not figures:
        return ""
    one = figures[0].median
    rows = [[f.at.removeprefix("nodes "), _told(f.median), f"{f.median / one:.2f} x"] for f in figures]
    text = table(["nodes", "instances/s", "of one node"], rows)
    taken, recovered, lease = (results.of("w6", OURS[0], metric) for metric in ("takeover_s", "recovered_s", "lease_s"))
    if taken is not None:
        text += (
            f"\n\nA node of two was killed with SIGKILL under load: the other one held everything after {taken:.1f} s, and all "
            f"that had been under way had ended after {_told(recovered, '.1f')} s (a lease is {_told(lease, '.0f')} s)."
        )
    return _under("w6", text)


def ratios(results: Results) -> str:
    """How many times better Retrace does than each peer; empty where there is no peer."""
    rows = []
    for peer in PEERS:
        cells = [
            " / ".join(
                _told(times(results, workload, column, ours, peer), ".1f") or "-" for ours in (EVERY_CORE, *OURS)
            )
            for workload, column, _ in _RATIOS
        ]
        if any(character.isdigit() for cell in cells for character in cell):
            rows.append([TITLES[peer], *cells])
    return (
        table(["PostgreSQL, a process per core / one process / SQLite", *(title for _, _, title in _RATIOS)], rows)
        if rows
        else ""
    )


def times(results: Results, workload: str, column: Column, ours: str, theirs: str) -> float | None:
    """How many times better `ours` is; None where either was not measured."""
    mine, other = (results.of(workload, system, column.metric) for system in (ours, theirs))
    if not mine or not other:
        return None
    return mine / other if column.more else other / mine


def readable(at: str) -> str:
    """``finished 10000`` as people write it."""
    what, _, number = at.rpartition(" ")
    return f"{int(number):,} {what}"


def _told(value: float | None, form: str = ",.0f") -> str:
    return "" if value is None else format(value, form)


def _under(workload: str, text: str) -> str:
    return f"### {HEADINGS[workload]}\n\n{text}"
