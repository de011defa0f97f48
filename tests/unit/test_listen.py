"""``listen``: which events are taken, when it is enough, what comes out, and events that come early, twice or too late."""

import copy
from typing import Any

import pytest

from domain import commands as c
from domain.errors import EventIdReusedError, OrchestrationEndedError, OverloadedError
from domain.orchestration import Decided, Needs, decide
from tests.support.flows import SPEC, echo, names, never, ran, runs_of
from tests.support.pure_world import World, plan_of


def one(type_="t", **more):
    return {"with": {"type": type_, **more}}


def listen(to, read=None, **more):
    return [{"l": {"listen": {"to": to, **({"read": read} if read else {})}, **more}}]


def heard(to, *events, **more):
    """The world after these events: (type, data) or (type, data, attributes)."""
    world = ran(listen(to, **more))
    for type_, data, *attributes in events:
        world.receive(type_, data, **(attributes[0] if attributes else {}))
    return world


def output(world):
    assert world.root.status == "completed", world.root.fault
    return world.root.output


# Strategies ----------------------------------------------------------------------------------------------------------------


def test_one_completes_with_an_array_of_one():
    assert output(heard({"one": one()}, ("other", 1), ("t", {"n": 1}))) == [{"n": 1}]


def test_all_takes_each_filter_once_in_the_order_of_arrival():
    world = heard({"all": [one("a"), one("b")]}, ("b", 2), ("b", 3), ("c", 4))
    assert world.root.status == "running"
    world.receive("a", 1)
    assert output(world) == [2, 1]


def test_all_with_two_equal_filters_wants_two_events():
    world = heard({"all": [one("a"), one("a")]}, ("a", 1))
    assert world.root.status == "running"
    world.receive("a", 2)
    assert output(world) == [1, 2]


def test_any_without_until_completes_with_the_first():
    assert output(heard({"any": [one("a"), one("b")]}, ("c", 0), ("b", 1))) == [1]


def test_any_of_nothing_takes_every_event():
    assert output(heard({"any": []}, ("whatever", 1))) == [1]


@pytest.mark.parametrize(
    "until", ["length == 3", "${ . | length == 3 }", "${ any(.[]; . == 3) }", "$context.never or (.[-1] == 3)"]
)
def test_until_an_expression_over_what_was_consumed_holds(until):
    world = heard({"any": [one("a"), one("b")], "until": until}, ("a", 1), ("c", 9), ("b", 2))
    assert world.root.status == "running"
    world.receive("a", 3)
    assert output(world) == [1, 2, 3]


def test_until_false_listens_for_ever():
    world = heard({"any": [], "until": "${ false }"}, *(("t", n) for n in range(5)))
    assert (world.root.status, runs_of(world.root, "l")[0].listening.values) == ("running", [0, 1, 2, 3, 4])


def test_until_that_fails_is_the_fault_of_the_task():
    world = heard({"any": [], "until": 'error("no")'}, ("t", 1))
    assert (world.root.status, world.root.fault.type, world.root.fault.instance) == (
        "faulted",
        SPEC + "expression",
        "/do/0/l",
    )


@pytest.mark.parametrize(
    ("until", "events", "ends"),
    [
        ({"one": one("stop")}, ["stop"], True),
        ({"any": [one("stop"), one("halt")]}, ["halt"], True),
        ({"all": [one("stop"), one("halt")]}, ["halt"], False),
        ({"all": [one("stop"), one("halt")]}, ["halt", "halt"], False),
        ({"all": [one("stop"), one("halt")]}, ["halt", "stop"], True),
    ],
)
def test_until_events_that_are_no_part_of_the_output(until, events, ends):
    world = heard({"any": [one("a")], "until": until}, ("a", 1), *((type_, "no") for type_ in events))
    assert world.root.status == ("completed" if ends else "running")
    if ends:
        assert output(world) == [1]


def test_until_any_event_ends_with_the_very_next_one():
    assert output(heard({"any": [one("a")], "until": {"any": []}}, ("b", 1))) == []


