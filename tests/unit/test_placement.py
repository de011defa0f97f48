"""Placement: every node comes to the same result by itself, and it is fair."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from application.leases import Holding, Member, NodeIdentity, Overview
from application.placement import place, quotas

NOW = datetime(2030, 1, 1, tzinfo=UTC)
NAMES = ["a", "b", "c", "d", "e"]


def member(name: str, *, left_s: float = 5.0, eligible: bool = True) -> Member:
    return Member(NodeIdentity(name, "host", 1, "", "0", NOW), eligible, left_s)


def holding(partition: int, owner: str | None = None, left_s: float = 5.0) -> Holding:
    return Holding(partition, 1, owner, left_s if owner else 0.0, 0, 0)


def test_quotas_differ_by_one_at_most():
    assert quotas(["c", "a", "b"], 16) == {"a": 6, "b": 5, "c": 5}
    assert quotas(["a"], 16) == {"a": 16}
    assert quotas([], 16) == {}
    assert sum(quotas(NAMES, 3).values()) == 3


def test_one_node_takes_everything():
    overview = Overview(NOW, [member("a")], [holding(p) for p in range(16)])
    assert [each.partition for each in place("a", overview, ()).claim] == list(range(16))


def test_a_second_node_gets_half_once_the_first_has_let_go():
    overview = Overview(NOW, [member("a"), member("b")], [holding(p, "a") for p in range(16)])
    assert place("a", overview, ()).release == list(range(8, 16))
    assert place("b", overview, ()).claim == []


def test_a_lease_that_is_over_and_a_node_that_is_gone_make_room():
    holdings = [holding(0, "a", -1.0), holding(1, "gone"), holding(2, "b")]
    overview = Overview(NOW, [member("a", left_s=-1.0), member("b"), member("gone")], holdings)
    assert [each.partition for each in place("b", overview, {"gone"}).claim] == [0, 1]


def test_who_may_not_own_lets_everything_go():
    overview = Overview(NOW, [member("a", eligible=False), member("b")], [holding(0, "a"), holding(1)])
    assert place("a", overview, ()) == msgspec.structs.replace(place("a", overview, ()), claim=[], release=[0])
    assert [each.partition for each in place("b", overview, ()).claim] == [1]


overviews = st.builds(
    lambda members, owners, gone: (
        Overview(
            NOW,
            [member(name, left_s=left_s, eligible=eligible) for name, (left_s, eligible) in members.items()],
            [holding(p, owner, left_s) for p, (owner, left_s) in enumerate(owners)],
        ),
        gone,
    ),
    st.dictionaries(st.sampled_from(NAMES), st.tuples(st.sampled_from([-1.0, 5.0]), st.booleans()), min_size=1),
    st.lists(st.tuples(st.sampled_from([None, *NAMES]), st.sampled_from([-1.0, 5.0])), min_size=1, max_size=16),
    st.sets(st.sampled_from(NAMES), max_size=2),
)


@given(overviews)
def test_turn_by_turn_the_partitions_end_evenly_spread(given_):
    overview, gone = given_
    alive = [m.identity.node for m in overview.members if m.alive and m.eligible and m.identity.node not in gone]
    for _ in range(40):
        for name in alive:
            todo = place(name, overview, gone)
            owners: dict[int, str | None] = {each.partition: name for each in todo.claim}
            owners |= dict.fromkeys(todo.release)
            holdings = [
                holding(each.partition, owners[each.partition]) if each.partition in owners else each
                for each in overview.holdings
            ]
            overview = msgspec.structs.replace(overview, holdings=holdings)
    if not alive:
        return
    wanted = quotas(alive, len(overview.holdings))
    owned = {name: sum(each.owner == name for each in overview.holdings) for name in alive}
    strangers = [
        each for each in overview.holdings if each.owner is not None and each.owner not in alive and each.left_s > 0
    ]
    lasting = [each for each in strangers if each.owner not in gone]
    if not lasting:  # the lease of a node that is not counted any more has to end first
        assert owned == wanted
    for name in alive:
        todo = place(name, overview, gone)
        assert lasting or (not todo.claim and not todo.release), "it has come to rest"


@given(overviews)
def test_nobody_takes_what_another_living_node_owns(given_):
    overview, gone = given_
    for each in overview.members:
        for wanted in place(each.identity.node, overview, gone).claim:
            assert wanted.owner is None or wanted.left_s <= 0 or wanted.owner in gone
