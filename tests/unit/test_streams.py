"""``streams``: events of a stream are offered in the order of their numbers; early ones wait, repeats and late ones are told."""

import itertools
import json

import pytest

from adapters.stored_states import StateMapper
from application.status import waiting_for
from application.walking import Walk
from domain import commands as c
from domain.errors import InvalidInputError, OrchestrationEndedError, OverloadedError
from tests.support.flows import echo, never, ran, runs_of
from tests.support.forks import another, boundaries, fork, known_to
from tests.support.what_if import walked, what_if

PAPERS = {"papers": {"with": {"type": "paper"}}}
GAP = {"papers": {"with": {"type": "paper"}, "gap": {"after": {"minutes": 5}}}}
SKIP = {"papers": {"with": {"type": "paper"}, "gap": {"after": {"minutes": 5}, "then": "continue"}}}


def collect(count, **more):
    to = {"any": [{"with": {"type": "paper"}}], "until": f"length == {count}"}
    return [{"collect": {"listen": {"to": to}, **more}}]


def waiting(count=3, streams=PAPERS, tasks=None, answer=echo, **more):
    return ran(tasks or collect(count), streams=streams, answer=answer, **more)


def send(world, number, data=None, **attributes):
    """Send a paper; gives the outcome that was recorded last, None when nothing was."""
    events = world.receive("paper", number if data is None else data, **{"sequence": number, **attributes})
    return next((event.outcome for event in events if event.topic == "event.received"), None)


def taken(world, name="collect"):
    return runs_of(world.root, name)[0].listening.values


# In order -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("numbers", list(itertools.permutations([1, 2, 3, 4])))
def test_whatever_comes_first_the_order_is_that_of_the_numbers(numbers):
    world = waiting(4)
    for number in numbers:
        send(world, number)
    assert (world.root.status, world.root.output, world.root.parked) == ("completed", [1, 2, 3, 4], 0)


def test_what_comes_early_is_parked_until_what_is_missing_has_come():
    world = waiting(3)
    assert [send(world, number) for number in (3, 2)] == ["parked", "parked"]
    assert (taken(world), world.root.parked, world.root.held) == ([], 2, [])
    assert send(world, 1) == "matched"
    assert world.root.output == [1, 2, 3]
    assert world.root.parked == 0


def test_parked_and_received_before_anybody_waits():
    world = waiting(3, tasks=[{"w": {"wait": {"seconds": 5}}}, *collect(3)])
    assert [send(world, number) for number in (2, 1, 3)] == ["parked", "held", "held"]
    assert [held.event["data"] for held in world.root.held] == [1, 2, 3]
    world.pass_time(5)
    assert world.root.output == [1, 2, 3]


def test_tasks_one_after_the_other_take_what_was_set_free_in_one_decision():
    steps = [{name: {"listen": {"to": {"one": {"with": {"type": "paper", "kind": name}}}}}} for name in "abc"]
    world = waiting(tasks=steps)
    for number, kind in ((3, "c"), (2, "b"), (1, "a")):
        send(world, number, kind=kind)
    assert world.root.status == "completed"
    assert [runs_of(world.root, name)[0].data for name in "abc"] == [[1], [2], [3]]


@pytest.mark.parametrize("kinds", list(itertools.permutations("abc")))
def test_filters_that_need_jq_lose_nothing_either(kinds):
    def step(name):
        return {
            name: {"listen": {"to": {"one": {"with": {"type": '${ . == "paper" }', "kind": f'${{ . == "{name}" }}'}}}}}
        }

    streams = {"papers": {"with": {"type": '${ . == "paper" }'}, "order": {"by": "${ .sequence + 0 }"}}}
    world = waiting(tasks=[step(name) for name in "abc"], streams=streams)
    for kind in kinds:
        send(world, "abc".index(kind) + 1, kind=kind)
    assert world.root.status == "completed"


