"""Migrations: at every version of a history to definitions with tasks added, renamed and moved; what is refused and why."""

from __future__ import annotations

import copy

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain import commands as c
from domain import events as e
from domain.errors import InvalidInputError, OrchestrationEndedError
from domain.positions import name_at, path, short
from tests.support.forks import another, facts, known_to
from tests.support.migrations import Slow, advanced, finish, migrated, refusals
from tests.support.pure_world import done, doubt, plan_of, refused
from tests.support.scripted import Scripted, bare, step

NOTHING: dict[str, object] = {"set": {"n": 1}}
TASKS = [
    step("a"),
    {"block": {"do": [step("b"), {"w": {"wait": {"seconds": 10}}}, step("c")]}},
    {"f": {"fork": {"branches": [step("l"), step("r")]}}},
    {"t": {"try": [step("d")], "catch": {"do": [step("mend")]}}},
    {"each": {"for": {"each": "i", "in": "${ [1, 2] }"}, "do": [step("turn", **{"with": {"a": "${ $outputs.a }"}})]}},
    {"many": {"for": {"in": "${ [1, 2, 3] }"}, "parallel": {"limit": 2}, "do": [step("side")]}},
    step("z"),
]


def padded(tasks):
    """A new task before and after each, in every list but that of branches."""
    found = []
    for number, task in enumerate(tasks):
        [(name, body)] = task.items()
        inner = dict(body)
        for member in ("do", "try"):
            if member in inner:
                inner[member] = padded(inner[member])
        if "catch" in inner:
            inner["catch"] = {**inner["catch"], "do": padded(inner["catch"]["do"])}
        found += [{f"new_{name}_{number}": dict(NOTHING)}, {name: inner}]
    return [*found, {"last": {"set": "${ . }"}}]


def renamed(tasks):
    return [{name.upper(): _renamed_inside(body)} for task in tasks for name, body in task.items()]


def _renamed_inside(body):
    inner = dict(body)
    for member in ("do", "try"):
        if member in inner:
            inner[member] = renamed(inner[member])
    if "catch" in inner:
        inner["catch"] = {**inner["catch"], "do": renamed(inner["catch"]["do"])}
    if "fork" in inner:
        inner["fork"] = {"branches": renamed(inner["fork"]["branches"])}
    return inner


MAPPING = {
    "a": "A",
    "block": "BLOCK",
    "block/b": "BLOCK/B",
    "block/w": "BLOCK/W",
    "block/c": "BLOCK/C",
    "f": "F",
    "f/l": "F/L",
    "f/r": "F/R",
    "t": "T",
    "t/d": "T/D",
    "t/catch/mend": "T/catch/MEND",
    "each": "EACH",
    "each/turn": "EACH/TURN",
    "many": "MANY",
    "many/side": "MANY/SIDE",
    "z": "Z",
}


FAILURES = [
    {},
    {"z": refused()},
    {"d": refused()},
    {"r": refused()},
    {"c": doubt()},
    {"turn": refused()},
    {"undo_a": refused()},
]


@pytest.mark.parametrize("plain", FAILURES)
@pytest.mark.parametrize("change", ["the same", "padded", "renamed"])
def test_at_every_version_it_goes_on_where_it_was(plain, change):
    reference = advanced(Slow(TASKS, plain), 99)
    tasks = {"the same": TASKS, "padded": padded(TASKS), "renamed": renamed(TASKS)}[change]
    migrated = 0
    for decisions in range(40):
        world = advanced(Slow(TASKS, plain), decisions)
        digest = known_to(world, another(world.plan_of["o_root"], copy.deepcopy(tasks)))
        members = {"to": digest, "mapping": MAPPING if change == "renamed" else {}, "reason": "mended"}
        if world.root.final:
            with pytest.raises(OrchestrationEndedError):
                world.do("o_root", c.Migrate, **members)
            break
        keys = {run.id: run.key for run in world.root.runs.values()}
        [event] = world.do("o_root", c.Migrate, **members)
        assert isinstance(event, e.OrchestrationMigrated)
        assert {run.id: run.key for run in world.root.runs.values()} == keys
        assert all(run.name == name_at(run.pointer) for run in world.root.runs.values())
        finish(world)
        assert world.root.status == reference.root.status
        assert [name.lower() for name in effects_of(world)] == [name.lower() for name in effects_of(reference)]
        assert world.undone == reference.undone
        migrated += 1
    assert migrated > 3


