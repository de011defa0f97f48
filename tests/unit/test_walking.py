"""Walking a history: states, differences and the rollback view at every decision."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from adapters.bundles import open_bundle
from application.pictures import Change, changes, lacking, sketch
from application.replay import divergences
from application.status import represent
from application.walking import Walk, command_json, divergence_json
from domain import commands as c
from domain import events as e
from domain.plan import Plan
from domain.redeciding import bare
from tests.golden import scenes
from tests.golden.test_golden import FILES
from tests.support.flows import ran


def walk(story: Any) -> Walk:
    return open_bundle(next(story().bundles()))[1]


@pytest.fixture(scope="module")
def trip() -> Walk:
    return walk(scenes.trip_rolled_back)


def test_every_event_belongs_to_one_decision(trip):
    spans = [(moment.version, moment.last_version) for moment in trip.moments]
    assert spans == [(1, 3), (4, 6), (7, 9), (10, 16), (17, 23), (24, 27)]
    assert [trip.moment(version).version for version in (1, 3, 4, 27)] == [1, 1, 4, 24]
    for outside in (0, 28):
        with pytest.raises(IndexError):
            trip.moment(outside)


def test_a_picture_is_the_status_of_then(trip):
    for version in range(1, 28):
        shown = trip.picture(version)
        status = msgspec.to_builtins(represent(trip.state(version)))
        assert {name: shown[name] for name in status} == status
    assert trip.picture(0)["tasks"] == []
    with pytest.raises(IndexError):
        trip.picture(28)


def test_pictures_in_any_order_are_the_same(trip):
    forward = [trip.picture(version) for version in range(28)]
    assert [trip.picture(version) for version in reversed(range(28))] == forward[::-1]


def test_a_difference_takes_one_picture_to_the_next(trip):
    found = {change.path: change for change in trip.moments[3].difference}
    assert found["status",] == Change(("status",), "running", "compensating")
    assert found["tasks", "bookFlight", "status"].after == "failed"
    assert found["tasks", "bookHotel", "compensation", "status"] == Change(
        ("tasks", "bookHotel", "compensation", "status"), "armed", "running"
    )
    assert ("waiting_for", "answer of bookFlight") in found
    assert found["waiting_for", "answer of the undo of bookHotel"].before is msgspec.UNSET
    assert not any("updated_at" in path or "version" in path for path in found)


def test_true_is_not_one():
    assert changes({"output": 1, "same": {"a": [1]}}, {"output": True, "same": {"a": [1]}}) == [
        Change(("output",), 1, True)
    ]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_looking_at_what_the_events_touch_finds_every_change(file):
    """Only those tasks are compared; no other may be different."""
    found = open_bundle(json.loads(file.read_text(encoding="utf-8")))[1]
    for moment in found.moments:
        before, after = found.state(moment.version - 1), found.state(moment.last_version)
        everything = {*before.runs, *after.runs}
        assert moment.difference == changes(
            sketch(before, everything, found.shared), sketch(after, everything, found.shared)
        )


def test_tasks_are_told_by_the_shortest_name_that_will_do():
    twice = {"twice": {"for": {"each": "n", "in": "${ [1, 2] }"}, "do": [{"a": {"set": {"n": "${ $n }"}}}]}}
    world = ran([twice, {"group": {"do": [{"b": {"set": {"x": 1}}}]}}, {"b": {"set": {"x": 1}}}])
    [moment] = Walk(world.plan_of["o_root"], world.history["o_root"]).moments
    tasks = [change.path[1] for change in moment.difference if change.path[0] == "tasks"]
    assert tasks == ["twice", "a", "a#2", "group", "/do/1/group/do/0/b", "/do/2/b"]


# The rollback view --------------------------------------------------------------------------------------------------


def undo(view: Any) -> list[str]:
    return [step["task"] for step in view["undo"]]


def plan_of(found: Walk) -> Plan:
    [first] = found.moments[:1]
    assert first.step.begins is not None
    return found.plan_of(first.step.begins)


def test_what_would_be_undone_grows_and_shrinks(trip):
    views = [moment.rollback for moment in trip.moments]
    assert [view["phase"] for view in views] == ["armed", "armed", "armed", "undoing", "undoing", "over"]
    both = ["bookHotel", "reserveCar"]
    assert list(map(undo, views)) == [[], ["reserveCar"], both, both, ["reserveCar"], []]
    assert [view["in_flight"] for view in views] == [["reserveCar"], ["bookHotel"], ["bookFlight"], [], [], []]
    assert [view["undone"] for view in views] == [[], [], [], [], ["bookHotel"], both]
    assert trip.rollback(0)["phase"] == "none"


def test_what_would_be_undone_is_what_is_undone_in_the_end():
    """The view before the decision tells the order of the plan that is decided then."""
    for story in (scenes.trip_rolled_back, scenes.trip_uncertain, scenes.signup_expired, scenes.parallel_undo):
        found = walk(story)
        place, decided = next(
            (version, event)
            for version, event in enumerate(found.history, 1)
            if isinstance(event, e.CompensationDecided)
        )
        state = found.state(place)
        assert undo(found.rollback(place - 1)) == [state.runs[step.run].name for step in decided.plan]


def test_a_condition_is_told_until_it_is_asked():
    found = walk(scenes.undo_only_if)
    before = found.rollback(
        next(n for n, event in enumerate(found.history) if isinstance(event, e.CompensationDecided))
    )
    assert [(step["task"], step["condition"]) for step in before["undo"]] == [("b", ".n > 1"), ("a", ".n > 1")]
    after = found.moments[-1].rollback
    assert (after["undone"], [left["task"] for left in after["left_behind"]]) == (["b"], ["c", "a"])


def test_the_pivot_is_told():
    assert walk(scenes.trip_completed).moments[-1].rollback["pivot"] == "pay"


# Decisions ------------------------------------------------------------------------------------------------------------


def test_a_decision_made_again_is_the_recorded_one(trip):
    assert [moment.decide() for moment in trip.moments] == [moment.events for moment in trip.moments]


def test_commands_are_told_without_what_only_the_machine_needs():
    found = walk(scenes.trip_cancelled)
    [cancel] = [moment.command for moment in found.moments if moment.command["command"] == "cancel"]
    assert cancel == {
        "command": "cancel",
        "at": cancel["at"],
        "actor": "grace",
        "reason": "changed my mind",
        "trace": "4bf92f3577b34da6a3ce929d0e0e4736",
        "request_id": "r-17",
    }
    for moment in found.moments:
        assert not {"seed", "digest", "request"} & moment.command.keys()


def test_time_between_decisions(trip):
    assert [moment.after_s for moment in trip.moments] == [None, 0.04, 0.057, 0.074, 0.03, 0.047]


def test_a_history_whose_bases_are_unknown_can_be_walked_but_not_verified(trip):
    found = Walk(plan_of(trip), [bare(event) for event in trip.history])
    [moment] = found.moments
    assert command_json(moment.step)["command"] == "unknown"
    assert moment.state_after == trip.picture(27)
    [divergence] = found.verify()
    assert "not recorded" in divergence_json(divergence)["why"]


def test_a_divergence_has_both_sides(trip):
    history = list(trip.history)
    history[15] = msgspec.structs.replace(history[15], key="another")
    [found] = divergences(plan_of(trip), history)
    told = divergence_json(found)
    assert (told["version"], len(told["recorded"]), len(told["decided"])) == (10, 7, 7)
    assert told["recorded"][6]["data"]["key"] == "another" != told["decided"][6]["data"]["key"]


def test_a_status_that_says_something_else_is_told(trip):
    status = msgspec.to_builtins(represent(trip.state(27)))
    assert trip.unlike(status) == []
    assert trip.unlike({**status, "links": {"self": "x"}}) == []
    changed = {**status, "status": "completed", "tasks": [{**status["tasks"][0], "attempts": 7}, *status["tasks"][1:]]}
    assert trip.unlike(changed) == ["/status", "/tasks/0/attempts"]
    assert list(lacking([1, 2], [1])) == ["/"]


def test_more_tasks_than_a_status_lists_are_in_the_picture():
    tasks = [
        {
            "each": {
                "for": {"each": "n", "in": "${ [range(300)] }"},
                "do": [{"a": {"set": {"n": 1}}}, {"b": {"set": {"n": 2}}}],
            }
        }
    ]
    world = ran(tasks)
    found = Walk(world.plan_of["o_root"], world.history["o_root"])
    assert len(found.picture(len(found.history))["tasks"]) == 601
    assert found.unlike(msgspec.to_builtins(represent(world.root))) == []


def test_a_note_changes_nothing():
    found = walk(scenes.terminated)
    assert found.moments[-1].command["command"] == "note"
    assert found.moments[-1].difference == []


def test_an_empty_history_cannot_be_walked(trip):
    with pytest.raises(ValueError, match="at least one"):
        Walk(plan_of(trip), [])


def test_every_kind_of_command_has_a_name():
    kinds = {cls for cls in vars(c).values() if isinstance(cls, type) and issubclass(cls, c.Command)} - {c.Command}
    from application import walking

    assert set(walking._NAMES) == kinds
