"""``parallel``: how many branches at once, how many are enough, how many may fail, and what becomes of the others."""

from collections import Counter

import pytest

from domain import commands as c
from domain import events as e
from domain.forking import folded, not_from
from domain.prefix import packed
from tests.support.flows import SPEC, echo, fault_of, never, ran, runs_of
from tests.support.forks import another, boundaries, known_to
from tests.support.forks import fork as forked_at
from tests.support.pure_world import World, done, doubt, plan_of, refused

UNDONE = {"call": "f", "with": {"i": "${ $item }"}, "compensate": {"call": "undo", "with": {"i": "${ .i }"}}}


def each(parallel, *do, **more):
    body = [{"c": UNDONE}] if not do else list(do)
    return {"e": {"for": {"in": ".xs"}, "parallel": parallel, "do": body, **more}}


def fork(parallel, count=4, **more):
    branches = [{f"b{n}": {"call": "f", "with": {"i": n}}} for n in range(count)]
    return {"e": {"fork": {"branches": branches, **more}, "parallel": parallel}}


def items(count):
    return {"xs": list(range(count))}


def fails(*which, with_=refused):
    """Participants who refuse these items and do the others."""
    return lambda a: with_() if a.function == "f" and a.arguments["i"] in which else echo(a)


def reply(world, item, result):
    world.reply(next(a for a in world.flying if a.function == "f" and a.arguments["i"] == item), result)


def in_hand(world):
    return [a.arguments["i"] for a in world.flying]


def undone(world):
    return [
        run.request.arguments["i"]
        for run in world.root.runs.values()
        if run.request and run.pointer.endswith("compensate")
    ]


def undo_all(world):
    while undos := [a for a in world.flying if a.function == "undo"]:
        world.reply(undos[0], done())


# A limit ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", [each({}), fork({})])
def test_without_a_limit_all_are_in_progress_at_once(task):
    assert in_hand(ran([task], items(4), never)) == [0, 1, 2, 3]


@pytest.mark.parametrize("task", [each({"limit": 2}), fork({"limit": 2})])
def test_with_a_limit_the_next_begins_when_one_has_ended(task):
    world = ran([task], items(4), never)
    assert in_hand(world) == [0, 1]
    reply(world, 1, done("one"))
    assert in_hand(world) == [0, 2]
    reply(world, 0, done("zero"))
    reply(world, 3, done("three"))
    assert (in_hand(world), world.root.status) == ([2], "running")
    reply(world, 2, done("two"))
    assert world.root.output == ["zero", "one", "two", "three"]


def test_each_turn_has_its_item_its_index_and_the_input_of_the_task():
    body = {"s": {"set": {"x": "${ $x }", "n": "${ $n }", "all": "${ .xs }"}}}
    task = {"e": {"for": {"in": ".xs", "each": "x", "at": "n"}, "parallel": {"limit": 1}, "do": [body]}}
    assert ran([task], {"xs": ["a", "b"]}).root.output == [
        {"x": "a", "n": 0, "all": ["a", "b"]},
        {"x": "b", "n": 1, "all": ["a", "b"]},
    ]


@pytest.mark.parametrize("parallel", [{}, {"limit": 3}, {"tolerate": "all"}])
def test_no_items_give_no_outputs(parallel):
    assert ran([each(parallel)], items(0)).root.output == []


def test_what_is_empty_gives_the_input_of_the_task():
    assert ran([{"e": {"for": {"in": ".xs"}, "parallel": {}, "do": []}}], items(2)).root.output == [items(2)] * 2


def test_outputs_may_be_transformed_as_a_whole():
    assert ran([each({}, output={"as": "map(.i) | add"})], items(4)).root.output == 6


@pytest.mark.parametrize("limit", [None, 1, 7])
def test_a_decision_begins_a_portion_and_leaves_the_rest_to_the_next(limit):
    parallel = {} if limit is None else {"limit": limit}
    sets = {"s": {"set": {"i": "${ $item }"}}}
    for task in (each(parallel), each(parallel, sets)):
        world = ran([task], items(50), limits={"portion": 5})
        assert world.root.output == [{"i": n} for n in range(50)]
        decisions: list[e.Event] = []
        begun: Counter[int] = Counter()
        for event in world.history["o_root"]:
            decisions += [event] if event.basis else []
            begun[len(decisions)] += isinstance(event, e.ScopeEntered)
        assert max(begun.values()) <= 5


