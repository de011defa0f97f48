"""Replay: decisions made again from what was recorded, and what is said when they differ."""

from __future__ import annotations

import msgspec
import pytest

from application.replay import divergences
from domain import commands as c
from domain import events as e
from domain.redeciding import bare, steps
from tests.support.pure_world import World, done, plan_of, refused

CALL = {"call": "f", "with": {"n": "${ .n + 1 }"}, "output": {"as": "${ {n: (.n * 2), text: $workflow.id} }"}}
UNDONE = {"call": "a", "compensate": {"call": "undo_a", "if": "${ .n > 1 and .n < 9 }"}}
TASKS = [
    {"a": UNDONE},
    {"f": CALL},
    {"b": {"call": "b", "retry": {"delay": {"seconds": 1}, "limit": {"attempt": {"count": 1}}}}},
]


def told(world: World) -> list[e.Event]:
    """The history as it comes back from its stored bytes."""
    raw = [(each.topic, msgspec.msgpack.encode(each)) for each in world.history["o_root"]]
    return [msgspec.msgpack.decode(stored, type=e.TOPICS[topic]) for topic, stored in raw]


@pytest.fixture
def rolled_back() -> World:
    world = World(
        plan_of(TASKS), lambda attempt: refused() if attempt.function == "b" else done({"n": 3}), settle_timeout_s=7
    )
    world.start({"n": 1})
    world.do("o_root", c.AddNote, text="why?", actor="ada", trace="0" * 32, request_id="r1")
    assert world.root.status == "compensated"
    return world


def test_a_history_is_cut_into_its_decisions(rolled_back):
    history = told(rolled_back)
    found = list(steps(history))
    assert [event for step in found for event in step.events] == history
    assert [step.version for step in found][:2] == [1, 4]
    assert [type(step.command()) for step in found] == [c.Start, *[c.ReportResult] * 4, c.AddNote]
    assert {step.limits.settle_timeout_s for step in found} == {7}


def test_a_command_comes_back_whole(rolled_back):
    *_, note = steps(told(rolled_back))
    assert note.command() == c.AddNote(
        at=rolled_back.now, seed=note.basis.seed, actor="ada", text="why?", trace="0" * 32, request_id="r1"
    )


def test_a_history_replays(rolled_back):
    assert list(divergences(rolled_back.plan_of["o_root"], told(rolled_back))) == []


def test_answers_that_stand_in_an_event_are_not_stored_twice(rolled_back):
    [completed] = [
        each for each in told(rolled_back) if isinstance(each, e.TaskCompleted) and each.run.startswith("/do/1")
    ]
    assert completed.basis is not None
    assert [0, "data"] in completed.basis.facts


def test_a_changed_record_is_told_with_its_place(rolled_back):
    history = told(rolled_back)
    [place] = [n for n, each in enumerate(history) if isinstance(each, e.AttemptStarted) and each.function == "f"]
    history[place] = msgspec.structs.replace(history[place], arguments={"n": 77})
    [found, *rest] = divergences(rolled_back.plan_of["o_root"], history)
    assert rest == []
    assert f"differs in version {place + 1}" in found.text()
    assert "77" in found.text()


def test_another_definition_is_told(rolled_back):
    other = plan_of([*TASKS[:2], {"c": {"call": "c"}}])
    first, *_ = divergences(other, told(rolled_back))
    assert first.recorded != first.decided


@pytest.mark.parametrize(("facts", "says"), [((), "never asked"), (([1], [1], [1]), "questions where 3")])
def test_an_answer_too_few_or_too_many_is_told(rolled_back, facts, says):
    history = told(rolled_back)
    first = next(each for each in history if isinstance(each, e.TaskCompleted) and each.run == "/do/0/a#1")
    assert first.basis is not None
    basis = msgspec.structs.replace(first.basis, facts=facts)
    history[history.index(first)] = msgspec.structs.replace(first, basis=basis)
    [found] = divergences(rolled_back.plan_of["o_root"], history)
    assert says in found.text()


def test_a_history_without_bases_cannot_be_verified(rolled_back):
    history = [bare(each) for each in told(rolled_back)]
    [found] = divergences(rolled_back.plan_of["o_root"], history)
    assert "its basis was not recorded" in found.text()