def test_turns_follow_the_order():
    task = {"c": {"call": "f", "with": {"n": "${ $item }"}}}
    world = waiting(3, tasks=collect(3, foreach={"do": [task]}), answer=never)
    for number in (3, 1, 2):
        send(world, number)
    for number in (1, 2, 3):
        assert [attempt.arguments for attempt in world.flying] == [{"n": number}]
        world.reply(world.flying[0], echo(world.flying[0]))
    assert world.root.output == [{"n": 1}, {"n": 2}, {"n": 3}]


def test_one_that_is_set_free_serves_every_listen_that_waits():
    branches = [
        {name: {"listen": {"to": {"any": [{"with": {"type": "paper"}}], "until": "length == 2"}}}} for name in "ab"
    ]
    world = waiting(tasks=[{"f": {"fork": {"branches": branches}}}])
    send(world, 2)
    send(world, 1)
    assert world.root.output == [[1, 2], [1, 2]]


def test_events_of_no_stream_are_taken_as_they_come():
    to = {"any": [{"with": {"type": "paper"}}, {"with": {"type": "other"}}], "until": "length == 3"}
    world = waiting(tasks=[{"collect": {"listen": {"to": to}}}])
    send(world, 2)
    world.receive("other", "x")
    send(world, 1)
    assert world.root.output == ["x", 1, 2]


# Numbers ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [1, "1", "0001", 1.0])
def test_numbers_may_come_as_text(value):
    assert send(waiting(), value) == "matched"


@pytest.mark.parametrize("value", [None, "x", "1.5", 1.5, True, "", [1], 2**53, "9" * 17])
def test_an_event_without_a_number_cannot_be_put_in_order(value):
    with pytest.raises(InvalidInputError) as why:
        send(waiting(), value, data=0)
    assert [(problem.pointer, problem.code) for problem in why.value.problems] == [("/sequence", "no-number")]


def test_by_an_attribute_or_an_expression_and_from_another_number():
    for order in ({"by": "place", "from": 0}, {"by": "${ .place + 10 }", "from": 10}):
        world = waiting(2, {"papers": {"with": {"type": "paper"}, "order": order}})
        assert [send(world, None, data=n, place=n) for n in (1, 0)] == ["parked", "matched"]
        assert world.root.output == [0, 1]


def test_an_expression_that_gives_no_number_is_refused():
    world = waiting(2, {"papers": {"with": {"type": "paper"}, "order": {"by": '${ error("no") }'}}})
    with pytest.raises(InvalidInputError) as why:
        send(world, 1)
    assert [problem.pointer for problem in why.value.problems] == [""]


def test_each_key_has_an_order_of_its_own():
    world = waiting(4, {"papers": {"with": {"type": "paper"}, "order": {"per": ".subject"}}})
    sent = [(2, "a"), (1, "b"), (2, "b"), (1, "a")]
    outcomes = [send(world, number, f"{key}{number}", subject=key) for number, key in sent]
    assert outcomes == ["parked", "matched", "matched", "matched"]
    assert world.root.output == ["b1", "b2", "a1", "a2"]


@pytest.mark.parametrize("subject", [None, ["a"], 1.5, "x" * 1025])
def test_an_event_without_a_key_is_refused(subject):
    world = waiting(4, {"papers": {"with": {"type": "paper"}, "order": {"per": ".subject"}}})
    with pytest.raises(InvalidInputError):
        send(world, 1, subject=subject)


def test_the_first_stream_that_wants_an_event_has_it():
    mine = {"with": {"type": "paper", "data": "${ . == $workflow.input.n }"}}
    world = waiting(2, {"mine": mine, **PAPERS}, tasks=collect(2), input_={"n": 7})
    assert [send(world, 2, 1), send(world, 1, 7), send(world, 1, 2)] == ["parked", "matched", "matched"]
    assert world.root.output == [7, 2]


# Twice, late ----------------------------------------------------------------------------------------------------------------


def test_the_same_number_again_is_a_duplicate_whether_parked_or_taken():
    world = waiting(3)
    assert [send(world, n) for n in (2, 2, 1, 1, 2)] == ["parked", "duplicate", "matched", "duplicate", "duplicate"]
    assert taken(world) == [1, 2]


