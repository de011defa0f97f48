"""Where tokens go: sequences, ``then`` at every level, skipped tasks, loops by ``then``, nesting, functions, children."""

import pytest

from domain import commands as c
from tests.support.flows import completed, echo, fault_of, names, never, ran, runs_of
from tests.support.pure_world import START, World, done, plan_of, refused


def add(word, **more):
    return {"set": {"seen": f'${{ .seen + ["{word}"] }}'}, **more}


def steps(*words, **then):
    """A list of tasks that each add their name to `seen`."""
    return [{word: add(word, **({"then": then[word]} if word in then else {}))} for word in words]


SEEN = "${ .seen }"


# then ---------------------------------------------------------------------------------------------------------------------


def test_tasks_follow_each_other_in_the_order_of_the_document():
    assert completed(steps("a", "b", "c")) == {"seen": ["a", "b", "c"]}


@pytest.mark.parametrize(
    ("then", "seen"),
    [
        ({"a": "continue"}, ["a", "b", "c"]),
        ({"a": "c"}, ["a", "c"]),
        ({"a": "exit"}, ["a"]),
        ({"a": "end"}, ["a"]),
        ({"a": "c", "c": "b", "b": "end"}, ["a", "c", "b"]),
        ({"c": "continue"}, ["a", "b", "c"]),
    ],
)
def test_then_at_the_top(then, seen):
    assert completed(steps("a", "b", "c", **then)) == {"seen": seen}


def inside(kind, body):
    """A task whose inner list is `body`; what it adds around `body` is nothing."""
    return {
        "do": {"do": body},
        "turn": {"for": {"in": "[1, 2]"}, "do": body},
        "branch": {"fork": {"branches": [{"only": {"do": body}}]}, "output": {"as": ".[0]"}},
        "try": {"try": body, "catch": {}},
        "catch": {
            "try": [{"no": {"raise": {"error": {"type": "https://x.test/e", "status": 400}}}}],
            "catch": {"do": body},
        },
        "function": {"call": "f"},
    }[kind]


@pytest.mark.parametrize("kind", ["do", "turn", "branch", "try", "catch", "function"])
@pytest.mark.parametrize(
    ("then", "once", "goes_on"),
    [
        ("continue", ["a", "b"], True),
        ("b", ["a", "b"], True),
        ("exit", ["a"], True),
        ("end", ["a"], False),
    ],
)
def test_then_inside(kind, then, once, goes_on):
    """`exit` leaves the innermost list only; `end` ends the orchestration with the output of its task."""
    body = steps("a", "b", a=then)
    use = {"use": {"functions": {"f": {"do": body}}}} if kind == "function" else {}
    twice = kind == "turn" and goes_on
    expected = once * (2 if twice else 1) + (["after"] if goes_on else [])
    assert completed([{"outer": inside(kind, body)}, *steps("after")], **use) == {"seen": expected}


def test_then_of_a_branch_that_is_a_single_task():
    branch = {"fork": {"branches": [{"x": add("x", then="exit")}, {"y": add("y")}]}}
    assert completed([{"f": branch}, {"g": {"set": {"all": "${ . }"}}}]) == {"all": [{"seen": ["x"]}, {"seen": ["y"]}]}


def test_end_in_a_branch_keeps_what_is_in_flight_and_completes():
    fork = {
        "fork": {
            "branches": [{"slow": {"call": "f"}}, {"stop": add("stop", then="end")}, {"nap": {"wait": {"hours": 1}}}]
        }
    }
    world = ran([{"f": fork}, *steps("never")], answer=never)
    assert world.root.status == "running"
    assert runs_of(world.root, "nap")[0].status == "cancelled"
    world.reply(world.flying[0], done("late but kept"))
    assert world.root.status == "completed"
    assert world.root.output == {"seen": ["stop"]}
    assert runs_of(world.root, "slow")[0].status == "completed"


def test_the_output_of_the_workflow_is_transformed_after_end_too():
    assert completed(steps("a", "b", a="end"), output={"as": ".seen[0]"}) == "a"


