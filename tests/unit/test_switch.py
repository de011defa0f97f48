"""``switch``: the first case that holds, the default, and none at all."""

import pytest

from tests.support.flows import completed, fault_of, names, ran

SET = [
    {"red": {"set": {"is": "red"}, "then": "exit"}},
    {"blue": {"set": {"is": "blue"}, "then": "exit"}},
    {"last": {"set": {"is": "last"}}},
]


def switch(*cases, **more):
    return [{"s": {"switch": [{name: case} for name, case in cases], **more}}, *SET]


RED = ("r", {"when": '.c == "red"', "then": "red"})
BLUE = ("b", {"when": '.c == "blue"', "then": "blue"})
DEFAULT = ("d", {"then": "last"})


@pytest.mark.parametrize(("colour", "result"), [("red", "red"), ("blue", "blue"), ("green", "last")])
@pytest.mark.parametrize("cases", [(RED, BLUE, DEFAULT), (DEFAULT, RED, BLUE), (RED, DEFAULT, BLUE)])
def test_the_default_is_taken_only_when_nothing_else_holds(cases, colour, result):
    assert completed(switch(*cases), {"c": colour}) == {"is": result}


def test_the_first_of_several_that_hold_wins():
    assert completed(switch(("x", {"when": "true", "then": "blue"}), ("y", {"when": "true", "then": "red"}))) == {
        "is": "blue"
    }


def test_without_a_match_it_goes_where_the_task_goes():
    assert completed(switch(RED), {"c": "?"}) == {"is": "red"}  # the next in line
    assert completed(switch(RED, then="last"), {"c": "?"}) == {"is": "last"}
    assert completed(switch(RED, then="end"), {"c": "?"}) == {"c": "?"}


def test_a_match_takes_precedence_over_the_then_of_the_task():
    assert completed(switch(BLUE, then="end"), {"c": "blue"}) == {"is": "blue"}


@pytest.mark.parametrize("then", ["exit", "end"])
def test_a_case_may_leave(then):
    assert completed(switch(("x", {"when": "true", "then": then})), {"c": 1}) == {"c": 1}


def test_a_case_may_continue():
    assert completed(switch(("x", {"when": "true", "then": "continue"}), then="last"), {"c": 1}) == {"is": "red"}


def test_its_output_is_its_transformed_input():
    tasks = [
        {
            "s": {
                "input": {"from": ".in"},
                "switch": [{"x": {"when": ". == 5", "then": "exit"}}],
                "output": {"as": "${ [., $input] }"},
            }
        }
    ]
    assert completed(tasks, {"in": 5}) == [5, 5]


@pytest.mark.parametrize(
    ("value", "holds"), [("0", True), ('""', True), ("[]", True), ("null", False), ("false", False), ("empty", False)]
)
def test_a_condition_has_jqs_truth(value, holds):
    assert completed(switch(("x", {"when": value, "then": "blue"}))) == {"is": "blue" if holds else "red"}


def test_an_earlier_condition_that_fails_is_a_fault_and_a_later_one_is_never_looked_at():
    bad, good = ("x", {"when": 'error("no")', "then": "blue"}), ("y", {"when": "true", "then": "red"})
    name, status, instance, detail = fault_of(switch(bad, good))
    assert (name, status, instance) == ("expression", 400, "/do/0/s")
    assert "x" in detail
    assert completed(switch(good, bad)) == {"is": "red"}


def test_conditions_see_variables():
    assert completed(
        switch(("x", {"when": '$input.c == $workflow.input.c and $task.name == "s"', "then": "blue"})), {"c": 1}
    ) == {"is": "blue"}


def test_only_the_chosen_tasks_run():
    assert names(ran(switch(RED, BLUE), {"c": "blue"})) == ["s", "blue"]
