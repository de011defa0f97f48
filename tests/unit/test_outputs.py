"""``$outputs``: the latest output of each task, the nearest scope first."""

import pytest

from domain.data import mentioned
from tests.support.flows import completed, fault_of, ran
from tests.support.pure_world import done, refused


def out(expression):
    return {"set": {"x": f"${{ {expression} }}"}}


def put(value):
    return {"set": {"v": value}, "output": {"as": ".v"}}


def test_every_completed_task_before_is_there_by_name():
    assert completed(
        [{"a": put(1)}, {"b-c": put(2)}, {"z": out('[$outputs.a, $outputs["b-c"], ($outputs | keys)]')}]
    ) == {"x": [1, 2, ["a", "b-c"]]}


def test_it_is_the_transformed_output():
    assert completed([{"a": {"set": {"n": 1}, "output": {"as": ".n + 1"}}}, {"z": out("$outputs.a")}]) == {"x": 2}


def test_what_did_not_complete_is_not_there():
    tasks = [
        {"skipped": {"if": "false", "set": {"n": 1}}},
        {"t": {"try": [{"failed": {"call": "f"}}], "catch": {}}},
        {"z": out("$outputs | keys")},
    ]
    assert completed(tasks, answer=lambda _: refused()) == {"x": ["t"]}
    assert completed([{"z": out("$outputs.later")}, {"later": {"if": "false", "set": {"n": 1}}}]) == {"x": None}


def test_the_latest_run_counts():
    tasks = [
        {"l": {"for": {"in": "[1, 2, 3]"}, "do": [{"a": {"set": {"n": "${ $item }"}}}]}},
        {"z": out("$outputs.a.n")},
    ]
    assert completed(tasks) == {"x": 3}


def test_in_a_loop_by_then_the_run_before_is_there_until_the_next_has_completed():
    tasks = [
        {"a": {"set": {"n": "${ (($outputs.a.n) // 0) + 1 }"}}},
        {"again": {"switch": [{"more": {"when": "$outputs.a.n < 4", "then": "a"}}]}},
    ]
    assert completed(tasks) == {"n": 4}


def test_the_nearest_scope_wins_over_a_later_run_elsewhere():
    inner = {"d": {"do": [{"a": put("inner")}, {"o": {"do": [{"a": put("deeper")}]}}, {"z": out("$outputs.a")}]}}
    assert completed([{"a": put("outer")}, inner]) == {"x": "inner"}


def test_from_outside_the_latest_run_anywhere_is_found():
    tasks = [{"d": {"do": [{"a": put("first")}]}}, {"e": {"do": [{"a": put("second")}]}}, {"z": out("$outputs.a")}]
    assert completed(tasks) == {"x": "second"}


def test_each_turn_sees_its_own():
    turn = [
        {"a": {"set": {"n": "${ $item }"}}},
        {
            "b": {
                "set": {"all": "${ ((.all // $workflow.input.none) // []) + [$outputs.a.n] }"},
                "input": {"from": "${ {all: ($outputs.b.all)} }"},
            }
        },
    ]
    assert completed([{"l": {"for": {"in": "[1, 2, 3]"}, "do": turn}}]) == {"all": [1, 2, 3]}


def test_branches_see_each_others_outputs_once_they_are_recorded():
    branches = [
        {"a": {"call": "fa"}},
        {"b": {"do": [{"b1": {"call": "fb"}}, {"b2": {"call": "fc", "with": {"a": "${ $outputs.a }"}}}]}},
    ]
    world = ran(
        [{"f": {"fork": {"branches": branches}}}],
        answer=lambda a: done("from a") if a.function == "fa" else done(a.arguments),
    )
    assert world.root.output == ["from a", {"a": "from a"}]


@pytest.mark.parametrize(
    "place",
    [
        {"if": '$outputs.a == "v"'},
        {"input": {"from": "$outputs.a"}},
        {"output": {"as": "$outputs.a"}},
        {"export": {"as": "$outputs.a"}},
    ],
)
def test_usable_in_every_expression_after_it(place):
    world = ran([{"a": put("v")}, {"b": {"set": {"x": "${ . }"}, **place}}])
    assert world.root.status == "completed"
    assert "v" in (
        world.root.output,
        world.root.context,
        world.root.output["x"] if isinstance(world.root.output, dict) else None,
    )


def test_in_the_output_of_the_workflow():
    assert completed([{"a": put(1)}, {"b": put(2)}], output={"as": "${ $outputs | del(.c) }"}) == {"a": 1, "b": 2}


def test_a_member_of_what_is_not_there_is_null_and_of_a_number_a_fault():
    assert completed([{"z": out("$outputs.nobody.x")}]) == {"x": None}
    assert fault_of([{"a": put(1)}, {"z": out("$outputs.a.x")}])[0] == "expression"


@pytest.mark.parametrize(
    ("program", "names"),
    [
        ("$outputs.a + $outputs.b.c", {"a", "b"}),
        ('$outputs["a-b"].c', {"a-b"}),
        ("$outputs", None),
        ("$outputs | keys", None),
        ("$outputs.a + ($outputs | length)", None),
        ("$outputs[.name]", None),
        ("$outputs[0]", None),
        ('$outputs."a-b"', None),
        ("$outputs?.a", None),
    ],
)
def test_which_outputs_a_program_needs(program, names):
    assert mentioned(program, "outputs") == (None if names is None else frozenset(names))