def test_an_event_that_ends_it_is_not_also_consumed():
    assert output(heard({"any": [], "until": {"one": one("stop")}}, ("a", 1), ("stop", 2))) == [1]


# Filters --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("filter_", "takes"),
    [
        ({"source": "test"}, True),
        ({"source": "other"}, False),
        ({"subject": "s"}, True),
        ({"subject": '${ startswith("s") }'}, True),
        ({"type": '${ test("^t") }'}, True),
        ({"data": "${ .n > 1 }"}, True),
        ({"data": "${ .n > 2 }"}, False),
        ({"data": "${ .n == $workflow.input.n }"}, True),
        ({"data": {"n": 2}}, True),
        ({"data": {"n": 3}}, False),
        ({"data": '${ error("no") }'}, False),
        ({"custom": 7}, True),
        ({"custom": "7"}, False),
        ({"custom": True}, False),
        ({"missing": "x"}, False),
        ({"type": "t", "source": "test", "subject": "s"}, True),
        ({"type": "t", "source": "test", "subject": "other"}, False),
    ],
)
def test_every_attribute_must_match(filter_, takes):
    world = ran(listen({"one": {"with": filter_}}), {"n": 2})
    world.receive("t", {"n": 2}, subject="s", custom=7)
    assert (world.root.status == "completed") is takes


def test_true_is_not_one():
    world = ran(listen({"one": {"with": {"custom": True}}}))
    world.receive("t", custom=1)
    assert world.root.status == "running"
    world.receive("t", custom=True)
    assert world.root.status == "completed"


# read -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("read", ["data", "raw", None])
def test_data_is_read_unless_said_otherwise(read):
    assert output(heard({"one": one()}, ("t", {"n": 1}), read=read)) == [{"n": 1}]


def test_the_envelope_has_the_attributes_and_the_data():
    event = output(heard({"one": one()}, ("t", {"n": 1}, {"subject": "s", "id": "e"}), read="envelope"))[0]
    assert event == {"specversion": "1.0", "id": "e", "source": "test", "type": "t", "subject": "s", "data": {"n": 1}}


def test_binary_data_stays_in_base64():
    world = ran(listen({"one": one()}))
    event = {"specversion": "1.0", "id": "1", "source": "s", "type": "t", "data_base64": "AAE="}
    world.do("o_root", c.ReceiveEvent, event=event, digest=b"1")
    assert output(world) == ["AAE="]


def test_an_event_without_data_counts_as_null():
    world = ran(listen({"one": one()}))
    world.do("o_root", c.ReceiveEvent, event={"specversion": "1.0", "id": "1", "source": "s", "type": "t"}, digest=b"1")
    assert output(world) == [None]


def test_the_envelope_is_what_until_sees():
    assert len(output(heard({"any": [], "until": '.[-1].type == "stop"'}, ("t", 1), ("stop", 2), read="envelope"))) == 2


# correlate -------------------------------------------------------------------------------------------------------------------


def keyed(type_, **key):
    return {**one(type_), "correlate": {"k": {"from": ".data.k", **key}}}


def test_with_expect_only_the_expected_value_matches():
    world = ran(listen({"one": keyed("t", expect="${ .id }")}), {"id": 7})
    world.receive("t", {"k": 8})
    world.receive("t", {})
    assert world.root.status == "running"
    world.receive("t", {"k": 7})
    assert output(world) == [{"k": 7}]


def test_expect_may_be_a_literal():
    assert output(heard({"one": keyed("t", expect="x")}, ("t", {"k": "y"}), ("t", {"k": "x", "n": 1}))) == [
        {"k": "x", "n": 1}
    ]


def test_without_expect_the_first_event_decides_for_all_filters():
    world = heard({"all": [keyed("a"), keyed("b")]}, ("a", {"k": 1}), ("b", {"k": 2}))
    assert world.root.status == "running"
    world.receive("b", {"k": 1})
    assert output(world) == [{"k": 1}, {"k": 1}]


