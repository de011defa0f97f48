"""Forks: at every version of the examples' histories, whatever happens before and after. Nothing is called twice, nothing is
undone under another name, and the original stays as it was.
"""

from __future__ import annotations

import copy

import msgspec
import pytest

from application.history import event_json
from domain import commands as c
from domain.errors import InvalidInputError
from domain.forking import folded, not_from, unanswered
from domain.lineage import conflicts, remarks
from domain.prefix import packed
from tests.support.examples_script import Script, example, name_of
from tests.support.forks import another, boundaries, fork, known_to
from tests.support.pure_world import World, done, doubt, plan_of, refused
from tests.support.scripted import Scripted, step

SIGNUP, ORDER, QUOTES = example("signup/signup.yaml"), example("order/order.yaml"), example("quotes/quotes.yaml")
TRIP, SHIPPING = example("trip/trip.yaml"), example("order/shipping.yaml")
CONFIRMED, COLLECTED = "com.example.registration.confirmed.v1", "com.example.parcel.collected.v1"
EXAMPLES = {
    "trip": ((TRIP,), {"traveller": "Ada", "city": "Turin", "card": "4711"}),
    "order": ((ORDER, SHIPPING), {"sku": "teapot", "quantity": 2, "country": "Italy", "card": "4711"}),
    "signup": ((SIGNUP,), {"first_name": "Ada", "last_name": "Lovelace", "email": "ada@example.com"}),
    "quotes": ((QUOTES,), {"amount": 250_000, "years": 20}),
}
CALLS = {
    "trip": ["put cars", "put hotels", "put flights", "put payments"],
    "order": ["reserveStock", "put payments", "put shipments"],
    "signup": ["put accounts", "put mails", "put activations"],
    "quotes": ["get banks/alpine", "get banks/meadow"],
}
FINAL = {"completed", "faulted", "compensated", "cancelled", "terminated"}


class Fallible(Script):
    """Participants that may be told to answer something else from now on."""

    def __init__(self, **answers):
        super().__init__(**answers)
        self.default = _offer


def _offer(attempt):
    name = name_of(attempt)
    return {"bank": name.rpartition("/")[2], "rate": 4.0, "id": attempt.orchestration}


def lived(name, failing=None, result=None):
    """The life of an example, to its end."""
    plans, input_ = EXAMPLES[name]
    script = Fallible()
    if failing is not None:
        script.answers[failing] = [result] * 9
    world = World({plan.name: plan for plan in plans}, script)
    world.start(input_)
    finish(world)
    return world, script


def finish(world, *ids):
    """Let time pass and events come until all have ended."""
    for _ in range(6):
        world.pass_time(120)
        for id_, state in list(world.states.items()):
            if not state.final and any(run.listening is not None for run in state.attended()):
                kind = COLLECTED if "shipping" in state.definition else CONFIRMED
                subject = (state.parent or ("o_root",))[0]
                world.receive(kind, id_=id_, subject=subject)
            for incident in state.open_incidents():
                action = "fail" if "fail" in incident.actions else "skip"
                world.do(id_, c.Resolve, number=incident.number, action=action, reason="so be it")
    for id_ in ids:
        assert world.states[id_].status in FINAL, world.states[id_].status


def stories():
    yield from ((name, None, None) for name in EXAMPLES)
    for name, calls in CALLS.items():
        for call in calls:
            yield name, call, "refused"
            yield name, call, "doubt"


RESULTS = {"refused": refused(), "doubt": doubt()}


@pytest.mark.parametrize(("name", "failing", "how"), list(stories()))
@pytest.mark.parametrize("after", ["done", "refused", "cancel"])
def test_a_fork_at_every_version_goes_its_own_way(name, failing, how, after):
    world, script = lived(name, failing, RESULTS.get(how))
    original, sent = copy.deepcopy(world.root), {attempt.key for attempt in script.attempts}
    forks = 0
    for version in boundaries(world):
        then = folded(packed(world.history["o_root"][:version]))
        script.answers = {} if after != "refused" else {call: [refused()] * 9 for call in CALLS[name][-2:]}
        script.attempts.clear()
        if not_from(then) is not None:
            with pytest.raises(InvalidInputError):
                fork(world, version, f"o_fork{version}")
            continue
        forks += 1
        id_ = f"o_fork{version}"
        fork(world, version, id_)
        if after == "cancel" and not world.states[id_].final and world.states[id_].pivot_passed is None:
            world.do(id_, c.Cancel, reason="enough")
        finish(world, id_)
        check(world, script, then, id_, version, sent)
    assert world.root == original
    assert forks > 0