def effects_of(world):
    return [attempt.function for attempt in world.calls]


@pytest.mark.parametrize("plain", FAILURES)
def test_to_an_equal_definition_nothing_that_follows_changes(plain):
    for decisions in range(12):
        one, other = advanced(Slow(TASKS, plain), decisions), advanced(Slow(TASKS, plain), decisions)
        if one.root.final:
            break
        one.do("o_root", c.AddNote, text="nothing")  # as many seeds are drawn
        other.do("o_root", c.Migrate, to=known_to(other, another(other.plan_of["o_root"])))
        finish(one)
        finish(other)
        assert facts(one.root) == facts(other.root)


def test_the_version_it_has_already_changes_nothing():
    world = Slow([step("a")])
    world.start_it()
    assert world.do("o_root", c.Migrate, to=world.root.digest) == []


def test_back_and_forth_no_two_runs_have_one_name():
    """`a` moves away from its place and comes back, while a loop makes runs of it under both names."""
    four = {"for": {"each": "i", "in": "${ [1, 2, 3, 4] }"}}
    loop = [{"each": {**four, "do": [step("a")]}}]
    later = [{"first": NOTHING}, {"each": {**four, "do": [bare("b"), step("a")]}}]
    world = Slow(loop)
    world.script = {**world.script, "b": None}
    world.start_it()
    one = world.plan_of["o_root"]
    two = another(one, later)
    for plan in (two, one, two):
        known_to(world, plan)
        world.do("o_root", c.Migrate, to=plan.digest)
        world.reply(world.flying[0], done(1))
        if world.flying[0].function == "b":
            world.reply(world.flying[0], done(1))
    finish(world)
    assert world.root.status == "completed"
    assert len({run.id for run in world.root.runs.values()}) == len(world.root.runs)


def test_outputs_are_found_under_the_new_name():
    tasks = [step("a"), {"w": {"wait": {"seconds": 5}}}, {"s": {"set": {"seen": "${ $outputs.a.by }"}}}]
    later = [
        {"first": NOTHING},
        step("b"),
        {"w": {"wait": {"seconds": 5}}},
        {"s": {"set": {"seen": "${ $outputs.b.by }"}}},
    ]
    world = Scripted(tasks)
    world.start_it()
    digest = known_to(world, another(world.plan_of["o_root"], later))
    world.do("o_root", c.Migrate, to=digest, mapping={"a": "b"})
    world.pass_time(10)
    assert world.root.output == {"seen": "a"}
    assert [run.id for run in world.root.runs.values()][:2] == ["/do/0/a#1", "/do/1/w#1"]


# --- what is said


def test_a_compensation_that_was_forgotten_can_be_given_later():
    world = Slow([bare("a"), step("b")], {"b": refused()})
    world.start_it()
    world.answer_to("a", done())
    event = migrated(world, [step("a"), step("b")])
    assert event.undoables == {"/do/0/a#1": "uncertain"}
    assert [each.code for each in event.remarks] == ["compensation-added"]
    finish(world)
    assert world.root.status == "compensated"
    assert world.undone == ["a"]


def test_an_undo_that_cannot_work_is_mended_and_tried_again():
    world = Slow([step("a"), step("b")], {"b": refused(), "undo_a": refused()})
    world.start_it()
    finish(world)
    assert world.root.status == "compensating"
    fine = {"a": {"call": "a", "compensate": {"call": "mend"}}}
    event = migrated(world, [{"first": NOTHING}, fine, step("b")])
    assert "compensation-changed" in [each.code for each in event.remarks]
    world.resolve("retry")
    world.answer_to("mend", done())
    assert world.root.status == "compensated"


def test_of_an_undo_that_is_mended_only_what_is_another_request_has_another_key():
    undo = {"do": [{"refund": {"call": "refund"}}, {"tell": {"call": "tell", "with": {"n": 1}}}]}
    world = Slow([{"a": {"call": "a", "compensate": undo}}, step("b")], {"b": refused(), "tell": refused()})
    world.script = {**world.script, "refund": None, "tell": None}
    world.start_it()
    finish(world)
    mended = {"do": [{"refund": {"call": "refund"}}, {"tell": {"call": "tell", "with": {"n": 2}}}]}
    migrated(world, [{"a": {"call": "a", "compensate": mended}}, step("b")])
    world.plain = {}
    world.resolve("retry")
    finish(world)
    keys = {name: [each.key for each in world.calls if each.function == name] for name in ("refund", "tell")}
    assert (len(keys["refund"]), len(set(keys["refund"]))) == (2, 1)
    assert (len(keys["tell"]), len(set(keys["tell"]))) == (2, 2)
    assert world.root.status == "compensated"


