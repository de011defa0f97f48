"""Rules of rollback: what has an effect, and what is undone. Each test quotes its sentence."""

from __future__ import annotations

import pytest

from domain import events as e
from domain.rollback import outcome
from tests.support.pure_world import Result, done, doubt, refused, unusable
from tests.support.scripted import Scripted, bare, step

FAIL = bare("fail")


def rolled_back(*tasks: object, **script: Result | list[Result | None] | None) -> Scripted:
    world = Scripted([*tasks, FAIL], {"fail": refused(), **script})
    world.start_it()
    return world


def test_a_definite_failure_is_not_undone() -> None:
    """ "Completed and uncertain runs that declare `compensate`; not definite failures." """
    world = rolled_back(step("a"), step("b"), b=refused())
    assert world.undone == ["a"]
    assert world.run("b").effect == "failed"
    assert world.root.status == "compensated"


def test_an_uncertain_run_is_undone() -> None:
    """ "Completed and uncertain runs that declare `compensate`" """
    world = rolled_back(step("a"), step("b"), b=doubt())
    assert world.undone == ["b", "a"]


RETRY = {"delay": {"seconds": 1}, "limit": {"attempt": {"count": 3}}}


def test_a_later_refusal_does_not_clear_a_doubt() -> None:
    """ "A run is uncertain if any attempt was and none completed; a later refusal does not clear it." """
    world = rolled_back(step("a", retry=RETRY), a=[doubt(), refused()])
    world.pass_time(5)
    assert [call.number for call in world.calls if call.function == "a"] == [1, 2]
    assert (world.run("a").effect, world.undone) == ("uncertain", ["a"])


def test_a_completed_attempt_clears_a_doubt() -> None:
    """ "A run is uncertain if any attempt was and none completed" """
    world = rolled_back(step("a", {"after": "completed"}, retry=RETRY), a=[doubt(), done()])
    world.pass_time(5)
    assert (world.run("a").effect, world.undone) == ("completed", ["a"])


@pytest.mark.parametrize("where", ["output", "export"])
def test_an_error_after_the_answer_faults_the_flow_but_the_run_stays_registered(where: str) -> None:
    """ "A success answer records the effect as done before its body, `output`, `export` or schema is looked at: an error
    there faults the flow, but the run stays registered, with its raw answer." """
    world = Scripted([step("a", {"with": {"raw": "${ $task.output }"}}, **{where: {"as": "error"}})])
    world.start_it()
    run = world.run("a")
    assert (run.effect, run.output) == ("completed", {"by": "a"})
    assert world.call_of("undo_a").arguments["raw"] == {"by": "a"}
    assert world.root.status == "compensated"


def test_a_schema_that_the_answer_does_not_meet() -> None:
    """ "A success answer records the effect as done before its ... schema is looked at" """
    schema = {"schema": {"document": {"type": "string"}}}
    world = Scripted([step("a", output=schema)])
    world.start_it()
    assert (world.run("a").effect, world.undone) == ("completed", ["a"])


def test_a_body_that_cannot_be_used() -> None:
    """ "A success answer records the effect as done before its body ... is looked at" """
    world = Scripted([step("a")], {"a": unusable("<html>")})
    world.start_it()
    assert (world.run("a").status, world.run("a").undo.status) == ("compensated", "completed")
    assert world.run("a").output == "<html>"


def test_a_read_that_declares_a_compensation_is_registered_too() -> None:
    """ "the run stays registered": also one that changes nothing by itself."""
    get = {"call": "http", "with": {"method": "get", "endpoint": "http://x.test"}, "output": {"as": "error"}}
    world = Scripted([{"a": {**get, "compensate": {"call": "undo_a"}}}])
    world.start_it()
    assert world.undone == ["a"]


def test_status_and_effect_are_separate_facts() -> None:
    """ "What happened to the world ... and the task's status are separate facts." """
    world = Scripted([step("a", output={"as": "error"})], {"undo_a": None})
    world.start_it()
    assert [event.effect for event in world.recorded(e.TaskFailed)] == ["completed"]
    assert world.run("a").effect == "completed"


@pytest.mark.parametrize(
    ("after", "answer", "undone"),
    [
        ("completed", done(), True),
        ("completed", doubt(), False),
        ("completed", refused(), False),
        ("uncertain", done(), True),
        ("uncertain", doubt(), True),
        ("uncertain", refused(), False),
        ("attempted", done(), True),
        ("attempted", doubt(), True),
        ("attempted", refused(), True),
    ],
)
def test_compensate_after_may_say_otherwise(after: str, answer: Result, undone: bool) -> None:
    """ "`compensate.after` may say otherwise." """
    world = rolled_back(step("a", {"after": after}), a=answer)
    assert (world.undone == ["a"]) is undone


def test_attempted_means_that_something_was_sent() -> None:
    """ "`compensate.after`": a task that never sent anything was not attempted."""
    world = Scripted([step("a", {"after": "attempted"}, **{"with": {"n": "${ error }"}})])
    world.start_it()
    assert (world.undone, world.root.status) == ([], "faulted")


# compensate.if ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("condition", "undone"), [(".n == 1", True), (".n == 2", False), ("null", False), ("0", True)])
def test_if_is_asked_of_completed_runs(condition: str, undone: bool) -> None:
    """ "`compensate.if` is asked only of completed runs" - with the transformed output as `.`, and jq's truth."""
    world = rolled_back(step("a", {"if": condition}, output={"as": "{n: 1}"}))
    assert (world.undone == ["a"]) is undone
    assert (world.left_behind() == {"a": "its compensate.if is false"}) is not undone


def test_what_is_left_behind_is_no_longer_armed() -> None:
    """The plan is made: nothing will undo it any more."""
    world = rolled_back(step("a", {"if": "false"}), step("b"), undo_b=None)
    assert (world.run("a").undo.status, world.run("b").undo.status) == ("none", "running")