def test_keys_of_other_names_are_compared_on_their_own():
    b = {**one("b"), "correlate": {"other": {"from": ".data.k"}}}
    assert output(heard({"all": [keyed("a"), b]}, ("a", {"k": 1}), ("b", {"k": 2}))) == [{"k": 1}, {"k": 2}]


def test_the_value_stays_for_all_events_of_an_until():
    world = heard(
        {"any": [keyed("a")], "until": "length == 2"}, ("a", {"k": 1}), ("a", {"k": 2}), ("a", {"k": 1, "n": 2})
    )
    assert output(world) == [{"k": 1}, {"k": 1, "n": 2}]


def test_an_event_without_the_key_is_not_taken():
    assert heard({"one": keyed("t")}, ("t", {})).root.status == "running"
    assert heard({"one": {**one(), "correlate": {"k": {"from": 'error("no")'}}}}, ("t", {})).root.status == "running"


# foreach ---------------------------------------------------------------------------------------------------------------------

CALL = {"c": {"call": "f", "with": {"e": "${ $item }", "n": "${ $index }"}}}


def test_turns_follow_each_other_and_later_events_queue():
    world = ran(listen({"any": [], "until": "length == 3"}, foreach={"do": [CALL]}), answer=never)
    for data in "abc":
        world.receive("t", data)
    for number, data in enumerate("abc"):
        assert [a.arguments for a in world.flying] == [{"e": data, "n": number}]
        assert world.root.status == "running"
        world.reply(world.flying[0], echo(world.flying[0]))
    assert output(world) == [{"e": "a", "n": 0}, {"e": "b", "n": 1}, {"e": "c", "n": 2}]


def test_names_output_and_export_of_foreach():
    foreach = {
        "item": "e",
        "at": "i",
        "do": [{"s": {"set": {"n": "${ $e + $i }"}}}],
        "output": {"as": "${ .n * 10 + $i }"},
        "export": {"as": "${ {last: ., all: (($context.all // []) + [$output])} }"},
    }
    world = heard(
        {"any": [], "until": "length == 2"},
        ("t", 1),
        ("t", 2),
        foreach=foreach,
        output={"as": "${ {all: ., raw: $task.output} }"},
    )
    assert output(world) == {"all": [10, 31], "raw": [10, 31]}
    assert world.root.context == {"last": 31, "all": [10, 31]}


def test_foreach_without_tasks_transforms_each_event():
    foreach = {"output": {"as": "${ .n + $index }"}, "export": {"as": "${ $output }"}}
    world = heard({"any": [], "until": "length == 2"}, ("t", {"n": 1}), ("t", {"n": 2}), foreach=foreach)
    assert (output(world), world.root.context) == ([1, 3], 3)


def test_an_error_in_a_turn_or_its_output_fails_the_listen():
    for foreach in (
        {"do": [{"s": {"set": {"x": '${ error("no") }'}}}]},
        {"do": [], "output": {"as": 'error("no")'}},
        {"export": {"as": 'error("no")'}},
    ):
        world = heard({"any": [], "until": "length == 2"}, ("t", 1), foreach=foreach)
        assert (world.root.status, world.root.fault.type) == ("faulted", SPEC + "expression")


def test_the_end_waits_for_the_last_turn():
    world = ran(listen({"any": [one("a")], "until": {"one": one("stop")}}, foreach={"do": [CALL]}), answer=never)
    world.receive("a", 1)
    world.receive("stop")
    world.receive("a", 2)
    assert world.root.status == "running"
    world.reply(world.flying[0], echo(world.flying[0]))
    assert output(world) == [{"e": 1, "n": 0}]


def test_foreach_that_never_had_an_event():
    assert output(heard({"any": [one("a")], "until": {"one": one("stop")}}, ("stop", 1), foreach={"do": [CALL]})) == []


def test_a_timeout_while_a_turn_is_in_progress():
    world = ran(
        listen({"any": [], "until": "false"}, foreach={"do": [CALL]}, timeout={"after": {"seconds": 5}}), answer=never
    )
    world.receive("t", 1)
    world.pass_time(5)
    assert (world.root.status, world.root.fault.instance) == ("faulted", "/do/0/l")
    assert runs_of(world.root, "c")[0].effect == "uncertain"


