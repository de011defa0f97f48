"""Results as plots, PNG and SVG: labels beside what they name, scales that say what they are, colours that all can tell apart.

Rates and times that span orders of magnitude are dots on a logarithmic scale; costs and nodes are on scales that begin at
zero. The same results give the same files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.benchmarks.figures import Results
from tests.benchmarks.tables import OURS, TITLES

_INK, _FAINT = "#1a1a1a", "#d0d0d0"
_COLOURS = {  # Okabe and Ito's, told apart by everyone
    "retrace-postgresql": "#0072B2",
    "retrace-every-core": "#004D7A",
    "retrace-sqlite": "#56B4E9",
    "restate-typescript": "#D55E00",
    "restate-python": "#E69F00",
    "dbos": "#666666",
    "dbos-threads": "#999999",
}
_PANELS = (
    ("w1", "sagas_per_s", "W1: three steps, instances/s", "more is better", ",.0f"),
    ("w2", "sagas_per_s", "W2: two undone, instances/s", "more is better", ",.0f"),
    ("w4", "accepted_per_s", "W4: starts over HTTP accepted/s", "more is better", ",.0f"),
    ("w1", "p50_ms", "W1: one alone, p50 in ms", "less is better", ",.1f"),
    ("w3", "started_per_s", "W3: parked on an event/s", "more is better", ",.0f"),
    ("w3", "ended_per_s", "W3: signalled and ended/s", "more is better", ",.0f"),
)
_GROWTH = {"finished": ("o-", _COLOURS["retrace-postgresql"]), "parked": ("s--", _COLOURS["restate-typescript"])}
"""Kind of growth -> how its line looks."""
_STYLE = {
    "font.size": 10,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.edgecolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "retrace",
}


def draw(alone: Results | None, beside: Results | None, folder: Path) -> list[str]:
    """Write every plot for which there are results; their names without the ending. Needs matplotlib."""
    import matplotlib as mpl

    mpl.use("agg")
    drawn: list[str] = []
    with mpl.rc_context(_STYLE):
        if beside is not None:
            drawn.append(_saved(_peers(beside), "peers", folder))
        if alone is not None and any(alone.select("w5", system, "cpu_us") for system in OURS):
            drawn.append(_saved(_growth(alone), "growth", folder))
        if alone is not None and alone.select("w6", OURS[0], "sagas_per_s"):
            drawn.append(_saved(_nodes(alone), "nodes", folder))
    return drawn


def _peers(results: Results) -> Any:
    """A panel for each number that is compared: one row of dots, one dot for each system."""
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(2, 3, figsize=(13, 6), sharey=True, layout="constrained")
    measured = {each.system for each in results.figures}
    systems = [system for system in reversed(TITLES) if system in measured]
    for panel, (workload, metric, title, better, form) in zip(panels.flat, _PANELS, strict=True):
        values = {system: results.of(workload, system, metric) for system in systems}
        found = [value for value in values.values() if value is not None]
        panel.set_title(f"{title}\n({better}, logarithmic)", fontsize=10, loc="left")
        panel.set_yticks(range(len(systems)), [TITLES[system] for system in systems])
        panel.set_ylim(-0.6, len(systems) - 0.4)
        if not found:
            continue
        panel.set_xscale("log")
        panel.set_xlim(min(found) / 2, max(found) * 4)
        panel.xaxis.set_major_formatter(lambda tick, _: f"{tick:,.10g}")
        panel.xaxis.set_minor_formatter("")
        for row, system in enumerate(systems):
            value = values[system]
            if value is None:
                panel.annotate("not measured", (min(found) / 2, row), (6, 0), textcoords="offset points", va="center")
                continue
            panel.hlines(row, min(found) / 2, value, color=_FAINT, linewidth=2, zorder=1)
            panel.plot(value, row, "o", color=_COLOURS[system], markersize=9, zorder=2)
            panel.annotate(format(value, form), (value, row), (9, 0), textcoords="offset points", va="center")
    return figure


def _growth(results: Results) -> Any:
    """Cost over the number of orchestrations that are there already; lines are named at their ends."""
    from matplotlib import pyplot as plt

    systems = [system for system in OURS if results.select("w5", system, "cpu_us")]
    figure, panels = plt.subplots(
        1, len(systems), figsize=(5.5 * len(systems), 4), sharey=True, squeeze=False, layout="constrained"
    )
    highest = 0.0
    for panel, system in zip(panels.flat, systems, strict=True):
        lines = {what: line for what in _GROWTH if (line := _costs(results, system, what))}
        counts = sorted({count for line in lines.values() for count, _ in line})
        upper = max(lines, key=lambda what: lines[what][-1][1])
        for what, line in lines.items():
            panel.plot(*zip(*line, strict=True), _GROWTH[what][0], color=_GROWTH[what][1], label=what)
            text, shift = f"{what}, {line[-1][1]:,.0f} us", 10 if what == upper else -10
            panel.annotate(text, line[-1], (8, shift), textcoords="offset points", va="center")
            highest = max(highest, *(cost for _, cost in line))
        panel.set_xscale("log")
        panel.set_xlim(counts[0] / 1.5, counts[-1] * 8)
        panel.set_xticks(counts, [f"{count:,}" for count in counts])
        panel.set_xticks([], minor=True)
        panel.set_title(TITLES[system], fontsize=10, loc="left")
        panel.set_xlabel("orchestrations in the database (logarithmic)")
    panels.flat[0].set_ylim(0, highest * 1.25)
    panels.flat[0].set_ylabel("processor time of one instance, us\n(node and database)")
    return figure


def _costs(results: Results, system: str, what: str) -> list[tuple[int, float]]:
    """(how many there are, what one more costs) for one kind of growth."""
    points = [f for f in results.select("w5", system, "cpu_us") if f.at.startswith(what)]
    theirs = [results.of("w5", system, "database_cpu_us", f.at) or 0.0 for f in points]
    return [(int(f.at.rpartition(" ")[2]), f.median + more) for f, more in zip(points, theirs, strict=True)]


def _nodes(results: Results) -> Any:
    """Instances a second by the number of nodes, from zero."""
    from matplotlib import pyplot as plt

    points = results.select("w6", OURS[0], "sagas_per_s")
    figure, panel = plt.subplots(figsize=(5.5, 3.5), layout="constrained")
    names = [f.at.removeprefix("nodes ") for f in points]
    bars = panel.bar(names, [f.median for f in points], color=_COLOURS[OURS[0]], width=0.5)
    panel.bar_label(bars, [f"{f.median:,.0f}\n{f.median / points[0].median:.2f} x" for f in points], padding=3)
    panel.set_ylim(0, max(f.median for f in points) * 1.25)
    panel.set_xlabel("nodes on one PostgreSQL, all on this machine")
    panel.set_ylabel("instances/s")
    return figure


def _saved(figure: Any, name: str, folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / f"{name}.png", dpi=150, facecolor="white", metadata={"Software": None})
    figure.savefig(folder / f"{name}.svg", facecolor="white", metadata={"Date": None})
    return name