def test_what_a_partial_rollback_leaves_behind_is_still_armed() -> None:
    """The rollback of the whole asks again."""
    condition = '$error.title != "Refused"'
    block = {"t": {"try": [step("a", {"if": condition}), FAIL], "catch": {"compensate": True}}}
    world = Scripted([block, {"w": {"wait": {"hours": 1}}}], {"fail": refused()})
    world.start_it()
    assert (world.run("a").undo.status, world.undone) == ("armed", [])
    world.cancel()
    assert (world.run("a").undo.status, world.undone) == ("completed", ["a"])


def test_if_is_not_asked_of_an_uncertain_run() -> None:
    """ "an uncertain one is undone without asking" """
    assert rolled_back(step("a", {"if": "false"}), a=doubt()).undone == ["a"]


def test_if_that_cannot_be_evaluated_is_an_incident_never_a_skip() -> None:
    """ "an `if` that cannot be evaluated is an incident, never a skip" """
    world = rolled_back(step("before"), step("a", {"if": "error"}), step("after"))
    assert world.undone == ["after"], "nothing earlier is undone"
    assert (world.incident().kind, world.root.status) == ("compensation_failed", "compensating")
    fault = world.incident().fault
    assert fault is not None
    assert fault.type.endswith("/expression")


@pytest.mark.parametrize(
    ("action", "undone", "result"),
    [("retry", ["a", "before"], "complete"), ("skip", ["before"], "partial"), ("complete", ["before"], "complete")],
)
def test_the_operator_decides_instead_of_the_condition(action: str, undone: list[str], result: str) -> None:
    """A retry goes on with the undo: the condition is the operator's now, and would only fail again."""
    world = rolled_back(step("before"), step("a", {"if": "error"}))
    world.resolve(action)
    assert world.undone == undone
    assert (world.root.status, outcome(world.root)) == ("compensated", result)


def test_all_conditions_are_evaluated_when_the_plan_is_made_and_recorded_in_it() -> None:
    """ "All conditions are evaluated when the plan is made and recorded in it." """
    world = rolled_back(step("a", {"if": "true"}), step("b", {"if": "error"}), step("c"), step("d", {"if": "false"}))
    steps = {world.root.runs[s.run].name: s for s in world.root.rollbacks[""].steps}
    assert [steps[name].condition for name in "abc"] == [True, None, None]
    assert steps["b"].condition_fault is not None
    assert world.undone == ["c"], "decided before the first undo"


def test_if_knows_the_task_and_the_cause() -> None:
    """ "The undo itself sees ... `$task`, ... `$error`"; so does its condition."""
    condition = '$task.name == "a" and $error.status == 409 and $input.city == "x"'
    world = Scripted([step("a", {"if": condition}), FAIL], {"fail": refused()})
    world.start_it({"city": "x"})
    assert world.undone == ["a"]


# What is left -------------------------------------------------------------------------------------------------------------


def test_what_has_no_compensation_stands_in_left_behind() -> None:
    """ "What has no compensation stands in `left_behind`." """
    emit = {"emit": {"event": {"with": {"source": "http://x.test", "type": "t"}}}}
    get = {"call": "http", "with": {"method": "get", "endpoint": "http://x.test"}}
    world = rolled_back(bare("a"), {"b": emit}, {"c": get}, {"d": {"set": {"n": 1}}}, bare("e"), e=doubt())
    assert set(world.left_behind()) == {"a", "b", "e"}, "reads and computations leave nothing"
    assert set(world.left_behind().values()) == {"it has no compensation"}
    assert (world.root.status, outcome(world.root)) == ("faulted", "partial")


def test_a_run_is_undone_at_most_once() -> None:
    """ "A run is undone at most once." A partial rollback and the full one after it do not both undo it."""
    tried = {"try": [step("a"), bare("b")], "catch": {"compensate": True}}
    world = rolled_back({"t": tried}, b=refused())
    assert (world.undone, world.root.status) == (["a"], "faulted")


@pytest.mark.parametrize(("answer", "undone"), [(done(), ["a"]), (refused(), ["inner"])])
def test_composites_with_a_compensation_of_their_own(answer: Result, undone: list[str]) -> None:
    """ "A composite with its own `compensate` is, once completed, one entry at its own end and replaces what is inside; if
    it failed, its inner entries stand." """
    inner = {"do": [step("inner"), bare("last")], "compensate": {"call": "undo_a"}}
    world = rolled_back({"a": inner}, last=answer)
    assert world.undone == undone


def test_a_completed_composite_is_an_entry_at_its_own_end() -> None:
    """ "one entry at its own end": a branch that ends later is undone earlier."""
    slow = {"do": [step("x"), bare("wait_here")], "compensate": {"call": "undo_slow"}}
    world = Scripted(
        [{"f": {"fork": {"branches": [{"slow": slow}, {"quick": {"do": [step("quick")]}}]}}}, FAIL],
        {"wait_here": None, "fail": refused()},
    )
    world.start_it()
    world.answer_to("wait_here", done())
    assert world.undone == ["slow", "quick"]


def test_turns_of_a_loop_and_branches_are_runs_of_their_own() -> None:
    """ "Once per run (each turn of a loop, each branch)", with the loop variables of its turn."""
    undo = {"call": "undo_a", "with": {"item": "${ $item }", "index": "${ $index }"}}
    world = rolled_back({"l": {"for": {"in": "[7, 8]"}, "do": [{"a": {"call": "a", "compensate": undo}}]}})
    calls = [call.arguments for call in world.calls if call.function == "undo_a"]
    assert [(call["item"], call["index"]) for call in calls] == [(8, 1), (7, 0)]
