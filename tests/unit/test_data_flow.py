"""How data flows through tasks: the order of steps, the variables of every place, faults of expressions and schemas.

The table of the standard (dsl.md, "Runtime expression arguments") is the source of what is defined where.
"""

from typing import Any

import pytest
from msgspec.structs import replace

from domain.data import planted
from domain.errors import InvalidDefinitionError
from domain.expressions import parse
from domain.plan import Hole, Set, Template
from tests.support.flows import completed, fault_of, names, ran, runs_of
from tests.support.pure_world import World, done, doubt, plan_of, refused, unusable

DAY = {"iso8601": "2026-01-01T00:00:00.000Z", "epoch": {"seconds": 1767225600, "milliseconds": 1767225600000}}


def schema(document):
    return {"document": document}


# The order of one task ------------------------------------------------------------------------------------------------


def test_if_is_asked_first_of_all_on_the_raw_input():
    task = {
        "if": ".go",
        "input": {"schema": schema({"type": "object", "required": ["never"]}), "from": '${ error("not reached") }'},
        "set": {"x": 1},
    }
    world = ran([{"a": task}], {"go": False})
    assert world.root.status == "completed"
    assert world.root.output == {"go": False}
    assert names(world) == ["(a)"]


def test_input_schema_sees_the_raw_input_before_input_from():
    task = {"input": {"schema": schema({"required": ["raw"]}), "from": '${ error("too early") }'}, "set": {"x": 1}}
    assert fault_of([{"a": task}], {"other": 1})[0] == "validation"
    assert fault_of([{"a": task}], {"raw": 1})[0] == "expression"


def test_output_schema_sees_the_transformed_output():
    task = {"set": {"x": 1}, "output": {"as": "${ {y: .x} }", "schema": schema({"required": ["y"]})}}
    assert completed([{"a": task}]) == {"y": 1}
    task["output"]["schema"] = schema({"required": ["x"]})
    assert fault_of([{"a": task}])[:3] == ("validation", 400, "/do/0/a")


def test_export_as_sees_the_transformed_output_and_replaces_the_context():
    tasks = [
        {
            "a": {
                "set": {"x": 1},
                "output": {"as": ".x"},
                "export": {"as": "${ {was: ., out: $output, raw: $task.output} }"},
            }
        },
        {"b": {"set": {"context": "${ $context }"}, "export": {"as": "${ {only: 2} }"}}},
        {"c": {"set": {"first": "${ $input.context }", "then": "${ $context }"}}},
    ]
    assert completed(tasks) == {"first": {"was": 1, "out": 1, "raw": {"x": 1}}, "then": {"only": 2}}


def test_export_schema_sees_the_exported_context_and_a_bad_one_is_not_recorded():
    tasks = [{"a": {"set": {"x": 1}, "export": {"as": "${ {n: .x} }", "schema": schema({"required": ["m"]})}}}]
    world = ran(tasks)
    assert world.root.status == "faulted"
    assert world.root.fault.type.endswith("/validation")
    assert "export.schema" in world.root.fault.detail
    assert world.root.context == {}


def test_an_export_leaves_the_output_alone():
    assert completed([{"a": {"set": {"x": 1}, "export": {"as": "${ {n: .x} }"}}}]) == {"x": 1}


def test_without_an_export_the_context_stays():
    tasks = [
        {"a": {"set": {"x": 1}, "export": {"as": "."}}},
        {"b": {"set": {"c": "${ $context }"}}},
        {"c": {"set": "${ . }"}},
    ]
    assert completed(tasks) == {"c": {"x": 1}}


def test_output_of_a_task_is_the_raw_input_of_the_next():
    tasks = [
        {"a": {"set": {"x": 1}, "output": {"as": ".x"}}},
        {"b": {"input": {"from": "${ [., $task.input] }"}, "set": "${ . }"}},
    ]
    assert completed(tasks) == [1, 1]


def test_input_from_may_be_an_object_with_expressions_inside():
    assert completed(
        [{"a": {"input": {"from": {"n": "${ .x }", "l": ["${ .y }", 3]}}, "set": "${ . }"}}], {"x": 1, "y": 2}
    ) == {
        "n": 1,
        "l": [2, 3],
    }


