"""Whatever goes wrong in a simulated life, each projection is what its fold makes of the whole log, no event twice or never."""

from __future__ import annotations

import os

import pytest

from tests.simulation.checker import complaints
from tests.simulation.folded import stored_of
from tests.simulation.world import Simulation, Trouble, run_seed
from tests.support.projected import SAMPLES, Inline, expected, folds, plain

SEEDS = int(os.environ.get("RETRACE_SIMULATE_SEEDS", "500")) // 10
BATCH = 10


def wrong_tables(world: Simulation) -> list[str]:
    """Tables that are not what they should be, and what else does not hold."""
    stored = stored_of(world.data)
    found = complaints(world)
    for fold in folds():
        (build,) = [each for each in world.data.builds.values() if each.name == fold.name]
        table = plain(fold, world.data.tables[build.table].items())
        if table != expected(stored, fold):
            found.append(f"{fold.name} is not what the log says")
    return found


@pytest.mark.parametrize("first", range(0, SEEDS, BATCH))
def test_every_event_counts_exactly_once(first):
    trouble = Trouble(folds=Inline(SAMPLES))
    assert not {seed: wrong for seed in range(first, first + BATCH) if (wrong := wrong_tables(run_seed(seed, trouble)))}


@pytest.mark.parametrize(
    "trouble",
    [
        Trouble(storage=0.1, crashes=3, folds=Inline(SAMPLES)),
        Trouble(storage=0.0, crashes=40, crash_within=200, folds=Inline(SAMPLES)),
        Trouble(storage=0.02, crashes=8, nodes=3, ghosts=0.8, pauses=0.6, folds=Inline(SAMPLES)),
        Trouble(retention_s=20, orchestrations=8, folds=Inline(SAMPLES)),
        Trouble(changes=8, folds=Inline(SAMPLES)),
    ],
    ids=[
        "the database fails",
        "nodes die",
        "owners change and linger",
        "histories are archived",
        "forks and migrations",
    ],
)
def test_in_rough_weather_too(trouble):
    assert not {seed: wrong for seed in range(12) if (wrong := wrong_tables(run_seed(seed, trouble)))}