# Early, twice, late -----------------------------------------------------------------------------------------------------------

LATER = [{"w": {"wait": {"seconds": 5}}}, *listen({"one": one()})]


def test_an_event_before_the_wait_is_held_and_offered():
    world = ran(LATER)
    world.receive("t", "early")
    assert len(world.root.held) == 1
    world.pass_time(5)
    assert (output(world), world.root.held) == (["early"], [])


def test_held_events_are_offered_the_oldest_first_and_only_as_many_as_are_wanted():
    world = ran(LATER)
    for n in range(3):
        world.receive("x" if n == 0 else "t", n)
    world.pass_time(5)
    assert output(world) == [1]
    assert [held.event["data"] for held in world.root.held] == [0, 2]


def test_held_events_may_complete_a_listen_for_several_at_once():
    world = ran(
        [
            {"w": {"wait": {"seconds": 5}}},
            *listen({"any": [], "until": ". | length == 3"}, foreach={"do": [{"s": {"set": {"d": "${ $item * 2 }"}}}]}),
        ]
    )
    for n in range(4):
        world.receive("t", n)
    world.pass_time(5)
    assert output(world) == [{"d": 0}, {"d": 2}, {"d": 4}]
    assert len(world.root.held) == 1


def test_an_event_that_is_not_to_be_held_is_only_offered():
    world = ran(LATER)
    assert (
        world.do("o_root", c.ReceiveEvent, event={"id": "1", "source": "s", "type": "t"}, digest=b"1", hold=False) == []
    )
    world.pass_time(5)
    assert world.root.status == "running"


def test_the_same_event_twice_is_taken_once():
    world = ran(listen({"any": [], "until": "length == 2"}))
    world.receive("t", 1, id="same")
    before = len(world.history["o_root"])
    world.receive("t", 1, id="same")
    assert len(world.history["o_root"]) == before
    assert runs_of(world.root, "l")[0].listening.values == [1]


def test_the_same_id_of_another_source_is_another_event():
    world = ran(listen({"any": [], "until": "length == 2"}))
    world.receive("t", 1, id="same")
    world.receive("t", 2, id="same", source="elsewhere")
    assert output(world) == [1, 2]


def test_the_same_id_with_other_content_is_refused():
    world = ran(listen({"any": [], "until": "length == 2"}))
    world.receive("t", 1, id="same")
    with pytest.raises(EventIdReusedError):
        world.receive("t", 2, id="same")


def test_after_the_end_an_event_is_refused_but_a_repeat_is_not():
    world = heard({"one": one()}, ("t", 1, {"id": "first"}))
    with pytest.raises(OrchestrationEndedError):
        world.receive("t", 2, id="second")
    assert world.receive("t", 1, id="first") == []


def test_there_is_a_limit_to_what_is_held():
    world = ran(LATER, limits={"max_held": 2})
    world.receive("t", 1)
    world.receive("t", 2)
    with pytest.raises(OverloadedError):
        world.receive("t", 3)
    world.pass_time(5)
    assert world.root.status == "completed"


@pytest.mark.parametrize("filter_", [one(), {"with": {"type": '${ . == "t" }'}}])
def test_one_event_serves_every_listen_that_waits(filter_):
    branches = [{name: {"listen": {"to": {"one": filter_}}}} for name in "ab"]
    world = ran([{"f": {"fork": {"branches": branches}}}])
    world.receive("t", 1)
    assert output(world) == [[1], [1]]


@pytest.mark.parametrize("filter_", [one(), {"with": {"type": '${ . == "t" }'}}])
def test_a_held_event_serves_the_first_listen_that_begins(filter_):
    """Whether the filter needs jq or not."""
    branches = [{name: {"listen": {"to": {"one": filter_}}}} for name in "ab"]
    world = ran([{"w": {"wait": {"seconds": 5}}}, {"f": {"fork": {"branches": branches}}}])
    world.receive("t", 1)
    world.pass_time(5)
    assert [runs_of(world.root, name)[0].status for name in "ab"] == ["completed", "waiting"]
    world.receive("t", 2)
    assert output(world) == [[1], [2]]