def test_the_same_event_again_is_recorded_but_not_without_end():
    world = waiting(5, limits={"max_held": 3})
    send(world, 2, id="same")
    assert [send(world, 2, id="same") for _ in range(5)] == ["duplicate"] * 3 + [None] * 2
    assert world.root.repeats == 3


def test_below_the_first_number_is_late():
    world = waiting(2, {"papers": {"with": {"type": "paper"}, "order": {"from": 5}}})
    assert [send(world, n) for n in (4, 5)] == ["late", "matched"]


def test_what_was_skipped_comes_late():
    world = waiting(3, SKIP)
    send(world, 3)
    world.pass_time(300)
    assert [send(world, n) for n in (1, 3, 2, 2)] == ["late", "duplicate", "late", "late"]
    assert taken(world) == [3]


def test_after_the_end():
    world = waiting(1)
    send(world, 1, id="first")
    with pytest.raises(OrchestrationEndedError):
        send(world, 2)
    assert send(world, 1, id="first") is None


# Gaps -----------------------------------------------------------------------------------------------------------------------


def test_a_gap_that_lasts_too_long_is_an_error_of_whoever_waits():
    world = waiting(3, GAP)
    send(world, 1)
    send(world, 3)
    world.pass_time(299)
    assert world.root.status == "running"
    world.pass_time(1)
    fault = world.root.fault
    assert (world.root.status, fault.type, fault.status) == ("faulted", "https://retrace.invalid/errors/event-gap", 408)
    assert fault.instance == "/do/0/collect"
    assert fault.detail == "the stream papers lacks 2, and 1 wait behind"


def test_it_can_be_caught_and_tried_again():
    catch = {
        "errors": {"with": {"type": "https://retrace.invalid/errors/event-gap"}},
        "retry": {"delay": {"minutes": 1}, "limit": {"attempt": {"count": 2}}},
    }
    world = waiting(tasks=[{"t": {"try": collect(2), "catch": catch}}], streams=GAP)
    send(world, 2)
    world.pass_time(300)
    assert (world.root.status, runs_of(world.root, "t")[0].caught) == ("running", 1)
    world.pass_time(60)  # the gap is still there, so there is nothing to wait for
    assert runs_of(world.root, "t")[0].caught == 2
    send(world, 1)
    world.pass_time(60)
    assert world.root.output == [1, 2]


def test_the_deadline_begins_with_each_gap():
    world = waiting(5, GAP)
    send(world, 2)
    world.pass_time(200)
    send(world, 4)  # the gap before 2 is the older one
    world.pass_time(99)
    send(world, 1)
    world.pass_time(299)
    assert world.root.status == "running"
    world.pass_time(1)
    assert world.root.fault.detail == "the stream papers lacks 3, and 1 wait behind"


def test_going_on_without_what_is_missing():
    world = waiting(3, SKIP)
    for number in (2, 6, 3):
        send(world, number)
    world.pass_time(300)
    assert taken(world) == [2, 3]
    world.pass_time(300)
    assert world.root.output == [2, 3, 6]
    skipped = [(event.first, event.last) for event in world.history["o_root"] if event.topic == "gap.skipped"]
    assert skipped == [(1, 1), (4, 5)]


def test_without_a_deadline_it_waits_for_ever():
    world = waiting(3)
    send(world, 2)
    world.pass_time(10_000_000)
    assert world.root.status == "running"


def test_while_nobody_waits_for_the_stream_a_gap_does_no_harm():
    tasks = [
        {"w": {"wait": {"hours": 1}}},
        {"other": {"listen": {"to": {"one": {"with": {"type": "other"}}}}}},
        *collect(2),
    ]
    world = waiting(tasks=tasks, streams=GAP)
    send(world, 2)
    world.pass_time(3600)
    assert [run.listening.streams for run in runs_of(world.root, "other")] == [()]
    world.pass_time(3600)
    assert world.root.status == "running"
    world.receive("other")
    world.pass_time(0)
    assert world.root.status == "faulted"