def test_a_task_that_nobody_will_come_to_is_told():
    world = Slow([step("a")])
    world.start_it()
    event = migrated(world, [{"first": NOTHING}, step("a"), {"last": NOTHING}])
    assert [(each.code, each.pointer) for each in event.remarks] == [("passed-over", "/do/0/first")]


def test_a_task_that_was_still_to_come_and_is_passed_over_is_told():
    world = Slow([step("a"), {"later": NOTHING}])
    world.start_it()
    event = migrated(world, [{"later": NOTHING}, step("a")])
    assert [(each.code, each.pointer) for each in event.remarks] == [("passed-over", "/do/0/later")]


def test_a_pivot_of_the_new_version_does_not_hold_for_what_was_done():
    world = Slow([bare("a"), step("b")], {"b": refused()})
    world.start_it()
    world.answer_to("a", done())
    event = migrated(world, [{"a": {"call": "a", "pivot": True}}, step("b")])
    assert [each.code for each in event.remarks] == ["pivot-kept"]
    finish(world)
    assert world.root.status == "faulted"


def test_while_suspended_results_wait_as_before():
    world = Slow([step("a"), step("b")])
    world.start_it()
    world.do("o_root", c.Suspend)
    world.answer_to("a", done({"by": "a"}))
    migrated(world, [{"first": NOTHING}, step("a"), step("b")])
    world.do("o_root", c.Resume)
    finish(world)
    assert world.root.status == "completed"


def test_a_child_keeps_its_own_definition():
    child = {"run": {"workflow": {"namespace": "test", "name": "child", "version": "1.0.0"}}}
    small = msgspec.structs.replace(plan_of([step("g")]), name="child", digest="sha256:child")
    world = Scripted({"x": plan_of([{"k": child}]), "child": small}, {"g": None})
    world.start_it()
    migrated(world, [{"first": NOTHING}, {"k": child}])
    world.answer_to("g", done())
    assert world.root.status == "completed"
    [kid] = set(world.states) - {"o_root"}
    assert world.states[kid].digest == "sha256:child"
    other = [{"k": {"run": {"workflow": {"namespace": "test", "name": "another", "version": "1.0.0"}}}}]
    again = Scripted({"x": plan_of([{"k": child}]), "child": small}, {"g": None})
    again.start_it()
    assert refusals(again, another(again.plan_of["o_root"], other)) == ["other-call"]


# --- names


def test_names_leave_indices_out_and_keep_what_a_person_needs():
    assert path("/do/2/book/do/0/hotel") == ("do", "book", "do", "hotel")
    assert short("/do/2/book/do/0/hotel") == "book/hotel"
    assert short("/do/2/t/catch/do/0/x") == "t/catch/x"
    assert short("/do/2/a~1b/compensate/do/1/0") == "a/b/compensate/0"
    assert short("/do/1/f/fork/branches/0/left") == "f/left"
    assert short("/do/1/do/do/0/try") == "do/try"
    assert path("/do/3/fn/call/do/do/0/x") == ("do", "fn", "call", "do", "do", "x")


@settings(max_examples=60, deadline=None)
@given(st.permutations([0, 1, 2, 3]), st.integers(0, 6), st.sets(st.integers(0, 3)))
def test_wherever_tasks_are_moved_effects_keep_their_undo(order, decisions, gone):
    """Four tasks in a sequence: a migration either keeps every effect undoable, or is refused."""
    tasks = [step(name) for name in "abcr"]
    world = advanced(Slow(tasks), decisions)
    if world.root.final:
        return
    later = [tasks[n] for n in order if n not in gone] or [step("z")]
    digest = known_to(world, another(world.plan_of["o_root"], later))
    try:
        world.do("o_root", c.Migrate, to=digest)
    except InvalidInputError:
        known = [n for n in range(4) if "abcr"[n] in {run.name for run in world.root.runs.values()}]
        assert gone & set(known) or [n for n in order if n in known] != known
        return
    done_before = [run.name for run in world.root.runs.values() if not run.open]
    assert len(world.root.open) == 1
    world.do("o_root", c.Cancel)
    finish(world)
    assert world.root.status == "cancelled"
    assert world.undone[-len(done_before) :] == done_before[::-1] or not done_before
