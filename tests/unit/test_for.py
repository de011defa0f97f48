"""``for``: turns, their variables and data, ``while``, and collections of every size."""

import pytest

from tests.support.flows import SPEC, completed, fault_of, never, ran, runs_of
from tests.support.pure_world import done, doubt, refused


def loop(*do, in_=".xs", **more):
    names = {key: more.pop(key) for key in ("each", "at") if key in more}
    return {"for": {"in": in_, **names}, "do": list(do), **more}


COLLECT = {"s": {"set": {"all": "${ .all + [[$item, $index]] }"}}}


def test_each_turn_has_its_item_and_its_index():
    assert completed([{"l": loop(COLLECT)}], {"xs": ["a", "b"]}) == {"all": [["a", 0], ["b", 1]]}


def test_the_variables_may_be_named():
    task = loop({"s": {"set": {"all": "${ .all + [[$x, $n]] }"}}}, each="x", at="n")
    assert completed([{"l": task}], {"xs": [None, False]}) == {"all": [[None, 0], [False, 1]]}


def test_each_turn_starts_from_the_output_of_the_turn_before_and_the_first_from_the_input():
    task = loop({"s": {"set": "${ . + [$item] }"}}, in_="${ $workflow.input.xs }", input={"from": "${ [] }"})
    assert completed([{"l": task}], {"xs": [1, 2, 3]}) == [1, 2, 3]


def test_a_loop_in_a_loop_has_both_pairs_of_variables():
    inner = {"i": loop({"s": {"set": {"all": "${ .all + [[$x, $item, $index]] }"}}}, in_="$x")}
    assert completed([{"o": loop(inner, each="x", at="n")}], {"xs": [[1], [2, 3]]}) == {
        "all": [[[1], 1, 0], [[2, 3], 2, 0], [[2, 3], 3, 1]]
    }


def test_the_inner_variable_hides_the_outer_one_of_the_same_name():
    inner = {"i": loop({"s": {"set": {"all": "${ .all + [$item] }"}}}, in_="$item")}
    after = {"t": {"set": {"all": "${ .all + [$item] }"}}}
    assert completed([{"o": loop(inner, after)}], {"xs": [[1], [2]]}) == {"all": [1, [1], 2, [2]]}


def test_the_variables_reach_into_composites_and_end_with_the_loop():
    inner = {"d": {"do": [{"f": {"fork": {"branches": [{"b": {"call": "f", "with": {"i": "${ $item }"}}}]}}}]}}
    assert completed([{"l": loop(inner)}], {"xs": [7]}) == [{"i": 7}]
    assert fault_of([{"l": loop(COLLECT)}, {"t": {"set": {"x": "${ $item }"}}}], {"xs": [1]})[0] == "expression"


@pytest.mark.parametrize("in_", [".xs", "${ .xs }", "${ .xs | map(.) }"])
def test_an_empty_collection_gives_the_input(in_):
    assert completed([{"l": loop(COLLECT, in_=in_)}], {"xs": []}) == {"xs": []}


@pytest.mark.parametrize("value", [None, "abc", 3, {"a": 1}, True])
def test_anything_but_an_array_is_an_expression_fault(value):
    assert fault_of([{"l": loop(COLLECT)}], {"xs": value})[:3] == ("expression", 400, "/do/0/l")


def test_an_empty_list_of_tasks_gives_the_input():
    assert completed([{"l": loop()}], {"xs": [1, 2]}) == {"xs": [1, 2]}


# while ------------------------------------------------------------------------------------------------------------------


def test_while_is_asked_before_each_turn_with_the_data_and_variables_of_that_turn():
    task = loop(COLLECT, **{"while": "(.all | length) < 2 and $item != 9 and $index < 5"})
    assert completed([{"l": task}], {"xs": [1, 2, 3]}) == {"all": [[1, 0], [2, 1]]}
    assert completed([{"l": task}], {"xs": [1, 9, 3]}) == {"all": [[1, 0]]}


def test_while_that_is_false_at_once_gives_the_input():
    assert completed([{"l": loop(COLLECT, **{"while": "false"})}], {"xs": [1]}) == {"xs": [1]}


def test_while_sees_the_exported_context():
    task = loop(
        {"s": {"set": {"n": "${ $item }"}, "export": {"as": "${ {sum: (($context.sum // 0) + .n)} }"}}},
        **{"while": "($context.sum // 0) < 3"},
    )
    world = ran([{"l": task}], {"xs": [1, 2, 3, 4]})
    assert (world.root.output, world.root.context) == ({"n": 2}, {"sum": 3})


# Ends -------------------------------------------------------------------------------------------------------------------


def test_output_and_then_of_the_loop_itself():
    tasks = [
        {"l": loop(COLLECT, output={"as": ".all | length"}, then="b")},
        {"a": {"set": {"x": 0}}},
        {"b": {"set": {"n": "${ . }"}}},
    ]
    assert completed(tasks, {"xs": [1, 2, 3]}) == {"n": 3}


def test_an_error_in_a_turn_fails_the_loop():
    world = ran(
        [{"l": loop({"s": {"call": "f", "with": {"i": "${ $item }"}}})}],
        {"xs": [1, 2, 3]},
        lambda a: refused(404) if a.arguments["i"] == 2 else done(),
    )
    assert (world.root.status, world.root.fault.instance) == ("faulted", "/do/0/l/do/0/s")
    assert [run.status for run in runs_of(world.root, "s")] == ["completed", "failed"]
    assert runs_of(world.root, "l")[0].status == "failed"


def test_a_turn_waits_for_the_one_before():
    world = ran([{"l": loop({"s": {"call": "f"}})}], {"xs": [1, 2]}, never)
    assert len(world.flying) == 1
    world.reply(world.flying[0], done("first"))
    assert len(world.flying) == 1
    world.reply(world.flying[0], done("second"))
    assert world.root.output == "second"


def test_a_loop_that_is_entered_again_starts_with_its_first_turn():
    answers = iter([done(1), doubt(), done(1), done(2)])
    tried = {
        "try": [{"l": loop({"s": {"call": "f", "with": {"i": "${ $item }"}}})}],
        "catch": {"retry": {"delay": {"seconds": 1}}},
    }
    world = ran([{"t": tried}], {"xs": [1, 2]}, lambda _: next(answers))
    world.pass_time(1)
    assert (world.root.status, world.root.output) == ("completed", 2)
    assert [(run.id[-1], run.status, run.attempts) for run in runs_of(world.root, "s")] == [
        ("1", "completed", 1),
        ("2", "completed", 2),
        ("3", "completed", 1),
    ]


def test_a_timeout_of_the_loop_ends_it():
    world = ran([{"l": loop({"w": {"wait": {"seconds": 4}}}, timeout={"after": {"seconds": 10}})}], {"xs": [1, 2, 3]})
    world.pass_time(9)
    assert world.root.status == "running"
    world.pass_time(1)
    assert (world.root.status, world.root.fault.type, world.root.fault.instance) == (
        "faulted",
        SPEC + "timeout",
        "/do/0/l",
    )


def test_two_thousand_turns():
    """Linear in the number of turns: twice the turns, twice the events, and no step looks at all turns."""
    world = ran(
        [{"l": loop({"s": {"set": {"n": "${ $item }"}}}, **{"while": "$index < 2000"})}], {"xs": list(range(2000))}
    )
    assert (world.root.status, world.root.output) == ("completed", {"n": 1999})
    assert len(world.history["o_root"]) == 4 * 2000 + 5