def test_whoever_begins_to_wait_finds_an_old_gap_due_but_takes_what_is_there_first():
    tasks = [{"w": {"wait": {"hours": 1}}}, *collect(1), {"more": collect(1)[0]["collect"]}]
    world = waiting(tasks=tasks, streams=GAP)
    send(world, 1)
    send(world, 3)
    world.pass_time(3600)
    assert (world.root.status, world.root.fault.instance) == ("faulted", "/do/2/more")


@pytest.mark.parametrize(
    ("filter_", "streams"),
    [
        ({"type": "paper"}, ("papers",)),
        ({"type": "other"}, ()),
        ({"source": "s"}, ("papers",)),
        ({"type": '${ test("p") }'}, ("papers",)),
    ],
)
@pytest.mark.parametrize(
    "stream", [{"type": "paper"}, {"type": '${ startswith("pa") }'}, {"type": "paper", "source": "s"}]
)
def test_which_streams_a_listen_waits_for(filter_, stream, streams):
    world = waiting(tasks=[{"l": {"listen": {"to": {"one": {"with": filter_}}}}}], streams={"papers": {"with": stream}})
    assert runs_of(world.root, "l")[0].listening.streams == streams


def test_of_two_that_wait_each_has_the_error():
    branches = [
        {f"b{name}": {"try": collect(2), "catch": {"do": [{name: {"set": {"caught": name}}}]}}} for name in "xy"
    ]
    world = waiting(tasks=[{"f": {"fork": {"branches": branches}}}], streams=GAP)
    send(world, 2)
    world.pass_time(300)
    assert world.root.output == [{"caught": "x"}, {"caught": "y"}]


def test_a_gap_is_skipped_once_for_all():
    branches = [{name: collect(2)[0]["collect"]} for name in "ab"]
    world = waiting(tasks=[{"f": {"fork": {"branches": branches}}}], streams=SKIP)
    send(world, 2)
    send(world, 3)
    world.pass_time(300)
    assert world.root.output == [[2, 3], [2, 3]]
    assert world.topics().count("gap.skipped") == 1


def test_a_turn_in_progress_is_awaited_when_the_gap_becomes_an_error():
    task = {"c": {"call": "f", "with": {}}}
    world = waiting(3, GAP, tasks=collect(3, foreach={"do": [task]}), answer=never)
    send(world, 1)
    send(world, 3)
    world.pass_time(300)
    assert world.root.status == "running"
    world.reply(world.flying[0], echo(world.flying[0]))
    assert world.root.status == "faulted"
    assert runs_of(world.root, "c")[0].effect == "completed"


# Bounds ---------------------------------------------------------------------------------------------------------------------


def test_parked_and_held_share_one_limit():
    world = waiting(9, limits={"max_held": 3})
    for number in (3, 4, 5):
        send(world, number)
    with pytest.raises(OverloadedError):
        send(world, 6)
    assert send(world, 4) == "duplicate"
    send(world, 1)
    send(world, 2)
    assert taken(world) == [1, 2, 3, 4, 5]
    assert send(world, 6) == "matched"


def test_what_closes_a_gap_is_not_turned_away_for_those_that_wait_for_it():
    tasks = [
        {"w": {"wait": {"hours": 1}}},
        {"l": {"listen": {"to": {"one": {"with": {"type": "paper", "kind": "last"}}}}}},
    ]
    world = waiting(tasks=tasks, limits={"max_held": 3})
    for number in (3, 4, 5):
        send(world, number, kind="last")
    assert [send(world, 1), send(world, 2)] == ["held", "held"]
    with pytest.raises(OverloadedError):
        send(world, 6)
    world.pass_time(3600)
    assert world.root.output == [3]


# Suspend, cancel, end -------------------------------------------------------------------------------------------------------


def test_while_suspended_the_order_is_kept_and_nothing_is_offered():
    world = waiting(3)
    world.do("o_root", c.Suspend)
    assert [send(world, n) for n in (3, 1, 2)] == ["parked", "held", "held"]
    assert taken(world) == []
    world.do("o_root", c.Resume)
    assert world.root.output == [1, 2, 3]


