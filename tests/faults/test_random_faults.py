"""Stories drawn from seeds: ``make faults SEED=17 ROUNDS=20`` lives through seeds 17 to 36. A failure names its seed."""

from __future__ import annotations

import os

import pytest

from tests.faults.conftest import LIMIT_S
from tests.faults.proxy import PostgresProxy
from tests.faults.site import site, sound
from tests.faults.weather import Weather, story_of

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(LIMIT_S)]
SEED = int(os.environ.get("RETRACE_TEST_FAULTS_SEED", "1"))
ROUNDS = int(os.environ.get("RETRACE_TEST_FAULTS_ROUNDS", "1"))


@pytest.mark.parametrize("seed", range(SEED, SEED + ROUNDS))
async def test_a_story_ends_well(tmp_path, crashable, seed):
    story = story_of(seed)
    try:
        if story.database == "sqlite":
            async with site(tmp_path, f"sqlite:///{tmp_path}/retrace.db", seed=seed) as found:
                async with found.under_load(story.sagas):
                    await Weather(found).follow(story.faults)
                await sound(found, story.sagas)
            return
        with crashable.database() as database:
            async with (
                PostgresProxy(database).serving() as proxy,
                site(tmp_path, database, seen_at=proxy.url, nodes=story.nodes, seed=seed) as found,
            ):
                async with found.under_load(story.sagas):
                    await Weather(found, crashable, proxy).follow(story.faults)
                await sound(found, story.sagas)
    except BaseException as error:
        error.add_note(f"repeat with: make faults SEED={seed} ROUNDS=1\n{story}")
        raise


def test_a_seed_always_tells_the_same_story():
    assert story_of(5) == story_of(5)
    assert len({story_of(seed).faults for seed in range(20)}) == 20
