"""``try`` and ``catch``: which errors are caught, what the handler sees, and ``raise``."""

from typing import Any

import pytest

from domain.errors import KIT, OURS, SPEC, Fault
from tests.support.flows import completed, fault_of, names, never, ran, runs_of
from tests.support.pure_world import Result, done, doubt, plan_of, refused

ERROR = {"type": "https://x.test/errors/e", "status": 409, "title": "T", "detail": "D"}


def raising(error=None, **more):
    return {"raise": {"error": {**ERROR, **(error or {})}}, **more}


def tried(catch, *tasks, **more):
    return {"try": list(tasks) or [{"no": raising()}], "catch": catch, **more}


CAUGHT = {"do": [{"h": {"set": {"caught": "${ $error }"}}}]}


def caught(catch, *tasks):
    """Whether this catch takes the error."""
    state = ran([{"t": tried({**CAUGHT, **catch}, *tasks)}]).root
    assert state.status in ("completed", "faulted")
    return state.status == "completed"


# What the handler sees ----------------------------------------------------------------------------------------------------


def test_the_error_has_its_members_and_points_at_the_task_that_raised_it():
    assert completed([{"t": tried(CAUGHT)}]) == {"caught": {**ERROR, "instance": "/do/0/t/try/0/no"}}


def test_the_error_may_be_named_and_lives_in_the_handler_only():
    tasks = [
        {"t": tried({"as": "e", "do": [{"d": {"do": [{"h": {"set": {"s": "${ $e.status }"}}}]}}]})},
        {"z": {"set": {"x": "${ $e }"}}},
    ]
    assert completed(tasks[:1]) == {"s": 409}
    assert fault_of(tasks)[0] == "expression"


def test_the_handler_starts_with_the_transformed_input_of_the_try():
    tasks = [
        {
            "t": tried(
                {"do": [{"h": {"set": {"now": "${ . }"}}}]},
                {"a": {"set": {"m": 2}}},
                {"no": raising()},
                input={"from": ".n"},
            )
        }
    ]
    assert completed(tasks, {"n": 1}) == {"now": 1}


def test_without_a_handler_the_try_completes_with_its_input():
    assert completed([{"t": tried({}, input={"from": ".n"})}], {"n": 1}) == 1


def test_without_an_error_the_output_of_the_block_goes_on():
    assert completed([{"t": tried(CAUGHT, {"a": {"set": {"m": 2}}}, output={"as": ".m"})}]) == 2


def test_the_exports_of_the_block_stay_after_an_error():
    tasks = [
        {"t": tried({}, {"a": {"set": {"m": 2}, "export": {"as": "."}}}, {"no": raising()})},
        {"z": {"set": {"c": "${ $context }"}}},
    ]
    assert completed(tasks) == {"c": {"m": 2}}


def test_the_answer_of_a_participant_is_an_extension_of_the_error():
    why = Fault(
        SPEC + "communication", 422, "Unprocessable", response={"status": 422, "headers": {}, "content": {"field": "x"}}
    )
    task = tried(
        {"do": [{"h": {"set": {"f": "${ $error.response.content.field }", "t": "${ $error.title }"}}}]},
        {"c": {"call": "f"}},
    )
    assert completed([{"t": task}], answer=lambda _: Result("refused", fault=why)) == {"f": "x", "t": "Unprocessable"}


# Filters ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("filter_", "takes"),
    [
        ({"type": ERROR["type"]}, True),
        ({"type": "https://x.test/errors/other"}, False),
        ({"status": 409}, True),
        ({"status": 404}, False),
        ({"title": "T"}, True),
        ({"title": "t"}, False),
        ({"detail": "D"}, True),
        ({"details": "D"}, True),
        ({"details": "other"}, False),
        ({"instance": "/do/0/t/try/0/no"}, True),
        ({"instance": "/do/0/t"}, False),
        ({"type": ERROR["type"], "status": 409, "title": "T", "details": "D"}, True),
        ({"type": ERROR["type"], "status": 404}, False),
        ({"status": "${ 400 + 9 }"}, True),
        ({"type": "${ $workflow.input.type }"}, False),
    ],
)
def test_every_member_that_is_named_must_be_equal(filter_, takes):
    assert caught({"errors": {"with": filter_}}) is takes