def test_an_expression_without_a_result_is_null_and_several_are_an_error():
    assert completed([{"a": {"set": {"x": "${ empty }"}}}]) == {"x": None}
    assert fault_of([{"a": {"set": {"x": "${ 1, 2 }"}}}])[0] == "expression"


# The workflow itself ----------------------------------------------------------------------------------------------------


def test_workflow_input_is_validated_raw_and_then_transformed():
    top = {"input": {"schema": schema({"required": ["n"]}), "from": ".n"}, "output": {"as": "${ {got: .} }"}}
    assert completed([{"a": {"set": "${ {now: ., raw: $workflow.input} }"}}], {"n": 7}, **top) == {
        "got": {"now": 7, "raw": {"n": 7}}
    }
    assert fault_of([{"a": {"set": {"x": 1}}}], {"m": 7}, **top)[:3] == ("validation", 400, "/input")


def test_workflow_output_is_transformed_and_then_validated():
    top = {"output": {"as": ".x", "schema": schema({"type": "string"})}}
    assert completed([{"a": {"set": {"x": "s"}}}], **top) == "s"
    assert fault_of([{"a": {"set": {"x": 1}}}], **top)[:3] == ("validation", 400, "/output")


def test_workflow_output_expression_that_fails_faults_at_output():
    assert fault_of([{"a": {"set": {"x": 1}}}], output={"as": ".x.y"})[:3] == ("expression", 400, "/output")


def test_an_empty_list_of_tasks_gives_the_transformed_input():
    assert completed([], {"n": 1}, input={"from": ".n"}) == 1


# Variables --------------------------------------------------------------------------------------------------------------

PLACES = {
    "workflow input.from": lambda e: ([{"a": {"set": "${ . }"}}], {"input": {"from": e}}),
    "task if": lambda e: ([{"a": {"if": f"({e}) | true", "set": {"x": 1}}}], {}),
    "task input.from": lambda e: ([{"a": {"input": {"from": e}, "set": "${ . }"}}], {}),
    "task definition": lambda e: ([{"a": {"set": f"${{ {e} }}"}}], {}),
    "task timeout": lambda e: (
        [{"a": {"timeout": {"after": f'${{ ({e}) | "PT1S" }}'}, "wait": {"milliseconds": 0}}}],
        {},
    ),
    "task output.as": lambda e: ([{"a": {"set": {"x": 1}, "output": {"as": e}}}], {}),
    "task export.as": lambda e: ([{"a": {"set": {"x": 1}, "export": {"as": e}}}], {}),
    "workflow output.as": lambda e: ([{"a": {"set": {"x": 1}}}], {"output": {"as": e}}),
}
DEFINED = {
    "workflow input.from": "workflow runtime",
    "task if": "context task workflow runtime",
    "task input.from": "context task workflow runtime",
    "task definition": "context input task workflow runtime",
    "task timeout": "context input task workflow runtime",
    "task output.as": "context input task workflow runtime",
    "task export.as": "context input output task workflow runtime",
    "workflow output.as": "context workflow runtime",
}


@pytest.mark.parametrize("variable", ["context", "input", "output", "task", "workflow", "runtime"])
@pytest.mark.parametrize("place", PLACES)
def test_each_place_defines_exactly_the_variables_of_the_standards_table(place, variable):
    tasks, top = PLACES[place](f"[${variable}]")
    world = ran(tasks, {"n": 1}, **top)
    world.pass_time(1)
    if variable in DEFINED[place].split():
        assert world.root.status == "completed"
    else:
        assert world.root.status == "faulted"
        assert world.root.fault.type.endswith("/expression")


def test_task_describes_the_task():
    tasks: Any = [
        {"first": {"set": {"n": 1}}},
        {"then~this/one": {"input": {"from": ".n"}, "set": {"t": "${ $task }"}, "metadata": {"k": "v"}}},
    ]
    found = completed(tasks)["t"]
    assert found == {
        "name": "then~this/one",
        "reference": "/do/1/then~0this~1one",
        "definition": tasks[1]["then~this/one"],
        "input": {"n": 1},
        "startedAt": DAY,
    }


@pytest.mark.parametrize(
    "place", [{"if": "($task.startedAt.epoch.seconds == 1767225600)"}, {"input": {"from": "$task.startedAt"}}]
)
def test_task_has_begun_already_when_its_if_and_input_are_looked_at(place):
    world = ran([{"a": {**place, "set": {"x": "${ . }"}}}], {"n": 1})
    assert names(world) == ["a"]
    assert world.root.output == {"x": DAY if "input" in place else {"n": 1}}


