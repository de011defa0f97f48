"""Rows of registers are found again by a hash that never changes."""

from __future__ import annotations

from application.registers import register_partition


def test_it_is_the_same_for_ever():
    assert [register_partition("shop/order", each, partitions=16) for each in ("1", "2", "ü")] == [12, 9, 15]


def test_parts_do_not_run_together():
    pairs = [("a", "bc"), ("ab", "c"), ("abc", ""), ("", "abc")]
    assert len({register_partition(*pair, partitions=2**60) for pair in pairs}) == len(pairs)


def test_keys_spread_over_the_partitions():
    used = [register_partition("caller", str(each), partitions=16) for each in range(1600)]
    assert set(used) == set(range(16))
    assert max(used.count(each) for each in range(16)) < 160