def check(world, script, then, id_, version, sent):
    """What must be true of a fork."""
    state = world.states[id_]
    assert state.forked_from == ("o_root", version)
    mine = [attempt for attempt in script.attempts if attempt.orchestration == id_]
    done_before = {run.name for run in then.runs.values() if run.effect == "completed" and not run.open}
    assert not {state.runs[attempt.run].name for attempt in mine if attempt.compensates is None} & done_before
    assert not {attempt.key for attempt in mine} & sent, "a key of the original was sent again"
    keys = {run.key: run for run in state.runs.values() if run.key}
    for attempt in mine:
        if attempt.compensates is None:
            continue
        undone = keys[attempt.compensates]
        owner = undone.origin or id_
        assert (undone.origin == "o_root") == (undone.id in then.runs and not then.runs[undone.id].open)
        endpoint = str(attempt.arguments.get("endpoint", attempt.arguments))
        assert owner in endpoint, "an undo speaks of the orchestration that did it"
    fresh = [run for run in state.runs.values() if run.id not in then.runs]
    assert all(run.order > 0 for run in fresh if run.order)
    assert all(run.began < 0 for run in state.runs.values() if run.id in then.runs and run.began)


@pytest.mark.parametrize("name", list(EXAMPLES))
def test_without_a_change_it_gets_where_its_original_got(name):
    world, _ = lived(name)
    for version in boundaries(world)[:-1]:
        if not_from(folded(packed(world.history["o_root"][:version]))) is not None:
            continue
        id_ = f"o_fork{version}"
        fork(world, version, id_)
        finish(world, id_)
        assert world.states[id_].status == world.root.status == "completed"
        assert str(world.states[id_].output).replace(id_, "o_root") == str(world.root.output)


def test_a_fork_of_a_fork_keeps_the_order_of_undoing_and_every_origin():
    tasks = [step("a"), step("b"), step("c"), step("d")]
    world = Scripted(tasks, {"d": [done(), done(), refused()]})
    world.start_it()
    fork(world, boundaries(world)[1], "o_one")
    assert world.states["o_one"].status == "completed"
    assert [run.origin for run in world.states["o_one"].runs.values()] == ["o_root", "o_root", None, None, None]
    fork(world, boundaries(world, "o_one")[1], "o_two", of="o_one")
    state = world.states["o_two"]
    assert state.status == "compensated"
    assert world.undone == ["c", "b", "a"]
    owners = {run.name: run.origin for run in state.runs.values() if run.status == "compensated"}
    assert owners == {"a": "o_root", "b": "o_one", "c": None}
    assert state.forked_from == ("o_one", boundaries(world, "o_one")[1])


def test_times_stand_still_between_fork_point_and_start():
    world = World(plan_of([{"w": {"wait": {"seconds": 100}}}], timeout={"after": {"hours": 1}}), lambda _: done())
    world.start()
    world.pass_time(50)
    world.do("o_root", c.AddNote, text="half way")
    world.pass_time(10_000)
    assert world.root.status == "completed"
    fork(world, 4, "o_fork")
    state = world.states["o_fork"]
    assert state.status == "running"
    assert state.timeout_at is not None
    due_at = state.next_due()
    assert due_at is not None
    assert (due_at - world.now).total_seconds() == 50
    assert (state.timeout_at - world.now).total_seconds() == 3550


def test_another_input_is_seen_by_what_comes_next():
    world = Scripted(
        [{"a": {"call": "a", "with": {"n": "${ $workflow.input.n }", "dot": "${ . }"}}}, {"b": {"call": "b"}}]
    )
    world.start_it({"n": 1})
    fork(world, boundaries(world)[0], input={"n": 2})
    assert world.calls[-2].arguments == {"n": 2, "dot": {"n": 2}}
    assert world.states["o_fork"].input == {"n": 2}
    assert world.root.input == {"n": 1}


def test_a_fork_under_another_version_goes_on_by_it():
    world = Scripted([step("a"), step("b"), step("c")], {"b": refused()})
    world.start_it()
    mended = another(world.plan_of["o_root"], [step("a"), step("b2", call="fine"), step("c")])
    digest = known_to(world, mended)
    [_, before_b, *_] = boundaries(world)
    with pytest.raises(InvalidInputError) as refusal:
        fork(world, before_b, to=digest)
    assert [problem.code for problem in refusal.value.problems] == ["no-task"]
    state = fork(world, before_b, "o_two", to=digest, mapping={"b": "b2"})
    assert state.status == "completed"
    assert state.definition == "test/x@1.1.0"
    assert [event.topic for event in world.history["o_two"]][:2] == ["orchestration.forked", "orchestration.migrated"]