def test_task_output_is_raw_where_the_output_is_transformed():
    task = {"call": "f", "output": {"as": "${ [., $task.output, $task.input, $input] }"}, "input": {"from": ".n"}}
    assert completed([{"a": task}], {"n": 1}, lambda _: done("raw")) == ["raw", "raw", {"n": 1}, 1]


def test_workflow_describes_the_orchestration():
    found = completed([{"a": {"set": {"w": "${ $workflow }"}}}], {"n": 1})["w"]
    assert found["id"] == "o_root"
    assert found["input"] == {"n": 1}
    assert found["startedAt"] == DAY
    assert found["definition"]["do"] == [{"a": {"set": {"w": "${ $workflow }"}}}]


def test_runtime_names_the_product_and_its_version():
    world = ran([{"a": {"set": "${ $runtime }"}}], limits={"runtime_version": "1.2.3"})
    assert world.root.output == {"name": "retrace", "version": "1.2.3", "metadata": {}}


def test_a_task_of_a_function_knows_its_definition():
    function = {"set": {"d": "${ $task.definition }", "r": "${ $task.reference }"}}
    found = completed([{"a": {"call": "f"}}], use={"functions": {"f": function}})
    assert found == {"d": function, "r": "/do/0/a/call/f"}


def test_what_an_expression_does_not_mention_is_not_handed_out():
    world = ran([{"a": {"set": {"x": "${ 1 + $context.n }"}}}])
    assert world.root.output == {"x": 1}


# Faults -----------------------------------------------------------------------------------------------------------------

BAD = '${ error("no") }'


@pytest.mark.parametrize(
    "task",
    [
        {"if": BAD, "set": {"x": 1}},
        {"input": {"from": BAD}, "set": {"x": 1}},
        {"set": {"x": {"y": [BAD]}}},
        {"set": {"x": 1}, "output": {"as": BAD}},
        {"set": {"x": 1}, "export": {"as": BAD}},
        {"switch": [{"c": {"when": BAD, "then": "end"}}]},
        {"for": {"in": BAD}, "do": [{"s": {"set": {"x": 1}}}]},
        {"for": {"in": "[1]"}, "while": BAD, "do": [{"s": {"set": {"x": 1}}}]},
        {
            "for": {"in": "[1, 2]"},
            "while": 'if $index == 1 then error("no") else true end',
            "do": [{"s": {"set": {"x": 1}}}],
        },
        {"wait": BAD},
        {"wait": {"seconds": 1}, "timeout": {"after": BAD}},
        {"emit": {"event": {"with": {"source": "s", "type": "t", "data": BAD}}}},
        {"call": "f", "with": {"x": BAD}},
        {"call": "f", "output": {"as": BAD}},
        {"raise": {"error": {"type": "https://x.test/e", "status": 400, "detail": BAD}}},
        {"listen": {"to": {"one": {"with": {"type": "t"}, "correlate": {"k": {"from": ".k", "expect": BAD}}}}}},
        {"try": [{"s": {"set": {"x": 1}}}], "catch": {"retry": {"limit": {"attempt": {"duration": BAD}}}}},
        {"run": {"workflow": {"namespace": "test", "name": "y", "version": "1.0.0", "input": {"x": BAD}}}},
    ],
    ids="-".join,
)
def test_an_expression_that_fails_faults_its_task_with_status_400(task):
    name, status, instance, detail = fault_of([{"ok": {"set": {"n": 1}}}, {"a": task}])
    assert (name, status, instance) == ("expression", 400, "/do/1/a")
    assert "no" in detail


def test_a_failing_path_says_what_jq_says():
    assert "Cannot index number" in fault_of([{"a": {"set": {"x": "${ .n.m }"}}}], {"n": 1})[3]


def test_an_error_after_the_answer_keeps_what_was_done():
    world = ran([{"a": {"call": "f", "output": {"as": ".x.y"}}}], answer=lambda _: done({"x": 1}))
    run = runs_of(world.root, "a")[0]
    assert world.root.status == "faulted"
    assert (run.effect, run.output) == ("completed", {"x": 1})