@pytest.mark.parametrize("prefix", [SPEC, KIT])
@pytest.mark.parametrize("raised", [SPEC, KIT])
def test_both_forms_of_the_standards_types_are_equal(prefix, raised):
    assert caught({"errors": {"with": {"type": prefix + "timeout"}}}, {"no": raising({"type": raised + "timeout"})})
    assert not caught({"errors": {"with": {"type": prefix + "runtime"}}}, {"no": raising({"type": raised + "timeout"})})


def test_an_error_without_a_title_has_none_to_be_equal():
    bare = {"no": {"raise": {"error": {"type": "https://x.test/e", "status": 400}}}}
    assert not caught({"errors": {"with": {"title": "T"}}}, bare)


@pytest.mark.parametrize(
    ("conditions", "takes"),
    [
        ({"when": "$error.status == 409"}, True),
        ({"when": "$error.status == 404"}, False),
        ({"exceptWhen": "$error.status == 409"}, False),
        ({"exceptWhen": "$error.status == 404"}, True),
        ({"when": "true", "exceptWhen": "true"}, False),
        ({"when": "false", "exceptWhen": "false"}, False),
        ({"errors": {"with": {"status": 404}}, "when": "true"}, False),
        ({"as": "e", "when": '$e.title == "T"', "do": [{"h": {"set": {"x": 1}}}]}, True),
    ],
)
def test_when_and_except_when_are_asked_after_the_filter(conditions, takes):
    assert caught(conditions) is takes


def test_a_condition_that_fails_is_the_fault_of_the_try():
    name, _, instance, _ = fault_of([{"t": tried({"when": 'error("no")'})}])
    assert (name, instance) == ("expression", "/do/0/t")


@pytest.mark.parametrize(
    ("task", "type_"),
    [
        ({"set": {"x": '${ error("no") }'}}, "expression"),
        ({"set": {"x": 1}, "output": {"schema": {"document": {"type": "string"}}}}, "validation"),
        ({"run": {"workflow": {"namespace": "test", "name": "nobody", "version": "1.0.0"}}}, "configuration"),
        ({"call": "f"}, "communication"),
    ],
)
def test_faults_of_every_kind_can_be_caught(task, type_):
    answer = Result("refused", fault=Fault(SPEC + "communication", 404, "Not Found"))
    state = ran(
        [{"t": tried({**CAUGHT, "errors": {"with": {"type": SPEC + type_}}}, {"a": task})}], answer=lambda _: answer
    ).root
    assert state.status == "completed"
    assert state.output["caught"]["instance"] == "/do/0/t/try/0/a"


# Nesting ----------------------------------------------------------------------------------------------------------------


def test_what_the_inner_does_not_take_the_outer_may():
    inner = tried({"errors": {"with": {"status": 404}}})
    assert completed([{"o": tried(CAUGHT, {"i": inner})}])["caught"]["instance"] == "/do/0/o/try/0/i/try/0/no"


def test_an_error_in_the_handler_goes_outward_not_to_the_same_catch():
    inner = tried({"do": [{"again": raising({"status": 500})}]})
    assert completed([{"o": tried(CAUGHT, {"i": inner})}])["caught"]["status"] == 500
    assert fault_of([{"i": inner}])[1] == 500


def test_the_handler_sees_the_errors_of_the_handlers_around_it():
    inner = tried(
        {"as": "second", "do": [{"h": {"set": {"both": "${ [$first.status, $second.status] }"}}}]},
        {"no": raising({"status": 404})},
    )
    assert completed([{"o": tried({"as": "first", "do": [{"i": inner}]})}]) == {"both": [409, 404]}


def test_a_try_waits_until_all_inside_has_settled():
    block = {"f": {"fork": {"branches": [{"a": {"call": "fa"}}, {"b": {"call": "fb"}}]}}}
    world = ran([{"t": tried(CAUGHT, block)}], answer=never)
    first, second = world.flying
    world.reply(first, refused(404))
    assert "h" not in names(world)
    world.reply(second, done())
    assert world.root.output["caught"]["status"] == 404