def test_then_of_a_composite_and_of_the_catch():
    failing = [{"no": {"raise": {"error": {"type": "https://x.test/e", "status": 400}}}}]
    tasks = [{"t": {"try": failing, "catch": {"do": steps("caught"), "then": "c"}, "then": "b"}}, *steps("a", "b", "c")]
    assert completed(tasks) == {"seen": ["caught", "c"]}
    fine = [{"t": {"try": steps("tried"), "catch": {"then": "c"}, "then": "b"}}, *steps("a", "b", "c")]
    assert completed(fine) == {"seen": ["tried", "b", "c"]}
    without_do = [{"t": {"try": failing, "catch": {"then": "c"}, "then": "b"}}, *steps("a", "b", "c")]
    assert completed(without_do) == {"seen": ["c"]}


def test_then_inside_foreach_and_a_compensation_that_exits():
    listen = {
        "listen": {"to": {"any": [{"with": {"type": "t"}}], "until": "length == 2"}},
        "foreach": {"do": [{"x": {"set": "${ $item }", "then": "exit"}}, {"y": {"set": {"never": 1}}}]},
    }
    world = ran([{"l": listen}])
    world.receive("t", "p")
    world.receive("t", "q")
    assert world.root.output == ["p", "q"]
    undo = {"do": [{"u1": {"set": {"x": 1}, "then": "exit"}}, {"u2": {"call": "never"}}]}
    world = ran(
        [
            {"a": {"call": "f", "compensate": undo}},
            {"no": {"raise": {"error": {"type": "https://x.test/e", "status": 400}}}},
        ]
    )
    assert world.root.status == "compensated"
    assert "u2" not in names(world)


# if ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "runs"), [(True, True), (False, False), (None, False), (0, True), ("", True), ([], True), ({}, True)]
)
def test_if_has_jqs_truth(value, runs):
    assert completed([{"a": {"if": ".go", "set": {"done": 1}}}], {"go": value}) == (
        {"done": 1} if runs else {"go": value}
    )


def test_a_skipped_task_hands_its_raw_input_on_and_exports_nothing():
    tasks = [
        {"a": {"set": {"n": 1}}},
        {"b": {"if": "false", "input": {"from": ".n"}, "set": {"m": 2}, "output": {"as": ".m"}, "export": {"as": "."}}},
        {"c": {"set": {"got": "${ . }", "context": "${ $context }"}}},
    ]
    assert completed(tasks) == {"got": {"n": 1}, "context": {}}


@pytest.mark.parametrize("then", ["end", "exit", "c"])
def test_a_skipped_task_is_followed_by_the_next_in_line_whatever_its_then(then):
    tasks = [{"a": add("a", then=then) | {"if": "false"}}, *steps("b", "c")]
    assert completed(tasks, {"seen": []}) == {"seen": ["b", "c"]}


def test_all_skipped_gives_the_input():
    assert completed(
        [{"a": {"if": "false", "call": "f"}}, {"b": {"if": "false", "do": [{"c": {"set": {"x": 1}}}]}}], {"n": 1}
    ) == {"n": 1}


# Loops by then -----------------------------------------------------------------------------------------------------------

COUNT = [
    {"count": {"set": {"n": "${ .n + 1 }"}}},
    {"enough": {"switch": [{"yes": {"when": ".n >= $workflow.input.to", "then": "exit"}}], "then": "count"}},
]


def test_a_loop_by_then_gives_a_run_per_pass():
    world = ran(COUNT, {"n": 0, "to": 5})
    assert world.root.output == {"n": 5}
    assert [run.id for run in runs_of(world.root, "count")] == [f"/do/0/count#{n}" for n in range(1, 6)]


def test_a_loop_with_a_wait_goes_on_for_long():
    loop = [{"tick": {"set": {"n": "${ .n + 1 }"}}}, {"nap": {"wait": {"seconds": 1}, "then": "tick"}}]
    world = ran(loop, {"n": 0}, limits={"max_events": 50})
    world.pass_time(200)
    assert world.root.status == "running"
    assert len(runs_of(world.root, "tick")) == 201


