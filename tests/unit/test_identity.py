"""Fresh ids fall where they must, in rows, and all partitions get their share."""

from __future__ import annotations

import random
from collections import Counter
from itertools import groupby

import pytest

from application.identity import Identity

PARTITIONS = 16


class Seeded:
    def __init__(self):
        self._random = random.Random(1)

    def random_bytes(self, count):
        return self._random.randbytes(count)


@pytest.fixture
def identity():
    return Identity(bytes(32), PARTITIONS, Seeded())


def test_fresh_ids_are_all_different_and_well_formed(identity):
    ids = [identity.draw_in(range(PARTITIONS)) for _ in range(1000)] + [identity.draw(3) for _ in range(50)]
    assert len(set(ids)) == 1050
    assert all(map(identity.well_formed, ids))


def test_a_child_is_in_the_partition_of_its_parent(identity):
    for partition in (0, 7, PARTITIONS - 1) * 20:
        assert identity.locate(identity.draw(partition))[0] == partition


def test_fresh_ids_are_in_rows_and_no_partition_is_preferred(identity):
    places = [identity.locate(identity.draw_in(range(PARTITIONS)))[0] for _ in range(16 * 16 * 4)]
    rows = [len(list(row)) for _, row in groupby(places)]
    assert sum(rows) / len(rows) > 8
    assert max(Counter(places).values()) - min(Counter(places).values()) <= 48, "three rows"


@pytest.mark.parametrize("ours", [{5}, {1, 2, 3}])
def test_only_partitions_that_are_ours_are_drawn_from(identity, ours):
    assert {identity.locate(identity.draw_in(ours))[0] for _ in range(100)} == ours


def test_a_partition_that_is_let_go_is_drawn_from_no_more(identity):
    first = identity.locate(identity.draw_in(range(PARTITIONS)))[0]
    left = set(range(PARTITIONS)) - {first}
    assert first not in {identity.locate(identity.draw_in(left))[0] for _ in range(100)}


def test_one_of_very_many_partitions_is_found_too():
    identity = Identity(bytes(32), 500, Seeded())
    assert {identity.locate(identity.draw_in([321]))[0] for _ in range(3)} == {321}
