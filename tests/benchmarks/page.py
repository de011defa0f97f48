"""Writes what was measured into docs/performance.md, between its markers, and beside it into docs/performance/.

The two commands leave their results as JSON there; page and plots are always made from both, so that either can be run
again without losing the other's. What people wrote around the markers stays.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from tests.benchmarks.figures import Results
from tests.benchmarks.processes import ROOT
from tests.benchmarks.tables import TITLES, everything, ratios, table
from tests.benchmarks.targets import told

PAGE = ROOT / "docs" / "performance.md"
FOLDER = ROOT / "docs" / "performance"
ALONE, BESIDE = "retrace.json", "beside-peers.json"
BEGIN, END = "<!-- results -->", "<!-- /results -->"


def keep(results: Results, name: str, folder: Path = FOLDER) -> None:
    """Store results as JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")


def kept(name: str, folder: Path = FOLDER) -> Results | None:
    """Results that were stored; None where there are none."""
    file = folder / name
    return msgspec.json.decode(file.read_bytes(), type=Results) if file.exists() else None


def written(text: str, region: str) -> str:
    """The page with this region. Raises ValueError when its markers are not there, in this order."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page needs the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{region.strip()}\n{END}{after}"


def region(alone: Results | None, beside: Results | None, plots: list[str]) -> str:
    """The text between the markers. `plots`: names of the plots that exist, without their ending."""
    parts = ["## Targets", told(alone, beside)]
    if beside is not None:
        parts += ["## Beside its peers", _ran_on(beside), _plot(plots, "peers"), everything(beside)]
        parts += ["### How many times better", ratios(beside), _settings(beside)]
    if alone is not None:
        parts += ["## Retrace alone", _ran_on(alone), everything(alone), _plot(plots, "growth"), _plot(plots, "nodes")]
    return "\n\n".join(part for part in parts if part)


def _ran_on(results: Results) -> str:
    machine = "; ".join(results.machine.values())
    lines = [f"`{results.command}`, {results.began_at}, {results.took_s / 60:.0f} minutes. {machine}."]
    lines += [f"No values: {failure.splitlines()[0]}." for failure in results.failures]
    return "\n\n".join(lines)


def _settings(results: Results) -> str:
    rows = [[TITLES.get(name, name), about, results.sizes.get(name, "")] for name, about in results.systems.items()]
    return "### Versions and settings\n\n" + table(["", "what", "size of a run"], rows)


def _plot(plots: list[str], name: str) -> str:
    words = {
        "peers": "Throughput, time of one alone, parked ones and accepted starts of Retrace, Restate and DBOS",
        "growth": "Cost of one instance by the number of finished and parked ones in the database",
        "nodes": "Instances a second by the number of nodes",
    }
    return f"![{words[name]}](performance/{name}.svg)" if name in plots else ""
