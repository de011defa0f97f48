"""Migrations that are refused, each with its reason, and nothing is changed by asking."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest

from domain import commands as c
from domain import events as e
from tests.support.forks import another, known_to
from tests.support.migrations import Slow, finish, refusals
from tests.support.pure_world import done, refused
from tests.support.scripted import bare, step

NOTHING: dict[str, Any] = {"set": {"n": 1}}


def test_another_definition_is_refused():
    world = Slow([step("a")])
    world.start_it()
    other = msgspec.structs.replace(another(world.plan_of["o_root"]), name="y")
    assert refusals(world, other) == ["other-definition"]


CHANGES = {
    "the task in progress is gone": ([step("a")], [step("b")], ["no-task"]),
    "it is of another kind": ([step("a")], [{"a": {"wait": {"seconds": 1}}}], ["other-kind"]),
    "it calls something else while in flight": ([step("a")], [step("a", call="b")], ["other-call"]),
    "it becomes a pivot while in flight": ([step("a")], [step("a", pivot=True)], ["other-pivot"]),
    "its compensation is gone": ([step("a")], [bare("a")], ["no-compensation"]),
    "a block is gone": ([{"x": {"do": [step("a")]}}], [step("a")], ["no-task", "no-task"]),
    "branches in another order": (
        [{"f": {"fork": {"branches": [step("a"), step("b")]}}}],
        [{"f": {"fork": {"branches": [step("b"), step("a")]}}}],
        ["other-branches", "other-place", "other-place"],
    ),
    "one branch more": (
        [{"f": {"fork": {"branches": [step("a")]}}}],
        [{"f": {"fork": {"branches": [step("a"), step("b")]}}}],
        ["other-branches"],
    ),
    "a loop names its turns otherwise": (
        [{"l": {"for": {"in": "${ [1] }"}, "do": [step("a")]}}],
        [{"l": {"for": {"in": "${ [1] }", "each": "one"}, "do": [step("a")]}}],
        ["other-variables"],
    ),
    "turns in turn that would run side by side": (
        [{"l": {"for": {"in": "${ [1] }"}, "do": [step("a")]}}],
        [{"l": {"for": {"in": "${ [1] }"}, "parallel": {}, "do": [step("a")]}}],
        ["other-branches"],
    ),
    "another number of turns that have to complete": (
        [{"l": {"for": {"in": "${ [1, 2] }"}, "parallel": {"limit": 2}, "do": [step("a")]}}],
        [{"l": {"for": {"in": "${ [1, 2] }"}, "parallel": {"limit": 1, "completion": "first"}, "do": [step("a")]}}],
        ["other-branches"],
    ),
    "another number of branches that may fail": (
        [{"f": {"fork": {"branches": [step("a"), step("b")]}, "parallel": {}}}],
        [{"f": {"fork": {"branches": [step("a"), step("b")]}, "parallel": {"tolerate": 1}}}],
        ["other-branches"],
    ),
    "other events": (
        [{"l": {"listen": {"to": {"one": {"with": {"type": "x"}}}}}}],
        [{"l": {"listen": {"to": {"one": {"with": {"type": "y"}}}}}}],
        ["other-events"],
    ),
}


@pytest.mark.parametrize("name", list(CHANGES))
def test_what_cannot_change_under_what_goes_on(name):
    old, new, expected = CHANGES[name]
    world = Slow(old)
    world.script = {**world.script, "a": None, "b": None}
    world.start_it()
    assert refusals(world, another(world.plan_of["o_root"], new)) == expected


def test_the_undo_of_a_turn_knows_it_by_the_name_that_it_had():
    def turns(**names: str) -> list[Any]:
        return [{"l": {"for": {"in": "${ [1] }", **names}, "do": [step("a")]}}, step("b")]

    world = Slow(turns())
    world.script = {**world.script, "b": None}
    world.start_it()
    assert refusals(world, another(world.plan_of["o_root"], turns(at="n"))) == ["other-variables"]


def test_the_undo_of_what_was_done_must_stay():
    world = Slow([step("a"), step("b")])
    world.start_it()
    world.answer_to("a", done())
    assert refusals(world, another(world.plan_of["o_root"], [step("b")])) == ["no-task"]
    assert refusals(world, another(world.plan_of["o_root"], [bare("a"), step("b")])) == ["no-compensation"]


def test_what_was_caught_and_may_be_tried_again_keeps_its_kind():
    tasks: list[Any] = [
        {
            "t": {
                "try": [step("a"), step("b")],
                "catch": {"retry": {"delay": {"seconds": 9}, "limit": {"attempt": {"count": 2}}}},
            }
        }
    ]
    world = Slow(tasks)
    world.start_it()
    world.answer_to("a", refused())
    other = copy.deepcopy(tasks)
    other[0]["t"]["try"][0] = {"a": NOTHING}
    assert refusals(world, another(world.plan_of["o_root"], other)) == ["other-kind"]


def test_a_mapping_that_names_nothing_is_told_whole():
    world = Slow([step("a")])
    world.start_it()
    assert refusals(world, another(world.plan_of["o_root"]), {"no": "a", "a": "neither"}) == ["unknown-task"] * 2


def test_a_token_stays_in_its_list():
    world = Slow([step("a"), step("b")])
    world.start_it()
    later = another(world.plan_of["o_root"], [{"block": {"do": [step("a")]}}, step("b")])
    assert refusals(world, later, {"a": "block/a"}) == ["other-place"]
    world.answer_to("a", done())
    [event] = world.do("o_root", c.Migrate, to=known_to(world, later), mapping={"a": "block/a"})
    assert isinstance(event, e.OrchestrationMigrated)
    world.cancel()
    world.answer_to("b", refused())
    finish(world)
    assert (world.root.status, world.undone) == ("cancelled", ["a"])


def test_two_tasks_do_not_become_one():
    world = Slow([step("a"), step("b")])
    world.start_it()
    world.answer_to("a", done())
    assert refusals(world, another(world.plan_of["o_root"], [step("b")]), {"a": "b"}) == ["not-distinct"]


def test_what_was_done_does_not_come_again():
    world = Slow([step("a"), step("b")])
    world.start_it()
    world.answer_to("a", done())
    assert refusals(world, another(world.plan_of["o_root"], [step("b"), step("a")])) == ["comes-again"]