ENDLESS = [{"a": {"set": {"x": 1}}}, {"b": {"set": {"x": 2}, "then": "a"}}]
CATCH_ALL = {"catch": {"do": [{"again": {"set": {"x": 0}}}]}}


@pytest.mark.parametrize(
    "tasks",
    [
        ENDLESS,
        [{"a": {"switch": [{"same": {"when": ".x == 1", "then": "a"}}, {"other": {"then": "a"}}]}}],
        [{"d": {"do": ENDLESS}}],
        [{"t": {"try": ENDLESS, **CATCH_ALL}}],
        [{"t": {"try": [{"a": {"set": {"x": 1}}}], "catch": {}, "then": "u"}}, {"u": {"do": [], "then": "t"}}],
        [
            {
                "o": {
                    "for": {"in": "[range(100)]"},
                    "do": [{"i": {"for": {"in": "[range(100)]"}, "do": [{"s": {"set": {"x": 1}}}]}}],
                }
            }
        ],
    ],
    ids=["chain", "switch", "nested", "caught", "composites", "far too many turns"],
)
def test_an_endless_loop_faults_the_orchestration_and_says_so(tasks):
    world = ran(tasks, limits={"max_events": 400})
    assert world.root.status == "faulted"
    assert world.root.fault.type.endswith("/runtime")
    assert "400 events without a pause" in world.root.fault.detail
    assert len(world.history["o_root"]) < 450


def test_an_endless_loop_in_a_compensation_is_an_incident():
    tasks = [
        {"a": {"call": "f", "compensate": {"do": [{"t": {"try": ENDLESS, **CATCH_ALL}}]}}},
        {"no": {"raise": {"error": {"type": "https://x.test/e", "status": 400}}}},
    ]
    world = ran(tasks, limits={"max_events": 400})
    assert world.root.status == "compensating"
    assert [i.kind for i in world.root.open_incidents()] == ["compensation_failed"]


def test_an_endless_loop_after_the_pivot_is_an_incident():
    tasks = [{"p": {"call": "f", "pivot": True}}, {"d": {"do": ENDLESS}}]
    world = ran(tasks, limits={"max_events": 400})
    assert world.root.status == "running"
    assert [i.kind for i in world.root.open_incidents()] == ["after_pivot"]


# Nesting ----------------------------------------------------------------------------------------------------------------


def nested(kind, levels):
    body = [{"innermost": {"call": "f"}}]
    for level in range(levels):
        body = [{f"l{level}": inside(kind, body)}]
    return body


DEEP = [("do", 30), ("try", 30), ("catch", 21), ("branch", 13)]
"""A document nests at most 100 levels of JSON."""


@pytest.mark.parametrize(("kind", "levels"), DEEP)
def test_many_levels_deep(kind, levels):
    world = ran(nested(kind, levels), {"n": 1}, answer=lambda _: done({"deep": True}))
    assert world.root.status == "completed"
    assert world.root.output == {"deep": True}
    assert all(scope.phase in ("done", "closed") for name, scope in world.root.scopes.items() if name)


@pytest.mark.parametrize(("kind", "levels"), [DEEP[0], DEEP[3]])
def test_an_error_from_many_levels_deep(kind, levels):
    world = ran(nested(kind, levels), {"n": 1}, answer=lambda _: refused(404))
    assert world.root.status == "faulted"
    assert world.root.fault.instance.endswith("/innermost")
    assert not world.root.open


# Functions and children ----------------------------------------------------------------------------------------------------


def test_a_function_of_the_document_gets_its_arguments_as_input():
    use = {"functions": {"double": {"set": {"n": "${ .n * 2 }"}}}}
    tasks = [{"a": {"call": "double", "with": {"n": "${ .start }"}}}, {"b": {"call": "double"}}]
    assert completed(tasks, {"start": 3}, use=use) == {"n": 12}


