"""Retries: of a ``try``, and the short form on a callout. Delays are read off the instants at which attempts begin."""

from itertools import pairwise
from typing import Any

import pytest

from domain.errors import SPEC, Fault, fault
from domain.plan import Retry
from domain.retry import LONGEST_S, delay_s, seconds
from tests.support.flows import names, never, ran, runs_of
from tests.support.pure_world import Result, done, doubt, refused

RAISE = {"raise": {"error": {"type": "https://x.test/e", "status": 400}}}
CALL = {"c": {"call": "f"}}


def retried(policy, *tasks, **catch):
    return [{"t": {"try": list(tasks) or [CALL], "catch": {"retry": policy, **catch}}}]


def starts(world):
    """Seconds from the start at which attempts began."""
    first = world.history["o_root"][0].at
    return [(e.at - first).total_seconds() for e in world.history["o_root"] if e.topic == "attempt.started"]


def until(tasks, answers, input_=None, time=100_000, **top):
    """A world whose participant gives these answers, the last one for ever."""
    left = list(answers)
    world = ran(tasks, input_, lambda _: left.pop(0) if len(left) > 1 else left[0], **top)
    world.pass_time(time)
    return world


def count(n):
    return {"limit": {"attempt": {"count": n}}}


# Back-off ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "begun"),
    [
        ({"delay": {"seconds": 3}}, [0, 3, 6, 9, 12]),
        ({"delay": {"seconds": 3}, "backoff": {"constant": {}}}, [0, 3, 6, 9, 12]),
        ({"delay": "PT3S", "backoff": {"linear": {}}}, [0, 3, 9, 18, 30]),
        ({"delay": {"seconds": 3}, "backoff": {"exponential": {}}}, [0, 3, 9, 21, 45]),
        ({"delay": {"seconds": 3}, "backoff": {"exponential": {"factor": 3}}}, [0, 3, 12, 39, 120]),
        ({"delay": {"seconds": 3}, "backoff": {"exponential": {"maxDelay": {"seconds": 5}}}}, [0, 3, 8, 13, 18]),
        ({"delay": {"seconds": 3}, "backoff": {"linear": {"maxDelay": {"seconds": 5}}}}, [0, 3, 8, 13, 18]),
        ({"delay": "${ {seconds: .s} }"}, [0, 2, 4, 6, 8]),
        ({"delay": '${ "PT\\(.s)S" }'}, [0, 2, 4, 6, 8]),
        ({}, [0, 0.01, 0.02, 0.03, 0.04]),
        ({"delay": {"milliseconds": 0}, "backoff": {"exponential": {}}}, [0, 0.01, 0.02, 0.03, 0.04]),
    ],
)
def test_delays(policy, begun):
    assert starts(until(retried({**policy, **count(4)}), [refused(500)], {"s": 2})) == begun
    short = [{"c": {"call": "f", "retry": {**policy, **count(4)}}}]
    assert starts(until(short, [doubt()], {"s": 2})) == begun


def test_jitter_lies_between_its_ends_and_differs():
    world = until(
        retried({"delay": {"seconds": 1}, "jitter": {"from": {"seconds": 2}, "to": {"seconds": 4}}, **count(30)}),
        [refused(500)],
    )
    begun = starts(world)
    waits = [later - earlier for earlier, later in pairwise(begun)]
    assert len(waits) == 30
    assert all(3 <= wait < 5 for wait in waits)
    assert len(set(waits)) > 20


def test_arithmetic_never_leaves_the_calendar():
    exponential = Retry(backoff="exponential", factor=1000.0)
    assert delay_s(exponential, 10_000, 1.0, (0.0, 0.0), 0.0) == LONGEST_S
    assert delay_s(Retry(backoff="linear"), 10**9, 1e9, (0.0, 0.0), 0.5) == LONGEST_S


