"""``fork``: branches side by side, their outputs in order, errors that settle siblings, and ``compete``."""

import pytest

from tests.support.flows import completed, fault_of, names, never, ran, runs_of
from tests.support.pure_world import done, doubt, refused


def fork(*branches, **more):
    compete = {"compete": True} if more.pop("compete", False) else {}
    return {"fork": {"branches": [{name: task} for name, task in branches], **compete}, **more}


def reply(world, function, result):
    world.reply(next(a for a in world.flying if a.function == function), result)


CALLS = (("a", {"call": "fa"}), ("b", {"call": "fb"}), ("c", {"call": "fc"}))


def test_outputs_are_in_the_order_of_the_branches_not_of_their_ends():
    world = ran([{"f": fork(*CALLS)}], answer=never)
    for function in ("fc", "fa", "fb"):
        assert world.root.status == "running"
        reply(world, function, done(function))
    assert world.root.output == ["fa", "fb", "fc"]


def test_every_branch_gets_the_transformed_input_of_the_fork():
    task = fork(("a", {"set": {"a": "${ . }"}}), ("b", {"set": {"b": "${ $input }"}}), input={"from": ".n"})
    assert completed([{"f": task}], {"n": 1}) == [{"a": 1}, {"b": 1}]


def test_a_skipped_or_empty_branch_gives_the_input():
    task = fork(("a", {"if": "false", "set": {"x": 1}}), ("b", {"do": []}), ("c", {"set": {"x": 1}}))
    assert completed([{"f": task}], {"n": 1}) == [{"n": 1}, {"n": 1}, {"x": 1}]


def test_an_output_that_is_null_counts():
    assert completed([{"f": fork(("a", {"set": "${ null }"}), ("b", {"set": {"x": 1}}))}]) == [None, {"x": 1}]


def test_output_export_and_then_of_the_fork():
    task = fork(
        ("a", {"set": {"n": 1}}),
        ("b", {"set": {"n": 2}}),
        output={"as": "map(.n) | add"},
        export={"as": "${ {sum: .} }"},
        then="z",
    )
    assert completed(
        [{"f": task}, {"y": {"set": {"no": 1}}}, {"z": {"set": {"s": "${ . }", "c": "${ $context.sum }"}}}]
    ) == {"s": 3, "c": 3}


def test_exports_of_branches_replace_the_context_one_after_the_other():
    branches = [(n, {"call": n, "export": {"as": f'${{ $context + {{"{n}": .}} }}'}}) for n in ("fa", "fb")]
    world = ran([{"f": fork(*branches)}], answer=never)
    reply(world, "fb", done(2))
    reply(world, "fa", done(1))
    assert world.root.context == {"fa": 1, "fb": 2}


def test_an_error_in_a_branch_fails_the_fork_once_the_others_have_settled():
    world = ran(
        [{"f": fork(*CALLS, ("w", {"wait": {"hours": 1}}), ("l", {"listen": {"to": {"any": []}}}))}], answer=never
    )
    reply(world, "fa", refused(404))
    assert [runs_of(world.root, n)[0].status for n in "wl"] == ["cancelled", "cancelled"]
    assert world.root.status == "running"
    reply(world, "fb", done())
    reply(world, "fc", refused(500))
    assert (world.root.status, world.root.fault.status, world.root.fault.instance) == (
        "faulted",
        404,
        "/do/0/f/fork/branches/0/a",
    )


def test_no_task_begins_in_the_siblings_of_a_branch_that_failed():
    two = ("b", {"do": [{"b1": {"call": "fb"}}, {"b2": {"call": "fc"}}]})
    world = ran([{"f": fork(CALLS[0], two)}], answer=never)
    reply(world, "fa", refused(404))
    reply(world, "fb", done())
    assert world.root.status == "faulted"
    assert "b2" not in names(world)


def test_a_caught_error_in_a_branch_leaves_the_others_alone():
    tried = ("a", {"try": [{"x": {"call": "fa"}}], "catch": {"do": [{"y": {"set": {"caught": True}}}]}})
    world = ran([{"f": fork(tried, CALLS[1])}], answer=never)
    reply(world, "fa", refused(404))
    reply(world, "fb", done("b"))
    assert world.root.output == [{"caught": True}, "b"]