def test_two_listens_one_after_the_other_take_one_event_each():
    world = ran([*listen({"one": one()}), {"m": {"listen": {"to": {"one": one()}}}}])
    world.receive("t", 1)
    assert names(world) == ["l", "m"]
    world.receive("t", 2)
    assert output(world) == [2]


def test_while_suspended_events_are_held_and_offered_at_resume():
    world = ran(listen({"one": one()}))
    world.do("o_root", c.Suspend)
    world.receive("t", 1)
    assert world.root.status == "suspended"
    world.do("o_root", c.Resume)
    assert output(world) == [1]


def test_the_types_that_a_listen_waits_for_are_recorded():
    plan = {"any": [one("a"), {"with": {"source": "s"}}], "until": {"one": one("b")}}
    assert runs_of(heard(plan).root, "l")[0].listening.types == ("a", None, "b")
    assert runs_of(heard({"any": []}).root, "l")[0].listening.types == (None,)


# Facts -------------------------------------------------------------------------------------------------------------------------


def test_every_question_of_a_decision_has_a_key_of_its_own():
    """Several filters, keys of the same name, and several held events ask in the same places."""
    filters = [
        {
            "with": {"type": f'${{ . == "{type_}" }}'},
            "correlate": {"k": {"from": ".data.k + 0", "expect": f"${{ {n} + 0 }}"}},
        }
        for n, type_ in enumerate("ab")
    ]
    world = ran([{"w": {"wait": {"seconds": 5}}}, *listen({"all": filters}, foreach={"output": {"as": ".k + 0"}})])
    world.receive("a", {"k": 0})
    world.receive("b", {"k": 1})
    state = copy.deepcopy(world.root)
    world.pass_time(5)
    assert output(world) == [0, 1]
    facts: Any = {}
    asked: list[Any] = []
    command = c.FireTimers(at=world.now, seed=b"x")
    decided = decide(world.plan_of["o_root"], state, command, facts)
    while isinstance(decided, Needs):
        for question in decided.questions:
            if question.key not in facts:
                asked.append(question.key)
                facts[question.key] = world._fact(question)
        decided = decide(world.plan_of["o_root"], state, command, facts)
    assert isinstance(decided, Decided)
    assert decided.state.output == [0, 1]
    assert len(asked) == len(set(asked))
    assert state.status == "running"  # `decide` works on a copy


@pytest.mark.parametrize(
    ("data", "takes"),
    [
        ({"a": [1, {"b": True}], "c": None}, True),
        ({"c": None, "a": [1.0, {"b": True}]}, True),
        ({"a": [1, {"b": 1}], "c": None}, False),
        ({"a": [1, {"b": True}]}, False),
        ({"a": [1, {"b": True}], "c": None, "d": 1}, False),
        ({"a": [1], "c": None}, False),
    ],
)
def test_literal_data_is_compared_in_depth_as_json(data, takes):
    world = heard({"one": {"with": {"data": {"a": [1, {"b": True}], "c": None}}}}, ("t", data))
    assert (world.root.status == "completed") is takes


def test_an_event_that_is_only_offered_is_kept_while_suspended_when_a_listen_wants_it():
    world = World(plan_of([{"l": {"listen": {"to": {"one": {"with": {"type": "wanted"}}}}}}]), echo)
    world.start()
    world.do("o_root", c.Suspend)
    for type_ in ("other", "wanted"):
        event = {"specversion": "1.0", "id": type_, "source": "test", "type": type_, "data": type_}
        world.do("o_root", c.ReceiveEvent, event=event, digest=type_.encode(), hold=False)
    assert [held.id for held in world.root.held] == ["wanted"]
    world.do("o_root", c.Resume)
    assert (world.root.status, world.root.output) == ("completed", ["wanted"])