@pytest.mark.parametrize(
    ("value", "length"),
    [
        ("PT5S", 5), ("P1DT2H3M4.5S", 93784.5), ("P2W", 1209600), ("PT0S", 0), ({"hours": 1, "milliseconds": 500}, 3600.5),
        ("P", None), ("PT", None), ("P1Y", None), ("5s", None), ("PT5S\n", None), ("-PT5S", None), ("PT\u0665S", None), ("", None),
        ({}, None), ({"years": 1}, None), ({"seconds": -1}, None), ({"seconds": True}, None), ({"seconds": "1"}, None),
        (5, None), (None, None), ([], None),
    ],
)  # fmt: skip
def test_durations_that_expressions_give(value, length):
    assert seconds(value) == length


# Limits ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("retries", [0, 1, 5])
def test_the_count_counts_retries_after_the_first_attempt(retries):
    for tasks in (retried(count(retries)), [{"c": {"call": "f", "retry": count(retries)}}]):
        world = until(tasks, [doubt()])
        assert len(starts(world)) == retries + 1
        assert world.root.status == "faulted"


def test_without_a_limit_it_goes_on():
    world = until(retried({"delay": {"seconds": 1}}), [refused(500)], time=500)
    assert (len(starts(world)), world.root.status) == (501, "running")


@pytest.mark.parametrize("tasks", [retried({}), [{"c": {"call": "f", "retry": {}}}]])
def test_without_delay_and_limit_it_does_not_spin(tasks):
    """Some time passes between two attempts, so that everything else gets its turn."""
    world = until(tasks, [doubt()], time=0)
    assert (len(starts(world)), world.root.status) == (1, "running")
    world.pass_time(1)
    assert len(starts(world)) == 101


def test_a_success_ends_it():
    world = until(retried({"delay": {"seconds": 1}}), [refused(500), doubt(), done("ok")])
    assert (world.root.status, world.root.output, len(starts(world))) == ("completed", "ok", 3)


def test_the_duration_bounds_the_whole():
    for tasks in (
        retried({"delay": {"seconds": 3}, "limit": {"duration": {"seconds": 10}}}),
        [{"c": {"call": "f", "retry": {"delay": {"seconds": 3}, "limit": {"duration": {"seconds": 10}}}}}],
    ):
        world = until(tasks, [doubt()])
        assert (starts(world), world.root.status) == ([0, 3, 6, 9], "faulted")


def test_the_duration_of_an_inner_try_begins_anew_when_the_outer_is_entered_again():
    inner = retried({"delay": {"seconds": 3}, "limit": {"duration": {"seconds": 5}}})
    world = until(retried({"delay": {"seconds": 10}, **count(1)}, *inner), [refused(500)])
    assert starts(world) == [0, 3, 13, 16]


def test_an_attempt_of_a_try_may_have_a_limit():
    policy = {"delay": {"seconds": 1}, "limit": {"attempt": {"count": 2, "duration": {"seconds": 5}}}}
    world = ran(retried(policy, {"w": {"wait": {"seconds": 3}}}, {"l": {"listen": {"to": {"any": []}}}}))
    world.pass_time(5.5)
    assert runs_of(world.root, "t")[0].status == "retrying"
    world.pass_time(6)
    world.receive("t", "enough")
    assert world.root.status == "running"
    world.pass_time(0.5)
    world.pass_time(5)
    assert (world.root.status, world.root.output) == ("completed", ["enough"])


def test_the_limit_of_an_attempt_is_a_timeout_that_the_catch_may_refuse():
    policy = {"limit": {"attempt": {"duration": {"seconds": 5}}}}
    world = ran(retried(policy, {"w": {"wait": {"hours": 1}}}, errors={"with": {"status": 500}}))
    world.pass_time(5)
    assert (world.root.status, world.root.fault.type, world.root.fault.instance) == (
        "faulted",
        SPEC + "timeout",
        "/do/0/t",
    )


def test_the_limit_of_an_attempt_does_not_bound_the_handler():
    policy = {"limit": {"attempt": {"count": 0, "duration": {"seconds": 5}}}}
    world = until(
        retried(policy, do=[{"w": {"wait": {"hours": 1}}}, {"s": {"set": {"x": 1}}}]), [refused(500)], time=4000
    )
    assert world.root.output == {"x": 1}


