"""Whole lives of a service, one per seed: whatever went wrong in one, what was promised holds at its end.

``make simulate SEEDS=10000`` looks further than CI does. A seed that fails is a bug found: it goes into `FOUND` with a word
on what it was. What a seed means changes with this folder, so each bug also gets a test of its own where it belongs.
"""

from __future__ import annotations

import asyncio
import os

import pytest

from tests.simulation.checker import complaints
from tests.simulation.conftest import SIMULATED
from tests.simulation.loop import RunawayError, StuckError, simulate
from tests.simulation.participants import Moods
from tests.simulation.world import Trouble, run_seed

SEEDS = int(os.environ.get("RETRACE_SIMULATE_SEEDS", "500"))
FOUND = [
    326,  # terminated while suspended: a result that had come meanwhile was forgotten
    359,  # the same without a compensation
    2596,  # branches that were given up when enough had ended: a worker's report that had come meanwhile was lost
]
BATCH = 20


@pytest.mark.parametrize("first", range(0, SEEDS, BATCH))
def test_what_was_promised_holds_at_the_end(first, record_property):
    lived_s, wrong = 0.0, {}
    for seed in range(first, min(first + BATCH, SEEDS)):
        world = run_seed(seed)
        lived_s += world.loop.time()
        if found := complaints(world):
            wrong[seed] = found
    record_property(SIMULATED, lived_s)
    assert not wrong


@pytest.mark.parametrize("seed", FOUND)
def test_a_bug_that_was_found_stays_away(seed):
    assert not complaints(run_seed(seed))


@pytest.mark.parametrize("seed", [3, 8])
def test_one_seed_gives_one_history(seed):
    assert run_seed(seed).fingerprint == run_seed(seed).fingerprint


def test_seeds_differ():
    assert len({run_seed(seed).fingerprint for seed in range(5)}) == 5


def test_rough_weather():
    trouble = Trouble(storage=0.03, crashes=6, orchestrations=10, commands=14, events=15, live_orchestrations=2)
    moods = Moods(refuses=0.15, loses_request=0.1, loses_answer=0.1, slow=0.2, undo_refuses=0.1)
    assert not {seed: found for seed in range(40) if (found := complaints(run_seed(seed, trouble, moods)))}


def test_a_storage_that_often_fails_only_costs_time():
    trouble = Trouble(storage=0.15, crashes=0)
    assert not {seed: found for seed in range(10) if (found := complaints(run_seed(seed, trouble)))}


def test_a_node_that_often_dies_only_costs_time():
    trouble = Trouble(storage=0.0, crashes=50, crash_within=200)
    worlds = [run_seed(seed, trouble) for seed in range(10)]
    assert not [found for world in worlds if (found := complaints(world))]
    assert sum(world.restarts for world in worlds) > 60, "they hardly died"


def test_forks_and_migrations_beside_all_that():
    found, changes = {}, 0
    for seed in range(40):
        world = run_seed(seed, Trouble(changes=12, orchestrations=5))
        changes += world.changes
        if wrong := complaints(world):
            found[seed] = wrong
    assert not found
    assert changes > 60, "hardly any was possible"


def test_a_wait_for_nobody_is_noticed():
    async def main(loop):
        await loop.create_future()

    with pytest.raises(StuckError):
        simulate(1, main)


def test_spinning_is_noticed():
    async def main(loop):
        while loop.time() < 1:  # noqa: ASYNC110 - that is the fault
            await asyncio.sleep(0)

    with pytest.raises(RunawayError):
        simulate(1, main, most_steps=1000)


def test_what_has_ended_is_archived_beside_all_that():
    found = {}
    archived = 0
    for seed in range(30, 60):
        world = run_seed(seed, Trouble(retention_s=20, orchestrations=8))
        archived += len(world.data.archive)
        if wrong := complaints(world):
            found[seed] = wrong
    assert not found
    assert archived > 100