@pytest.fixture
def put_off():
    """Five of fifty have begun, and the decision that begins more has not been made yet."""
    world = World(plan_of([each({})]), never, portion=5)
    world.plan_of["o_root"] = next(iter(world.plans.values()))
    world._decide("o_root", c.Start(at=world.now, seed=b"1", id="o_root", input=items(50)))
    assert (len(world.flying), world.root.next_due()) == (5, world.now)
    return world


def test_what_was_put_off_goes_on_after_a_suspension(put_off):
    put_off._decide("o_root", c.Suspend(at=put_off.now, seed=b"2"))
    assert put_off.root.next_due() is None
    put_off.do("o_root", c.Resume)
    assert len(put_off.flying) == 50


def test_what_was_put_off_never_begins_after_a_cancel(put_off):
    put_off.do("o_root", c.Cancel)
    assert (len(put_off.flying), put_off.root.next_due()) == (5, put_off.root.settle_at)
    for attempt in list(put_off.flying):
        put_off.reply(attempt, refused())
    assert put_off.root.status == "cancelled"


def test_what_was_put_off_never_begins_once_one_has_failed(put_off):
    put_off.reply(put_off.flying[0], refused())
    for attempt in list(put_off.flying):
        put_off.reply(attempt, refused())
    assert (put_off.root.status, len(runs_of(put_off.root, "c"))) == ("faulted", 5)


def test_more_branches_than_there_may_be():
    world = ran([each({})], items(11), limits={"max_branches": 10})
    assert (world.root.status, world.root.fault.type) == ("faulted", SPEC + "runtime")


# Failures -----------------------------------------------------------------------------------------------------------------


def test_a_failure_fails_the_task_as_soon_as_the_others_have_settled():
    world = ran([each({"limit": 3})], items(9), never)
    reply(world, 0, done({"i": 0}))
    reply(world, 1, refused(404))
    assert (in_hand(world), world.root.status) == ([2, 3], "running")
    reply(world, 2, done({"i": 2}))
    reply(world, 3, refused(500))
    undo_all(world)
    assert (world.root.status, world.root.fault.status) == ("compensated", 404)
    assert undone(world) == [2, 0]


def test_tolerated_failures_stand_in_the_output_at_their_place():
    world = ran([each({"limit": 2, "tolerate": 2})], items(5), fails(1, 3))
    error = {"type": "https://test.invalid/refused", "status": 409, "title": "Refused", "instance": "/do/0/e/do/0/c"}
    assert world.root.output == [{"i": 0}, {"error": error}, {"i": 2}, {"error": error}, {"i": 4}]


def test_one_failure_too_many_is_the_error_of_the_task():
    world = ran([each({"limit": 2, "tolerate": 1})], items(9), fails(1, 3))
    assert (world.root.status, world.root.fault.instance) == ("compensated", "/do/0/e/do/0/c")
    assert [run.status for run in runs_of(world.root, "c")][:4] == ["compensated", "failed", "compensated", "failed"]
    assert len(runs_of(world.root, "c")) <= 5


@pytest.mark.parametrize("limit", [1, 3, None])
def test_all_may_fail(limit):
    parallel = {"tolerate": "all"} | ({} if limit is None else {"limit": limit})
    world = ran([each(parallel)], items(4), fails(0, 1, 2, 3))
    assert world.root.status == "completed"
    assert [list(entry) for entry in world.root.output] == [["error"]] * 4


def test_what_a_tolerated_branch_had_done_is_undone_before_the_task_completes():
    body = [{"c": UNDONE}, {"d": {"call": "g", "with": {"i": "${ $item }"}}}]
    world = ran(
        [each({"tolerate": 1}, *body), {"after": {"call": "after"}}],
        items(3),
        lambda a: refused() if a.function == "g" and a.arguments["i"] == 1 else echo(a),
    )
    assert (world.root.status, undone(world)) == ("completed", [1])
    order = [run.name for run in world.root.runs.values()]
    assert order.index("compensate") < order.index("after")


def test_a_failure_is_settled_before_the_next_branch_takes_its_place():
    inner = {"f": {"fork": {"branches": [{"x": {"call": "f", "with": {"i": "${ $item }"}}}, {"y": {"call": "slow"}}]}}}
    world = ran([each({"limit": 1, "tolerate": 1}, inner)], items(2), never)
    world.reply(next(a for a in world.flying if a.function == "f"), refused())
    assert [a.function for a in world.flying] == ["slow"]
    world.reply(world.flying[0], done())
    assert [a.function for a in world.flying] == ["f", "slow"]