def test_doubt_can_be_caught_and_stays_registered():
    world = ran([{"t": tried(CAUGHT, {"a": {"call": "f"}})}], answer=lambda _: doubt())
    assert world.root.output["caught"]["type"] == SPEC + "timeout"
    assert runs_of(world.root, "a")[0].effect == "uncertain"


def test_a_timeout_inside_is_caught_and_the_timeout_of_the_try_itself_is_not():
    inside = [{"t": tried(CAUGHT, {"w": {"wait": {"hours": 1}, "timeout": {"after": {"seconds": 5}}}})}]
    world = ran(inside)
    world.pass_time(5)
    assert world.root.output["caught"]["instance"] == "/do/0/t/try/0/w"
    world = ran([{"t": tried(CAUGHT, {"w": {"wait": {"hours": 1}}}, timeout={"after": {"seconds": 5}})}])
    world.pass_time(5)
    assert (world.root.status, world.root.fault.instance) == ("faulted", "/do/0/t")


def test_an_error_in_a_loop_can_be_caught_in_each_turn():
    body = {"t": tried({"do": [{"h": {"set": {"n": "${ (.n // 0) + 1 }"}}}]})}
    assert completed([{"l": {"for": {"in": "[1, 2, 3]"}, "do": [body]}}]) == {"n": 3}


# raise ------------------------------------------------------------------------------------------------------------------


def test_raise_faults_with_the_error_as_it_is():
    state = ran([{"r": raising()}]).root
    assert state.fault.as_json() == {**ERROR, "instance": "/do/0/r"}


def test_raise_keeps_an_instance_of_the_author():
    assert ran([{"r": raising({"instance": "/elsewhere"})}]).root.fault.instance == "/elsewhere"


def test_the_members_of_a_raised_error_may_be_expressions():
    error = {
        "type": '${ "https://x.test/\\(.kind)" }',
        "status": "${ .status }",
        "title": "${ $task.name }",
        "detail": "${ $workflow.id }",
    }
    fault = ran([{"r": {"raise": {"error": error}}}], {"kind": "k", "status": 418}).root.fault
    assert fault == Fault("https://x.test/k", 418, "r", "o_root", "/do/0/r")


def test_a_named_error_is_raised_by_reference():
    use = {"errors": {"mine": {**ERROR, "detail": "${ .why }"}}}
    fault = ran([{"r": {"raise": {"error": "mine"}}}], {"why": "because"}, use=use).root.fault
    assert (fault.type, fault.detail) == (ERROR["type"], "because")


@pytest.mark.parametrize(
    "bad", [{"status": "${ true }"}, {"status": "${ .s }"}, {"type": "${ 1 }"}, {"type": "${ null }"}]
)
def test_an_error_that_comes_out_without_type_or_status_is_an_expression_fault(bad):
    assert fault_of([{"r": raising(bad)}], {"s": "400"})[:3] == ("expression", 400, "/do/0/r")


def test_a_caught_error_can_be_raised_again_with_a_change():
    again = {"raise": {"error": {"type": "${ $error.type }", "status": 503, "detail": "${ $error.detail }"}}}
    fault = ran([{"t": tried({"do": [{"r": again}]})}]).root.fault
    assert (fault.type, fault.status, fault.detail, fault.instance) == (ERROR["type"], 503, "D", "/do/0/t/catch/do/0/r")


def test_nothing_runs_after_a_raise():
    assert names(ran([{"r": raising()}, {"a": {"call": "f"}}])) == ["r"]


def test_a_type_of_ours_is_a_type_like_any_other():
    assert caught({"errors": {"with": {"type": OURS + "sold-out"}}}, {"no": raising({"type": OURS + "sold-out"})})


def test_a_plan_keeps_details_under_the_standards_name():
    plan: Any = plan_of([{"t": tried({"errors": {"with": {"details": "D"}}})}])
    assert [name for name, _ in plan.nodes["/do/0/t"].work.catch.errors] == ["detail"]