def test_the_limit_of_an_attempt_of_a_callout_shortens_its_timeout():
    for limit, timeout, sent in ((5, 9, 5), (9, 5, 5), (9, None, 9), (99, None, 30)):
        call = {"call": "f", "retry": {"limit": {"attempt": {"duration": {"seconds": limit}}}}}
        call |= {"timeout": {"after": {"seconds": timeout}}} if timeout else {}
        world = ran([{"c": call}], answer=never)
        assert world.root.runs["/do/0/c#1"].request.timeout_s == sent


# Exhausted ---------------------------------------------------------------------------------------------------------------


def test_exhausted_without_a_handler_the_error_goes_on():
    world = until(retried(count(2)), [refused(500), refused(501), refused(502)])
    assert (world.root.status, world.root.fault.status, world.root.fault.instance) == (
        "faulted",
        502,
        "/do/0/t/try/0/c",
    )


def test_exhausted_with_a_handler_the_handler_runs_once_with_the_last_error():
    world = until(
        retried(count(2), do=[{"h": {"set": {"s": "${ $error.status }"}}}]), [refused(500), refused(501), refused(502)]
    )
    assert world.root.output == {"s": 502}
    assert names(world).count("h") == 1


def test_an_error_that_is_not_caught_is_not_retried():
    world = until(retried({"delay": {"seconds": 1}}, errors={"with": {"status": 503}}), [refused(503), refused(404)])
    assert (len(starts(world)), world.root.fault.status) == (2, 404)


@pytest.mark.parametrize(
    ("condition", "attempts"),
    [
        ({"when": "$error.status == 500"}, 2),
        ({"exceptWhen": "$error.status == 501"}, 2),
        ({"when": "false"}, 1),
        ({"exceptWhen": "true"}, 1),
    ],
)
def test_conditions_of_the_policy(condition, attempts):
    world = until(retried({**condition, **count(9)}), [refused(500), refused(501)])
    assert (len(starts(world)), world.root.status) == (attempts, "faulted")


def test_a_condition_of_the_policy_that_fails_is_the_fault():
    world = until(retried({"when": 'error("no")'}), [refused(500)])
    assert (world.root.fault.type, world.root.fault.instance) == (SPEC + "expression", "/do/0/t")


def test_conditions_that_refuse_lead_to_the_handler():
    world = until(retried({"when": "false"}, do=[{"h": {"set": {"x": 1}}}]), [refused(500)])
    assert world.root.output == {"x": 1}


# What is entered again ------------------------------------------------------------------------------------------------------


def test_the_block_starts_again_with_the_input_of_the_try():
    seen = []

    def answer(attempt):
        seen.append(attempt.arguments)
        return refused(500) if len(seen) < 3 else done()

    tasks = retried({}, {"a": {"set": {"n": "${ .n + 1 }"}}}, {"c": {"call": "f", "with": {"n": "${ .n }"}}})
    world = ran(tasks, {"n": 1}, answer)
    world.pass_time(1)
    assert seen == [{"n": 2}] * 3
    assert [run.id for run in runs_of(world.root, "a")] == [
        "/do/0/t/try/0/a#1",
        "/do/0/t/try/0/a#2",
        "/do/0/t/try/0/a#3",
    ]


def test_a_run_that_did_not_complete_goes_on_under_its_key():
    world = until(retried(count(2)), [doubt(), refused(500), done()])
    attempts = [e for e in world.history["o_root"] if e.topic == "attempt.started"]
    assert [a.number for a in attempts] == [1, 2, 3]
    assert len({(a.run, a.key) for a in attempts}) == 1


def test_a_condition_is_asked_anew_when_the_block_is_entered_again():
    """The first time `a` is skipped and `d` raises; the second time it is the other way round."""
    a = {"if": "$context.again", "call": "f"}
    mark = {"s": {"set": {"x": 1}, "export": {"as": "${ {again: true} }"}}}
    d = {"if": "$context.again | not", "do": [mark, {"r": RAISE}]}
    world = until(retried(count(3), {"a": a}, {"d": d}), [done("ok")])
    assert (world.root.status, world.root.output) == ("completed", "ok")
    assert [run.status for run in runs_of(world.root, "a")] == ["skipped", "completed"]
    assert [run.status for run in runs_of(world.root, "d")] == ["failed", "skipped"]