def test_a_branch_may_catch_its_own_error():
    body = {"t": {"try": [{"c": UNDONE}], "catch": {"do": [{"s": {"set": {"caught": True}}}]}}}
    assert ran([each({}, body)], items(2), fails(1)).root.output == [{"i": 0}, {"caught": True}]


def test_after_the_pivot_a_tolerated_failure_is_no_incident():
    pivot = {"p": {"call": "p", "pivot": True, "output": {"as": "${ $workflow.input }"}}}
    assert ran([pivot, each({"tolerate": 1})], items(2), fails(1)).root.status == "completed"
    world = ran([pivot, each({"tolerate": 1})], items(3), fails(1, 2))
    assert (world.root.status, [i.kind for i in world.root.open_incidents()]) == ("running", ["after_pivot"])


# Enough -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", [each({"completion": "first"}), fork({"completion": "first"}), fork({}, compete=True)])
def test_the_first_gives_the_output_and_the_others_are_cut_off(task):
    world = ran([task], items(4), never)
    reply(world, 2, done({"i": 2}))
    undo_all(world)
    assert (world.root.status, world.root.output) == ("completed", {"i": 2})
    effects = [run.effect for run in world.root.runs.values() if run.request and run.request.function == "f"]
    assert effects == ["uncertain", "uncertain", "completed", "uncertain"]


@pytest.mark.parametrize("limit", [1, 2, 3, None])
def test_so_many_as_are_wanted_in_the_order_of_the_items(limit):
    parallel = {"completion": {"at_least": 3}} | ({} if limit is None else {"limit": limit})
    world = ran([each(parallel)], items(9), fails(1))
    assert world.root.output == [{"i": 0}, {"i": 2}, {"i": 3}]


def test_the_losers_are_undone_and_the_winners_are_not():
    world = ran(
        [each({"completion": {"at_least": 2}, "limit": 3}), {"x": {"call": "f", "with": {"i": 99}}}], items(9), never
    )
    reply(world, 2, done({"i": 2}))
    reply(world, 1, done({"i": 1}))
    assert world.root.status == "running"
    undo_all(world)
    reply(world, 99, done("end"))
    assert world.root.status == "completed"
    statuses = {run.request.arguments["i"]: run.status for run in runs_of(world.root, "c")}
    assert statuses == {0: "compensated", 1: "completed", 2: "completed", 3: "compensated"}


@pytest.mark.parametrize("limit", [1, 2, None])
def test_where_not_enough_are_left_it_fails_at_once(limit):
    parallel = {"completion": {"at_least": 4}} | ({} if limit is None else {"limit": limit})
    world = ran([each(parallel)], items(6), fails(0, 1, 2))
    assert (world.root.status, world.root.fault.status) == ("faulted" if limit == 1 else "compensated", 409)
    assert limit is None or len(runs_of(world.root, "c")) <= 4


def test_a_tolerance_makes_it_fail_before_that():
    world = ran([each({"completion": {"at_least": 1}, "tolerate": 1, "limit": 1})], items(9), fails(0, 1))
    assert (world.root.status, len(runs_of(world.root, "c"))) == ("faulted", 2)


def test_fewer_items_than_have_to_complete():
    assert fault_of([each({"completion": {"at_least": 3}})], items(2))[:3] == ("validation", 400, "/do/0/e")
    assert fault_of([each({"completion": "first"})], items(0))[:3] == ("validation", 400, "/do/0/e")


def test_exactly_as_many_as_there_are():
    assert ran([each({"completion": {"at_least": 2}})], items(2)).root.output == [{"i": 0}, {"i": 1}]


def test_doubt_is_a_failure_and_is_undone():
    world = ran([each({"tolerate": 1})], items(2), fails(1, with_=doubt))
    assert world.root.status == "completed"
    assert [run.status for run in runs_of(world.root, "c")] == ["completed", "compensated"]


# Around it ------------------------------------------------------------------------------------------------------------------


def test_a_cancel_in_the_middle_settles_and_undoes_in_reverse():
    world = ran([each({"limit": 3})], items(9), never)
    for item in (0, 2, 1):
        reply(world, item, done({"i": item}))
    world.do("o_root", c.Cancel)
    assert in_hand(world) == [3, 4, 5]
    reply(world, 4, done({"i": 4}))
    reply(world, 3, refused())
    reply(world, 5, done({"i": 5}))
    undo_all(world)
    assert (world.root.status, undone(world)) == ("cancelled", [5, 4, 1, 2, 0])