def test_the_history_shows_the_input_of_a_fork_and_not_what_it_carries():
    world = Scripted([step("a")])
    world.start_it({"n": 1})
    fork(world, boundaries(world)[0], "o_one")
    fork(world, boundaries(world, "o_one")[0], "o_two", of="o_one")
    shown = event_json(world.history["o_two"][0], 1)["data"]
    assert shown["input"] == {"n": 1}
    assert shown["origin"] == {"id": "o_one", "version": boundaries(world, "o_one")[0], "hash": ""}
    assert not {"prefix", "basis"} & set(shown)


def test_a_suspended_original_gives_a_fork_that_goes_on_with_what_had_come():
    world = Scripted([step("a"), step("b")], {"a": None})
    world.start_it()
    world.do("o_root", c.Suspend)
    world.answer_to("a", done({"by": "hand"}))
    assert world.root.recorded
    state = fork(world, boundaries(world)[-1])
    assert state.status == "completed"
    assert state.runs["/do/0/a#1"].origin == "o_root"
    assert world.called == ["a", "b"]
    assert world.root.suspended


def test_what_ended_in_doubt_is_tried_again_as_what_it_was():
    """Inside a ``try``: the same run, under the original's key and id; so a participant that keeps keys does it once."""
    retry = {"retry": {"delay": {"seconds": 9}, "limit": {"attempt": {"count": 3}}}}
    asked = {"call": "a", "with": {"of": "${ $workflow.id }"}, "compensate": {"call": "undo_a"}}
    world = Scripted([{"t": {"try": [{"a": asked}], "catch": retry}}], {"a": [doubt(), doubt(), done()]})
    world.start_it()
    first = world.calls[-1]
    assert world.root.open == {"/do/0/t#1": None}
    fork(world, boundaries(world)[-1])
    world.pass_time(9)
    again = [attempt for attempt in world.calls if attempt.orchestration == "o_fork"]
    assert [(each.key, each.number, each.arguments) for each in again] == [(first.key, 2, {"of": "o_root"})]


def test_children_of_the_original_are_left_to_it():
    child = {"run": {"workflow": {"namespace": "test", "name": "child", "version": "1.0.0"}}}
    small = another(plan_of([step("g")]), version="9.9.9")
    small = msgspec.structs.replace(small, name="child", digest="sha256:child")
    world = Scripted({"x": plan_of([{"k": child}, step("z")]), "child": small}, {"z": [done(), refused()]})
    world.start_it()
    assert world.root.status == "completed"
    then = then_at(world, 1)
    assert [each.code for each in remarks(then, world.root)] == ["child-not-undone"]
    state = fork(world, boundaries(world)[1])
    assert state.status == "faulted"
    [left] = state.rollbacks[""].left_behind
    assert "child belongs to" in left.why


# --- what a fork would do harm to


def lived_tasks(tasks, script):
    world = Scripted(tasks, script)
    world.start_it()
    return world


def then_at(world, number):
    """The state at the end of a decision."""
    return folded(packed(world.history["o_root"][: boundaries(world)[number]]))


def test_what_the_original_has_undone_since_is_a_conflict():
    world = lived_tasks([step("a"), step("b")], {"b": refused()})
    [found] = conflicts(then_at(world, 1), world.root, settled=True)
    assert (found.code, found.pointer) == ("effect-undone", "/do/0/a")
    assert list(conflicts(then_at(world, 0), world.root, settled=True)) == []


def test_what_was_under_way_and_took_effect_is_a_conflict():
    world = lived_tasks([step("a"), step("b")], {})
    then = then_at(world, 0)
    assert [each.code for each in conflicts(then, world.root, settled=True)] == ["effect-repeated"]
    assert [each.code for each in remarks(then, world.root)] == ["effect-after-fork"]


def test_what_a_completed_original_stands_on_is_a_conflict():
    world = lived_tasks([step("a"), step("b"), {"w": {"wait": {"seconds": 1}}}], {})
    world.pass_time(2)
    found = [(each.code, each.pointer) for each in conflicts(then_at(world, 2), world.root, settled=True)]
    assert found == [("effect-in-use", "/do/1/b"), ("effect-in-use", "/do/0/a")]


def test_an_unfinished_original_is_a_conflict():
    world = lived_tasks([step("a"), step("b")], {"b": None})
    found = [each.code for each in conflicts(then_at(world, 0), world.root, settled=False)]
    assert found == ["original-unfinished", "effect-repeated"]


def test_only_what_is_unanswered_begins_anew():
    tasks = [{"f": {"fork": {"branches": [step("a"), step("b"), {"w": {"wait": {"seconds": 9}}}]}}}]
    world = Scripted(tasks, {"a": None, "b": None})
    world.start_it()
    world.answer_to("b", doubt())
    then = world.root
    assert [name for name in then.open if unanswered(then.runs[name])] == ["/do/0/f/fork/branches/0/a#1"]