# The short form ------------------------------------------------------------------------------------------------------------


def communication(status, response=True):
    return Fault(
        SPEC + "communication",
        status,
        "x",
        response={"status": status, "headers": {}, "content": None} if response else None,
    )


TRANSIENT = (408, 425, 429, 500, 502, 503, 504)


@pytest.mark.parametrize("status", [*TRANSIENT, 301, 400, 401, 403, 404, 409, 410, 422, 501, 505])
def test_statuses_that_the_short_form_retries(status):
    outcome: Any = "uncertain" if status == 408 or status >= 500 else "refused"
    world = until([{"c": {"call": "f", "retry": count(1)}}], [Result(outcome, fault=communication(status)), done()])
    assert len(starts(world)) == (2 if status in TRANSIENT else 1)


def test_no_answer_at_all_and_timeouts_are_retried():
    for why in (communication(500, response=False), fault("timeout", "no answer")):
        for outcome in ("refused", "uncertain"):
            world = until([{"c": {"call": "f", "retry": count(1)}}], [Result(outcome, fault=why), done()])
            assert len(starts(world)) == 2


@pytest.mark.parametrize("name", ["authentication", "authorization", "configuration", "validation", "expression"])
def test_other_errors_are_not(name):
    world = until([{"c": {"call": "f", "retry": count(5)}}], [Result("refused", fault=fault(name, "no"))])
    assert len(starts(world)) == 1


def test_a_refusal_with_a_type_of_its_own_is_not_retried():
    assert len(starts(until([{"c": {"call": "f", "retry": count(5)}}], [refused(503)]))) == 1


@pytest.mark.parametrize(("asked", "begun"), [(None, [0, 2]), (1.0, [0, 2]), (7.0, [0, 7])])
def test_retry_after_is_honoured_when_it_is_longer(asked, begun):
    busy = Result("refused", fault=communication(429), retry_after_s=asked)
    assert starts(until([{"c": {"call": "f", "retry": {"delay": {"seconds": 2}}}}], [busy, done()])) == begun


@pytest.mark.parametrize(
    ("condition", "attempts"),
    [
        ({"when": "$error.status == 503"}, 2),
        ({"exceptWhen": "$error.status == 500"}, 2),
        ({"when": "$error.status == 404"}, 1),
    ],
)
def test_conditions_of_the_short_form_see_the_error(condition, attempts):
    answers = [Result("uncertain", fault=communication(503)), Result("uncertain", fault=communication(500))]
    assert len(starts(until([{"c": {"call": "f", "retry": {**condition, **count(9)}}}], answers))) == attempts


def test_the_short_form_keeps_the_pointer_of_the_author_and_the_arguments():
    world = until(
        [{"c": {"call": "f", "with": {"id": "${ $task.startedAt.epoch.seconds }"}, "retry": count(1)}}], [doubt()]
    )
    assert world.root.fault.instance == "/do/0/c"
    attempts = [e for e in world.history["o_root"] if e.topic == "attempt.started"]
    assert len({(a.key, repr(a.arguments)) for a in attempts}) == 1


def test_a_policy_may_be_named():
    use = {"retries": {"often": {"delay": {"seconds": 2}, **count(3)}}}
    assert starts(until([{"c": {"call": "f", "retry": "often"}}], [doubt()], use=use)) == [0, 2, 4, 6]
    assert starts(until(retried("often"), [refused(400)], use=use)) == [0, 2, 4, 6]


def test_without_a_policy_nothing_is_retried():
    assert starts(until([CALL], [doubt()])) == [0]


def test_a_retry_of_a_callout_inside_a_try_that_retries():
    tasks = retried(
        {"delay": {"seconds": 100}, **count(1)}, {"c": {"call": "f", "retry": {"delay": {"seconds": 1}, **count(2)}}}
    )
    world = until(tasks, [doubt()])
    assert starts(world) == [0, 1, 2, 102, 103, 104]