def test_a_deadline_that_passed_while_suspended_counts_at_resume_unless_the_event_came():
    for comes in (False, True):
        world = waiting(2, GAP)
        send(world, 2)
        world.do("o_root", c.Suspend)
        world.pass_time(1000)
        if comes:
            send(world, 1)
        world.do("o_root", c.Resume)
        assert world.root.status == ("completed" if comes else "faulted")


def test_skipping_at_resume():
    world = waiting(2, SKIP)
    send(world, 2)
    send(world, 3)
    world.do("o_root", c.Suspend)
    world.pass_time(1000)
    world.do("o_root", c.Resume)
    assert world.root.output == [2, 3]


def test_a_cancel_ends_the_waiting_and_no_gap_matters_any_more():
    undone = {"call": "undo"}
    tasks = [{"book": {"call": "book", "compensate": undone}}, *collect(3)]
    pending = []

    def slow(attempt):
        return pending.append(attempt) if attempt.function == "undo" else echo(attempt)

    world = waiting(tasks=tasks, streams=GAP, answer=slow)
    send(world, 2)
    world.do("o_root", c.Cancel)
    assert world.root.status == "compensating"
    assert send(world, 3) == "parked"
    world.pass_time(1000)
    world.reply(world.flying[0], echo(world.flying[0]))
    assert world.root.status == "cancelled"
    assert "gap.skipped" not in world.topics()


def test_an_undo_that_waits_for_a_stream_has_its_order_and_its_deadline():
    tasks = [
        {"book": {"call": "book", "compensate": {"do": collect(2)}}},
        {"stop": {"listen": {"to": {"one": {"with": {"type": "x"}}}}}},
    ]
    world = waiting(tasks=tasks, streams=SKIP)
    world.do("o_root", c.Cancel)
    send(world, 2)
    send(world, 3)
    world.pass_time(300)
    assert world.root.status == "cancelled"


def test_terminated_with_parked_events():
    world = waiting(3, GAP)
    send(world, 2)
    world.do("o_root", c.Terminate)
    world.pass_time(1000)
    assert world.root.status == "terminated"


# Forks, migrations -----------------------------------------------------------------------------------------------------------


def test_a_fork_has_what_was_parked_and_the_rest_of_the_patience():
    world = waiting(3, GAP)
    send(world, 3, id="e3")
    world.pass_time(100)
    send(world, 2, id="e2")
    version = boundaries(world)[-1]
    world.pass_time(150)
    forked = fork(world, version)
    world.pass_time(199)  # the original has ended, for it was forked 100 seconds before
    assert (world.root.status, forked.status) == ("faulted", "running")
    world.pass_time(102)
    assert forked.status == "faulted"


def test_a_fork_goes_its_own_way():
    world = waiting(3, GAP)
    send(world, 3)
    forked = fork(world, boundaries(world)[-1])
    world.receive("paper", 1, id_="o_fork", sequence=1)
    world.receive("paper", 2, id_="o_fork", sequence=2)
    assert (forked.output, world.root.status) == ([1, 2, 3], "running")


def migrate(world, **top):
    plan = another(world.plan_of["o_root"], **top)
    world.do("o_root", c.Migrate, to=known_to(world, plan))


def test_a_stream_goes_on_by_name_when_the_definition_is_another_one():
    world = waiting(3, GAP)
    send(world, 2)
    migrate(world, streams=SKIP)
    assert "stream.closed" not in world.topics()
    send(world, 3)
    world.pass_time(300)
    assert taken(world) == [2, 3]


def test_a_stream_that_is_gone_sets_free_what_was_parked():
    world = waiting(3, GAP)
    send(world, 3)
    send(world, 2)
    migrate(world, streams={})
    assert (taken(world), world.root.parked, world.root.streams) == ([2, 3], 0, {})
    assert send(world, 7) == "matched"