def test_a_parallel_undo_undoes_all_branches_at_once_but_not_more_than_it_may():
    top = {"compensation": {"order": "parallel"}}
    world = ran(
        [each({})],
        items(9),
        lambda a: echo(a) if a.function == "f" and a.arguments["i"] < 8 else None,
        {"max_undos": 3},
        **top,
    )
    reply(world, 8, refused())
    most = 0
    while world.flying:
        most = max(most, len(world.flying))
        world.reply(world.flying[0], done())
    assert (world.root.status, most, sorted(undone(world))) == ("compensated", 3, list(range(8)))


def test_a_timeout_ends_it():
    world = ran([each({"limit": 2}, timeout={"after": {"seconds": 5}})], items(4), never)
    reply(world, 0, done({"i": 0}))
    world.pass_time(5)
    assert world.root.fault.type == SPEC + "timeout"
    assert [a.function for a in world.flying if a.number == 1 and a.function == "undo"]


def test_a_retry_begins_with_the_first_and_goes_on_with_what_did_not_complete():
    tried = {"t": {"try": [each({"limit": 2})], "catch": {"retry": {"delay": {"seconds": 1}}}}}
    answers = iter([done({"i": 0}), doubt(), done({"i": 2})])
    world = ran([tried], items(4), lambda a: next(answers, None) or echo(a))
    world.pass_time(1)
    assert world.root.output == [{"i": n} for n in range(4)]
    attempts = {run.id.rpartition("#")[2]: (run.attempts, run.status) for run in runs_of(world.root, "c")}
    assert (2, "completed") in attempts.values()


def test_a_composite_with_an_undo_of_its_own_replaces_what_is_in_it():
    whole = each({"limit": 2}, compensate={"call": "undo_all"})
    world = ran([whole, {"no": {"call": "f", "with": {"i": 99}}}], items(3), fails(99))
    assert [run.request.function for run in world.root.runs.values() if run.pointer.endswith("compensate")] == [
        "undo_all"
    ]


def test_one_in_another():
    inner = {
        "i": {"for": {"in": "$item", "each": "y"}, "parallel": {"limit": 2}, "do": [{"s": {"set": {"y": "${ $y }"}}}]}
    }
    world = ran([each({"limit": 2}, inner)], {"xs": [[1, 2, 3], [], [4]]}, limits={"portion": 2})
    assert world.root.output == [[{"y": 1}, {"y": 2}, {"y": 3}], [], [{"y": 4}]]


# Other versions, other courses -------------------------------------------------------------------------------------------------


def test_a_migration_may_change_the_limit():
    world = ran([each({"limit": 2})], items(9), never)
    digest = known_to(world, another(world.plan_of["o_root"], [each({"limit": 4})]))
    world.do("o_root", c.Migrate, to=digest)
    assert in_hand(world) == [0, 1]
    reply(world, 0, done())
    assert in_hand(world) == [1, 2, 3, 4]
    world.do("o_root", c.Migrate, to=known_to(world, another(world.plan_of["o_root"], [each({"limit": 1})], "1.2.0")))
    for item in (1, 2, 3):
        reply(world, item, done())
    assert in_hand(world) == [4]
    reply(world, 4, done())
    assert in_hand(world) == [5]


def test_what_was_put_off_begins_under_a_lower_limit_too(put_off):
    lower = known_to(put_off, another(put_off.plan_of["o_root"], [each({"limit": 3})]))
    put_off._decide("o_root", c.Migrate(at=put_off.now, seed=b"3", to=lower))
    put_off._decide("o_root", c.FireTimers(at=put_off.now, seed=b"4"))
    assert (len(put_off.flying), put_off.root.next_due()) == (6, None)
    while put_off.flying:
        put_off.reply(put_off.flying[0], done(7))
    assert put_off.root.output == [7] * 50


@pytest.mark.parametrize(
    "parallel", [{"limit": 2}, {}, {"completion": {"at_least": 3}, "tolerate": 2}, {"tolerate": "all"}]
)
def test_a_fork_from_every_version_goes_its_own_way(parallel):
    refusing = fails(1) if "tolerate" in parallel else echo
    world = ran([each(parallel)], items(6), refusing, limits={"portion": 2})
    world.answer = echo
    forked = 0
    for version in boundaries(world):
        if not_from(folded(packed(world.history["o_root"][:version]))) is None:
            id_ = f"o_fork{version}"
            assert forked_at(world, version, id_).status == "completed"
            assert len(world.states[id_].output) == (3 if "completion" in parallel else 6)
            forked += 1
    assert forked > 3