def test_a_function_may_be_called_from_several_places_and_from_functions():
    use = {"functions": {"one": {"call": "two"}, "two": {"call": "remote", "with": {"from": "${ .n }"}}}}
    assert completed([{"a": {"call": "one"}}, {"b": {"call": "two", "with": {"n": 2}}}], {"n": 1}, use=use) == {
        "from": 2
    }


def test_arguments_of_a_python_function_are_evaluated_in_depth():
    assert completed([{"a": {"call": "f", "with": {"x": {"y": ["${ .n }", "n", 1]}}}}], {"n": 5}) == {
        "x": {"y": [5, "n", 1]}
    }
    assert completed([{"a": {"call": "f"}}], {"n": 5}) == {}


def child(tasks, **top):
    plan = plan_of(tasks, **top)
    return type(plan)(
        **{name: getattr(plan, name) for name in plan.__struct_fields__} | {"name": "y", "digest": "sha256:y"}
    )


def family(run, tasks, answer=echo, input_=None, **top):
    world = World(
        {
            "x": plan_of([{"c": {"run": {"workflow": {"namespace": "test", "name": "y", "version": "1.0.0", **run}}}}]),
            "y": child(tasks, **top),
        },
        answer,
    )
    world.start(input_, "x")
    return world


def test_a_child_gets_the_evaluated_input_and_gives_its_output():
    world = family(
        {"input": {"m": "${ .n }"}}, [{"s": {"set": {"got": "${ . }"}}}], input_={"n": 1}, output={"as": ".got"}
    )
    assert (world.root.status, world.root.output) == ("completed", {"m": 1})


def test_a_child_without_input_gets_that_of_the_task():
    assert family({}, [{"s": {"set": {"got": "${ . }"}}}], input_={"n": 1}).root.output == {"got": {"n": 1}}


def test_the_output_of_a_run_is_transformed_like_any_other():
    world = World(
        {
            "x": plan_of(
                [
                    {
                        "c": {
                            "run": {"workflow": {"namespace": "test", "name": "y", "version": "1.0.0"}},
                            "output": {"as": ".n + 1"},
                        }
                    }
                ]
            ),
            "y": child([]),
        },
        echo,
    )
    assert world.start({"n": 1}, "x").output == 2


def test_a_child_that_faults_or_was_refused_its_input_fails_the_task():
    failing = [{"no": {"raise": {"error": {"type": "https://x.test/e", "status": 418, "title": "T"}}}}]
    state = family({}, failing).root
    assert (state.status, state.fault.type, state.fault.status, state.fault.instance) == (
        "faulted",
        "https://x.test/e",
        418,
        "/do/0/c",
    )
    state = family({}, [], input={"schema": {"document": {"required": ["n"]}}}).root
    assert (state.status, state.fault.type.rpartition("/")[2]) == ("faulted", "validation")


def test_a_definition_that_is_not_there_is_a_configuration_fault():
    missing = {"run": {"workflow": {"namespace": "test", "name": "nobody", "version": "1.0.0"}}}
    assert fault_of([{"c": missing}])[:3] == ("configuration", 400, "/do/0/c")


def test_a_child_that_is_not_awaited_lets_the_task_complete_with_its_input():
    run = {
        "run": {"workflow": {"namespace": "test", "name": "y", "version": "1.0.0", "input": {"m": 1}}, "await": False}
    }
    world = World({"x": plan_of([{"c": run}]), "y": child([{"f": {"call": "f"}}])}, never)
    assert world.start({"n": 1}, "x").output == {"n": 1}
    assert [state.status for name, state in world.states.items() if name != "o_root"] == ["running"]


# One more thing ----------------------------------------------------------------------------------------------------------


def test_the_clock_of_a_history_never_goes_back():
    world = ran([{"a": {"wait": {"seconds": 2}}}, {"b": {"call": "f"}}])
    world.pass_time(5)
    instants = [event.at for event in world.history["o_root"]]
    assert instants == sorted(instants)
    assert instants[0] == START


def test_nothing_moves_after_the_end():
    world = ran(steps("a"))
    before = list(world.history["o_root"])
    world.do("o_root", c.FireTimers)
    world.pass_time(1000)
    assert world.history["o_root"] == before