def test_an_unusable_answer_faults_but_counts_as_done():
    world = ran([{"a": {"call": "f"}}], answer=lambda _: unusable("<html>"))
    run = runs_of(world.root, "a")[0]
    assert (world.root.fault.type.endswith("/communication"), run.effect, run.output) == (True, "completed", "<html>")


def test_the_fault_of_a_participant_points_at_its_task():
    world = ran([{"a": {"do": [{"b": {"call": "f"}}]}}], answer=lambda _: refused(404))
    assert (world.root.fault.status, world.root.fault.instance) == (404, "/do/0/a/do/0/b")
    assert ran([{"a": {"call": "f"}}], answer=lambda _: doubt()).root.fault.type.endswith("/timeout")


# Callouts ---------------------------------------------------------------------------------------------------------------


def test_secrets_are_deferred_with_what_their_programs_need_and_nothing_else():
    call = {
        "call": "f",
        "input": {"from": ".n"},
        "with": {
            "plain": "${ . }",
            "header": '${ "Bearer \\($secrets.token) \\($context) \\(.)" }',
            "list": ["${ $secrets.token }"],
        },
    }
    world = ran([{"a": call}], {"n": 1}, answer=lambda _: None, use={"secrets": ["token"]})
    started = next(event for event in world.history["o_root"] if event.topic == "attempt.started")
    assert started.arguments == {"plain": 1, "header": None, "list": [None]}
    assert started.deferred == (
        (("header",), '"Bearer \\($secrets.token) \\($context) \\(.)"', ("context",), (1, {})),
        (("list", 0), "$secrets.token", (), (1,)),
    )


SECRET = '${ "x" + $secrets.token }'


@pytest.mark.parametrize(
    "task",
    [
        {"set": {"x": SECRET}},
        {"if": "$secrets.token", "set": {"x": 1}},
        {"call": "f", "input": {"from": "$secrets.token"}},
        {"call": "f", "output": {"as": "$secrets.token"}},
        {"call": "f", "export": {"as": "$secrets.token"}},
        {"call": "f", "timeout": {"after": SECRET}},
        {"raise": {"error": {"type": "https://x.test/e", "status": 400, "detail": SECRET}}},
        {"emit": {"event": {"with": {"source": "s", "type": "t", "data": SECRET}}}},
        {"run": {"workflow": {"namespace": "test", "name": "y", "version": "1.0.0", "input": {"x": SECRET}}}},
    ],
    ids="-".join,
)
def test_secrets_are_refused_wherever_they_would_be_recorded(task):
    with pytest.raises(InvalidDefinitionError) as refusal:
        plan_of([{"a": task}], use={"secrets": ["token"]})
    assert [problem.code for problem in refusal.value.problems] == ["secret-not-allowed"]


def test_a_plan_that_reads_a_secret_elsewhere_faults_and_records_nothing_of_it():
    plan = plan_of([{"a": {"set": {"x": "${ $input }"}}}])
    hole = Hole(("x",), parse("$secrets.token"))
    node = replace(plan.nodes["/do/0/a"], work=Set(Template({"x": None}, (hole,))))
    root = replace(plan.root, nodes={node.pointer: node})
    world = World(replace(plan, root=root, nodes={node.pointer: node}), lambda _: None)
    state: Any = world.start()
    assert (state.status, state.fault.type.rpartition("/")[2]) == ("faulted", "expression")


def test_planting_shares_what_it_does_not_touch():
    base = {"a": {"b": [1, None, {"c": None}]}, "d": {"e": 1}}
    made = planted(base, {("a", "b", 1): 2, ("a", "b", 2, "c"): 3})
    assert made == {"a": {"b": [1, 2, {"c": 3}]}, "d": {"e": 1}}
    assert base == {"a": {"b": [1, None, {"c": None}]}, "d": {"e": 1}}
    assert made["d"] is base["d"]
    assert (planted(None, {}), planted(None, {(): 7})) == (None, 7)


def test_arguments_of_http_carry_the_input_for_uri_templates():
    http = {"call": "http", "with": {"method": "get", "endpoint": "http://x.test/{id}"}}
    assert completed([{"a": http}], {"id": 7}) == {
        "method": "get",
        "endpoint": "http://x.test/{id}",
        "$input": {"id": 7},
    }


def test_plans_of_the_same_document_are_equal():
    tasks = [{"a": {"set": {"x": "${ .y }"}}}]
    assert plan_of(tasks) == plan_of(tasks)
