"""People in troubled lives: tasks in branches side by side, beside workers and streams, while nodes die and storage fails."""

from __future__ import annotations

from tests.simulation.checker import complaints
from tests.simulation.world import Trouble, run_seed


def test_one_answer_of_each_task_is_taken_and_none_is_lost() -> None:
    trouble = Trouble(people=True, commands=6, events=10)
    worlds = {seed: run_seed(seed, trouble) for seed in range(16)}
    assert not {seed: found for seed, world in worlds.items() if (found := complaints(world))}
    assert sum(len(world.answers.taken) for world in worlds.values()) > 15, "hardly anybody was asked"


def test_forks_migrations_and_the_archive_beside_people() -> None:
    trouble = Trouble(people=True, changes=6, retention_s=20, workers=2)
    assert not {seed: found for seed in range(6) if (found := complaints(run_seed(seed, trouble)))}


def test_one_seed_gives_one_history() -> None:
    trouble = Trouble(people=True, workers=2)
    assert run_seed(3, trouble).fingerprint == run_seed(3, trouble).fingerprint
