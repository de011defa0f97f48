"""``make bench`` and ``make bench-peers``: measures, tells, and writes docs/performance.md.

A complete measurement (every workload, every system, full size) is written up; a part of one only when ``--page`` says so,
for a page must not mix what was measured on different days without saying so.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from importlib.util import find_spec
from pathlib import Path

import msgspec

from tests.benchmarks import page
from tests.benchmarks.campaign import Campaign
from tests.benchmarks.databases import Server, postgres
from tests.benchmarks.figures import Results
from tests.benchmarks.http_load import MISSING, wrk_is_here
from tests.benchmarks.plots import draw
from tests.benchmarks.systems import Retrace, RetraceOnEveryCore, System
from tests.benchmarks.tables import everything, ratios
from tests.benchmarks.targets import told
from tests.benchmarks.workloads import ALONE, QUICK, SIDE_BY_SIDE, Sizes

DATABASES = ("sqlite", "postgresql")
PEERS = ("restate", "dbos")


def arguments(given: list[str]) -> argparse.Namespace:
    """The command line, with everything that was not chosen filled in; `complete`: nothing was left out."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="Measures Retrace.")
    parser.add_argument("--peers", action="store_true", help="W1 to W4 beside DBOS and Restate, in one run")
    parser.add_argument("--peer", choices=PEERS, action="append", help="only this peer; may be repeated")
    parser.add_argument("--workload", choices=ALONE, action="append", help="only this one; may be repeated")
    parser.add_argument("--database", choices=DATABASES, action="append", help="only this one; may be repeated")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each; the median is told (3)")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it works")
    parser.add_argument("--sagas", type=int, help="of W1 and W2")
    parser.add_argument("--parked", type=int, help="of W3")
    parser.add_argument("--quiet-wait", type=float, default=60.0, help="seconds, in all, to wait for quiet (60)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results there")
    parser.add_argument("--page", action=argparse.BooleanOptionalAction, help="write docs/performance.md; see above")
    parser.add_argument("--render", action="store_true", help="measure nothing, write the page from the kept results")
    chosen = parser.parse_args(given)
    everything_of = SIDE_BY_SIDE if chosen.peers else ALONE
    parts = (chosen.workload, chosen.database, chosen.peer, chosen.sagas, chosen.parked)
    chosen.complete = not any(parts) and not chosen.quick
    chosen.workload = [w for w in everything_of if w in (chosen.workload or everything_of)]
    chosen.database = chosen.database or list(DATABASES)
    chosen.peer = (chosen.peer or list(PEERS)) if chosen.peers else []
    if chosen.page is None:
        chosen.page = chosen.complete
    return chosen


def sizes_of(chosen: argparse.Namespace) -> Sizes:
    sizes = QUICK if chosen.quick else Sizes()
    more = {name: getattr(chosen, name) for name in ("sagas", "parked") if getattr(chosen, name)}
    return msgspec.structs.replace(sizes, **more)


def systems(chosen: argparse.Namespace, server: Server | None) -> list[System]:
    """Those that were chosen, in the order in which they run."""
    found: list[System] = [Retrace(kind, server if kind == "postgresql" else None) for kind in chosen.database]
    if "postgresql" in chosen.database:
        found.append(RetraceOnEveryCore(server))
    if "restate" in chosen.peer:
        from tests.benchmarks.peers.restate import Restate

        found += [Restate("typescript"), Restate("python")]
    if "dbos" in chosen.peer:
        from tests.benchmarks.peers.dbos import Dbos

        assert server is not None, "DBOS is measured on the same PostgreSQL"
        found += [Dbos("async", server), Dbos("threads", server)]
    return found


def check(chosen: argparse.Namespace) -> None:
    """Leave with advice when something is missing that would only be missed later. Installs the peers."""
    if "w4" in chosen.workload and not chosen.render and not wrk_is_here():
        sys.exit(MISSING)
    if (chosen.page or chosen.render) and find_spec("matplotlib") is None:
        sys.exit("The plots need matplotlib: make bench installs it; or measure with --no-page.")
    if chosen.peer and not chosen.render:
        from tests.benchmarks.peers.installing import InstallationError, install

        try:
            install(chosen.peer)
        except InstallationError as error:
            sys.exit(str(error))


def measured(chosen: argparse.Namespace, command: str) -> Results:
    with contextlib.ExitStack() as stack:
        needed = "postgresql" in chosen.database or "dbos" in chosen.peer
        server = stack.enter_context(postgres()) if needed else None
        campaign = Campaign(systems(chosen, server), sizes_of(chosen), chosen.quiet_wait, command)
        return campaign.carry_out(chosen.workload, chosen.rounds)


def write_page() -> None:
    """docs/performance.md and its plots, from what is kept."""
    alone, beside = page.kept(page.ALONE), page.kept(page.BESIDE)
    plots = draw(alone, beside, page.FOLDER)
    text = page.PAGE.read_text(encoding="utf-8")
    page.PAGE.write_text(page.written(text, page.region(alone, beside, plots)), encoding="utf-8")


def main() -> None:
    chosen = arguments(sys.argv[1:])
    check(chosen)
    if chosen.render:
        write_page()
        return
    command = " ".join(["make", "bench-peers"] if chosen.peers else ["make", "bench"])
    if not chosen.complete:
        command = " ".join(["python", "-m", "tests.benchmarks", *sys.argv[1:]])
    results = measured(chosen, command)
    print(f"\n{everything(results)}\n\n{ratios(results)}\n")
    print(told(None, results) if chosen.peers else told(results, None))
    if chosen.json:
        chosen.json.write_bytes(msgspec.json.encode(results))
    if chosen.page:
        page.keep(results, page.BESIDE if chosen.peers else page.ALONE)
        write_page()


if __name__ == "__main__":
    main()
