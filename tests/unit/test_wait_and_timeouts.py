"""``wait`` and ``timeout``: durations in every form, and what a timeout ends."""

import pytest

from domain import commands as c
from tests.support.flows import SPEC, completed, echo, fault_of, names, never, ran, runs_of
from tests.support.pure_world import done, doubt


def ends_after(tasks, input_=None, **top):
    """Seconds until the orchestration has ended."""
    world = ran(tasks, input_, **top)
    world.pass_time(10_000_000)
    return (world.root.ended_at - world.root.started_at).total_seconds(), world.root


# wait -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wait", "length"),
    [
        ({"seconds": 5}, 5),
        ({"minutes": 1, "seconds": 30, "milliseconds": 250}, 90.25),
        ({"days": 1, "hours": 1}, 90000),
        ("PT5S", 5),
        ("P1DT1H", 90000),
        ("${ .text }", 7),
        ("${ .object }", 90),
        ('${ "PT\\(.n * 2)S" }', 6),
        ("${ {seconds: .n} }", 3),
        ({"seconds": 0}, 0),
    ],
)
def test_durations(wait, length):
    lasted, state = ends_after(
        [{"w": {"wait": wait}}], {"text": "PT7S", "object": {"minutes": 1, "seconds": 30}, "n": 3}
    )
    assert (lasted, state.status) == (length, "completed")


@pytest.mark.parametrize("given", ["soon", "", "P1M", {"seconds": -1}, {}, 5, None, [5], {"second": 1}])
def test_what_is_no_duration_is_an_expression_fault(given):
    name, status, instance, detail = fault_of([{"w": {"wait": "${ .x }"}}], {"x": given})
    assert (name, status, instance) == ("expression", 400, "/do/0/w")
    assert "is not a duration" in detail


def test_a_wait_hands_its_transformed_input_on():
    _, state = ends_after(
        [{"w": {"input": {"from": ".n"}, "wait": {"seconds": 1}, "output": {"as": "${ [., $task.input] }"}}}], {"n": 1}
    )
    assert state.output == [1, {"n": 1}]


def test_the_expression_sees_the_transformed_input():
    assert ends_after([{"w": {"input": {"from": ".in"}, "wait": "${ {seconds: (. + $input)} }"}}], {"in": 2})[0] == 4


def test_a_wait_ends_neither_early_nor_late():
    world = ran([{"w": {"wait": {"seconds": 10}}}])
    world.pass_time(9.999)
    assert world.root.status == "running"
    world.do("o_root", c.FireTimers)
    assert world.root.status == "running"
    world.pass_time(0.001)
    assert world.root.status == "completed"


def test_waits_of_branches_end_in_the_order_of_their_time():
    branches = [
        {name: {"do": [{f"w{name}": {"wait": {"seconds": n}}}, {name: {"set": {"x": 1}}}]}}
        for name, n in (("a", 3), ("b", 1), ("c", 2))
    ]
    world = ran([{"f": {"fork": {"branches": branches}}}])
    world.pass_time(5)
    assert [name for name in names(world) if name in "abc" and world.root.status][-3:] == ["b", "c", "a"]


def test_timers_that_are_all_overdue_are_handled_in_the_order_of_their_time():
    branches = [
        {name: {"do": [{f"w{name}": {"wait": {"seconds": n}}}, {name: {"set": {"x": 1}}}]}}
        for name, n in (("a", 3), ("b", 1), ("c", 2))
    ]
    world = ran([{"f": {"fork": {"branches": branches}}}])
    world.do("o_root", c.Suspend)
    world.pass_time(100)
    world.do("o_root", c.Resume)
    assert (world.root.status, names(world)[-3:]) == ("completed", ["b", "c", "a"])


# Timeouts ---------------------------------------------------------------------------------------------------------------

LONG = {"wait": {"hours": 1}}
AFTER_5 = {"timeout": {"after": {"seconds": 5}}}


@pytest.mark.parametrize(
    "task",
    [
        LONG,
        {"listen": {"to": {"one": {"with": {"type": "never"}}}}},
        {"do": [{"i": LONG}]},
        {"for": {"in": "[1, 2]"}, "do": [{"i": LONG}]},
        {"fork": {"branches": [{"i": LONG}, {"j": {"set": {"x": 1}}}]}},
        {"fork": {"branches": [{"i": LONG}], "compete": True}},
        {"try": [{"i": LONG}], "catch": {"retry": {}}},
        {
            "try": [{"i": {"raise": {"error": {"type": "https://x.test/e", "status": 400}}}}],
            "catch": {"retry": {"delay": {"hours": 1}}},
        },
        {
            "try": [{"i": {"raise": {"error": {"type": "https://x.test/e", "status": 400}}}}],
            "catch": {"do": [{"h": LONG}]},
        },
        {"call": "defined"},
    ],
    ids=["wait", "listen", "do", "for", "fork", "compete", "try", "retrying", "catch", "function"],
)
def test_a_timeout_ends_every_kind_of_task_and_all_inside(task):
    world = ran(
        [{"a": {**task, **AFTER_5}}, {"b": {"set": {"x": 1}}}], use={"functions": {"defined": {"do": [{"i": LONG}]}}}
    )
    world.pass_time(4.9)
    assert world.root.status == "running"
    world.pass_time(0.1)
    fault = world.root.fault
    assert (world.root.status, fault.type, fault.status, fault.instance) == (
        "faulted",
        SPEC + "timeout",
        408,
        "/do/0/a",
    )
    assert not world.root.open
    assert world.root.next_due() is None