def test_a_fork_in_a_fork():
    inner = ("i", fork(("x", {"set": {"n": 1}}), ("y", {"set": {"n": 2}})))
    assert completed([{"f": fork(inner, ("z", {"set": {"n": 3}}))}]) == [[{"n": 1}, {"n": 2}], {"n": 3}]


def test_the_fault_of_a_branch_is_told_when_two_fail_in_the_same_decision():
    bad = '${ error("no") }'
    world = ran([{"f": fork(("a", {"set": {"x": bad}}), ("b", {"set": {"x": bad}}))}])
    assert (world.root.status, world.root.fault.instance) == ("faulted", "/do/0/f/fork/branches/0/a")


# compete ----------------------------------------------------------------------------------------------------------------


def test_the_first_branch_to_complete_gives_the_output():
    world = ran([{"f": fork(*CALLS, compete=True)}, {"t": {"set": {"won": "${ . }"}}}], answer=never)
    reply(world, "fb", done("b"))
    assert world.root.output == {"won": "b"}
    assert [runs_of(world.root, n)[0].effect for n in "ac"] == ["uncertain", "uncertain"]


def test_when_all_can_complete_at_once_the_first_declared_wins_and_the_others_do_not_complete():
    for number in ("${ 1 + 1 }", 2):
        branches = [(name, {"set": {"from": name, "n": number}}) for name in "abc"]
        world = ran([{"f": fork(*branches, compete=True)}])
        assert (world.root.status, world.root.output) == ("completed", {"from": "a", "n": 2})
        assert sum(scope.phase == "done" for name, scope in world.root.scopes.items() if name) == 1


def test_a_branch_that_fails_does_not_end_the_race():
    world = ran([{"f": fork(*CALLS, compete=True)}], answer=never)
    reply(world, "fa", refused(404))
    assert world.root.status == "running"
    reply(world, "fc", done("c"))
    assert world.root.output == "c"


def test_when_all_fail_the_last_error_is_that_of_the_fork():
    world = ran([{"f": fork(*CALLS, compete=True)}], answer=never)
    for function, status in (("fb", 401), ("fc", 402), ("fa", 403)):
        reply(world, function, refused(status))
    assert (world.root.status, world.root.fault.status, world.root.fault.instance) == (
        "faulted",
        403,
        "/do/0/f/fork/branches/0/a",
    )


def test_losers_that_completed_something_are_undone_before_the_fork_completes():
    slow = ("s", {"do": [{"s1": {"call": "f1", "compensate": {"call": "undo1"}}}, {"s2": {"call": "f2"}}]})
    world = ran(
        [{"f": fork(slow, ("q", {"call": "fq"}), compete=True)}],
        answer=lambda a: done() if a.function == "f1" else None,
    )
    reply(world, "fq", done("quick"))
    assert [a.function for a in world.flying] == ["f2", "undo1"]
    assert world.root.status == "running"
    reply(world, "undo1", done())
    assert (world.root.status, world.root.output) == ("completed", "quick")


def test_a_late_answer_of_a_loser_changes_nothing():
    world = ran([{"f": fork(*CALLS[:2], compete=True)}], answer=never)
    late = next(a for a in world.flying if a.function == "fa")
    reply(world, "fb", done("b"))
    world.reply(late, done("a"))
    assert world.root.output == "b"


# Timeouts ---------------------------------------------------------------------------------------------------------------


def test_a_timeout_of_the_fork_makes_its_attempts_uncertain_at_once():
    world = ran([{"f": fork(*CALLS, timeout={"after": {"seconds": 5}})}], answer=never)
    world.pass_time(5)
    assert (world.root.status, world.root.fault.status, world.root.fault.instance) == ("faulted", 408, "/do/0/f")
    assert {runs_of(world.root, n)[0].effect for n in "abc"} == {"uncertain"}


@pytest.mark.parametrize("compete", [False, True])
def test_doubt_in_a_branch_is_an_error_like_any_other(compete):
    name, status, _, _ = fault_of([{"f": fork(("a", {"call": "fa"}), compete=compete)}], answer=lambda _: doubt())
    assert (name, status) == ("timeout", 408)


def test_a_hundred_branches():
    task = fork(*((f"b{n}", {"set": {"n": n}}) for n in range(100)))
    assert completed([{"f": task}]) == [{"n": n} for n in range(100)]