@pytest.mark.parametrize("suspended", [False, True])
def test_a_stream_that_is_new_begins_and_knows_who_waits(suspended):
    world = waiting(3, {})
    if suspended:
        world.do("o_root", c.Suspend)
    migrate(world, streams=GAP)
    assert runs_of(world.root, "collect")[0].listening.streams == ("papers",)
    assert send(world, 2) == "parked"
    world.pass_time(300)
    if suspended:
        assert world.root.status == "suspended"
        world.do("o_root", c.Resume)
    assert world.root.status == "faulted"


def test_a_migration_while_suspended_frees_without_offering():
    world = waiting(2, GAP)
    send(world, 2)
    world.do("o_root", c.Suspend)
    migrate(world, streams={})
    assert (taken(world), len(world.root.held)) == ([], 1)
    world.do("o_root", c.Resume)
    assert taken(world) == [2]


# What-if --------------------------------------------------------------------------------------------------------


def papers_then_call():
    call = {"c": {"call": "f", "with": {"papers": "${ . }"}}}
    world = waiting(3, SKIP, tasks=[*collect(3), call])
    for number in (3, 3, 1):
        send(world, number)
    world.pass_time(300)
    send(world, 2)
    send(world, 4)
    assert world.root.status == "completed"
    return world


def test_what_if_puts_the_recorded_events_in_order_as_they_were():
    world = papers_then_call()
    same = walked(world)
    assert (same.state.output, same.left) == (world.root.output, None)


def test_what_if_nobody_had_asked_for_an_order():
    world = papers_then_call()
    found = what_if(world, another(world.plan_of["o_root"], streams={}))
    assert found["calls"][0]["arguments"] == {"papers": [3, 3, 1]}


# What is shown -------------------------------------------------------------------------------------------------------------


def lacking(world):
    return [
        (each["key"], each["numbers"], each["total"], each["parked"], each["due_at"] is not None)
        for entry in waiting_for(world.root)
        for each in entry["missing"]
    ]


def test_what_is_missing_is_told():
    world = waiting(9, GAP)
    assert lacking(world) == [(None, [1], 1, 0, False)]
    for number in (4, 6):
        send(world, number)
    assert lacking(world) == [(None, [1, 2, 3, 5], 4, 2, True)]
    send(world, 1)
    assert lacking(world) == [(None, [2, 3, 5], 3, 2, True)]


def test_many_are_counted_and_not_all_named():
    world = waiting(9)
    send(world, 10**12)
    ((_, numbers, total, parked, _),) = lacking(world)
    assert (numbers, total, parked) == (list(range(1, 101)), 10**12 - 1, 1)


def test_of_several_orders_those_with_a_gap_are_told():
    world = waiting(9, {"papers": {"with": {"type": "paper"}, "order": {"per": ".subject"}}})
    send(world, 1, subject="a")
    send(world, 3, subject="b")
    assert lacking(world) == [("b", [1, 2], 2, 1, False)]


def test_a_state_with_streams_survives_being_stored():
    world = waiting(9, {"papers": {**GAP["papers"], "order": {"per": ".subject"}}})
    for number, key in ((1, "a"), (3, "a"), (2, 7), (2, True)):
        send(world, number, subject=key)
    states, found = StateMapper(bytes, bytes), []

    def packing():
        found.append((yield from states.pack(world.root)))

    assert not [each for each in packing() if each is not None]
    assert states.unpack(found[0]) == world.root


def test_a_walk_shows_how_far_a_stream_has_come():
    world = waiting(3, SKIP)
    for number in (3, 1):
        send(world, number)
    world.pass_time(300)
    walk = Walk(world.plan_of["o_root"], world.history["o_root"])
    assert walk.picture(len(walk.history))["streams"] == {"papers": {"next": 4, "parked": [], "skipped": [[2, 2]]}}
    changed = [change.path for moment in walk.moments for change in moment.difference]
    assert ("streams", "papers") in changed or any(path[:2] == ("streams", "papers") for path in map(tuple, changed))
    assert json.dumps(walk.moments[-1].as_json())


def test_without_streams_nothing_is_recorded_of_them():
    world = ran(collect(1))
    world.receive("paper", 1)
    assert not {topic for topic in world.topics() if topic.startswith(("stream.", "gap."))}