def test_a_timeout_that_is_not_reached_is_forgotten():
    lasted, state = ends_after(
        [{"a": {"do": [{"w": {"wait": {"seconds": 2}}}], **AFTER_5}}, {"b": {"wait": {"seconds": 10}}}]
    )
    assert (lasted, state.status) == (12, "completed")


def test_timeouts_may_be_expressions_and_named():
    assert ends_after([{"a": {**LONG, "timeout": {"after": "${ {seconds: .n} }"}}}], {"n": 3})[0] == 3
    named = {"use": {"timeouts": {"short": {"after": "PT4S"}}}}
    assert ends_after([{"a": {**LONG, "timeout": "short"}}], **named)[0] == 4


def test_the_timeout_sees_the_transformed_input():
    assert (
        ends_after(
            [{"a": {**LONG, "input": {"from": ".n"}, "timeout": {"after": "${ {seconds: (. + $input)} }"}}}], {"n": 3}
        )[0]
        == 6
    )


def test_a_wait_that_ends_with_its_timeout_has_ended_in_time():
    lasted, state = ends_after([{"a": {"wait": {"seconds": 5}, **AFTER_5}}])
    assert (lasted, state.status) == (5, "completed")


def test_the_inner_of_two_timeouts_comes_first_and_can_be_caught():
    inner = {
        "try": [{"i": {**LONG, "timeout": {"after": {"seconds": 2}}}}],
        "catch": {"do": [{"h": {"set": {"caught": "${ $error.instance }"}}}]},
    }
    lasted, state = ends_after([{"a": {"do": [{"t": inner}], **AFTER_5}}])
    assert (lasted, state.output) == (2, {"caught": "/do/0/a/do/0/t/try/0/i"})


def test_the_timeout_of_a_callout_is_sent_with_it_and_can_be_an_expression():
    world = ran([{"a": {"call": "f", "timeout": {"after": "${ {seconds: .n} }"}}}], {"n": 7}, never)
    assert world.root.runs["/do/0/a#1"].request.timeout_s == 7
    assert world.root.next_due() is None  # whoever sends it watches it
    assert (
        ran([{"a": {"call": "f"}}], answer=never, limits={"callout_timeout_s": 12.0})
        .root.runs["/do/0/a#1"]
        .request.timeout_s
        == 12
    )


def test_an_attempt_inside_a_composite_is_uncertain_at_once_when_the_time_is_over():
    world = ran([{"a": {"do": [{"c": {"call": "f"}}], **AFTER_5}}], answer=never)
    world.pass_time(5)
    assert world.root.status == "faulted"
    assert runs_of(world.root, "c")[0].status == "uncertain"


def test_a_composite_that_is_entered_again_has_its_full_time_again():
    tasks = [
        {
            "t": {
                "try": [{"a": {"do": [{"c": {"call": "f"}}], **AFTER_5}}],
                "catch": {"retry": {"delay": {"seconds": 4}}},
            }
        }
    ]
    answers = iter([doubt(), None])
    world = ran(tasks, answer=lambda _: next(answers, None))
    world.pass_time(8)
    assert runs_of(world.root, "a")[0].status == "running"
    world.reply(world.flying[-1], done("ok"))
    assert world.root.output == "ok"


# The workflow --------------------------------------------------------------------------------------------------------------


def test_the_timeout_of_the_workflow():
    lasted, state = ends_after([{"a": LONG}], timeout={"after": {"minutes": 1}})
    assert (lasted, state.status, state.fault.type, state.fault.instance) == (
        60,
        "faulted",
        SPEC + "timeout",
        "/timeout",
    )


def test_the_timeout_of_the_workflow_cannot_be_caught_by_a_task():
    _, state = ends_after([{"t": {"try": [{"a": LONG}], "catch": {}}}], timeout={"after": "PT1S"})
    assert state.status == "faulted"


def test_the_timeout_of_the_workflow_may_be_an_expression_on_its_input_or_named():
    assert ends_after([{"a": LONG}], {"n": 9}, timeout={"after": "${ {seconds: .n} }"})[0] == 9
    assert ends_after([{"a": LONG}], timeout="short", use={"timeouts": {"short": {"after": {"seconds": 8}}}})[0] == 8


def test_an_orchestration_that_ends_in_time_has_no_timers_left():
    world = ran([{"a": {"call": "f"}}], answer=echo, timeout={"after": {"minutes": 1}})
    assert (world.root.status, world.root.next_due()) == ("completed", None)
    assert completed([{"a": {"set": {"x": 1}}}], timeout={"after": {"minutes": 1}}) == {"x": 1}
