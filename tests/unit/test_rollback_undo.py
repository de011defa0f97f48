"""Rules of rollback: the order of undos, what an undo sees, its retries, what happens when it fails, and how it all ends."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from domain import commands as c
from domain import events as e
from domain.errors import IncidentResolvedError, InvalidInputError, OrchestrationEndedError, fault
from domain.rollback import outcome
from tests.support.pure_world import Result, done, doubt, refused
from tests.support.scripted import Scripted, bare, step

FAIL = bare("fail")
PARALLEL = {"compensation": {"order": "parallel"}}


def branches(**lists: list[Any]) -> dict[str, Any]:
    return {"f": {"fork": {"branches": [{name: {"do": tasks}} for name, tasks in lists.items()]}}}


def started(*tasks: Any, top: dict[str, Any] | None = None, **script: Any) -> Scripted:
    world = Scripted([*tasks], {"fail": refused(), **script}, **(top or {}))
    world.start_it()
    return world


# Order --------------------------------------------------------------------------------------------------------------------


def test_reverse_order_flat_over_nested_scopes() -> None:
    """ "Reverse order of the events that ended the runs, flat over nested scopes" """
    nested = {"d": {"do": [step("b"), {"t": {"try": [step("c")], "catch": {}}}]}}
    loop = {"l": {"for": {"in": "[1]"}, "do": [step("d1")]}}
    assert started(step("a"), nested, loop, step("e"), FAIL).undone == ["e", "d1", "c", "b", "a"]


def test_branches_are_interleaved_as_they_happened() -> None:
    """ "branches interleaved as they happened" """
    world = started(branches(x=[step("x1"), step("x2")], y=[step("y1"), step("y2")]), FAIL, x1=None, x2=None, y1=None)
    for name in ("y1", "x1", "x2"):  # y2 answers by itself right after y1
        world.answer_to(name, done())
    assert world.undone == ["x2", "x1", "y2", "y1"]


def test_parallel_undoes_the_branches_of_a_fork_at_the_same_time() -> None:
    """ "`compensation.order: parallel` undoes the branches of one `fork` at the same time, each in reverse, the rest in
    sequence." """
    fork = branches(x=[step("x1"), step("x2")], y=[step("y1")])
    world = started(step("a"), fork, step("b"), FAIL, top=PARALLEL, undo_x2=None, undo_y1=None)
    assert sorted(world.undone) == ["b", "x2", "y1"]
    world.answer_to("undo_y1", done())
    assert "a" not in world.undone
    world.answer_to("undo_x2", done())
    assert world.undone[-2:] == ["x1", "a"]


def test_parallel_with_a_fork_in_a_branch() -> None:
    """ "undoes the branches of one `fork` at the same time": of each fork, however deep."""
    inner = {"g": {"fork": {"branches": [{"p": {"do": [step("p")]}}, {"q": {"do": [step("q")]}}]}}}
    fork = branches(x=[step("x"), inner], y=[step("y")])
    world = started(fork, FAIL, top=PARALLEL, undo_p=None, undo_q=None, undo_y=None)
    assert sorted(world.undone) == ["p", "q", "y"]
    world.answer_to("undo_p", done())
    assert "x" not in world.undone
    world.answer_to("undo_q", done())
    assert world.undone[-1] == "x"
    world.answer_to("undo_y", done())
    assert world.root.status == "compensated"


def test_parallel_keeps_what_lies_between_two_rounds_of_a_fork() -> None:
    """ "each in reverse, the rest in sequence": a fork that was entered again has two rounds."""
    fork = branches(x=[step("x")], y=[bare("y")])
    tried = {"t": {"try": [step("a"), fork], "catch": {"retry": {"limit": {"attempt": {"count": 1}}}}}}
    world = started(tried, FAIL, top=PARALLEL, y=[refused(), done()])
    world.pass_time(1)
    names = [world.root.runs[s.run] for s in world.root.rollbacks[""].steps]
    assert [(run.name, run.number) for run in names] == [("x", 2), ("a", 2), ("x", 1), ("a", 1)]
    assert world.undone == ["x", "a", "x", "a"]


def test_a_failing_undo_in_parallel_stops_its_own_branch_only() -> None:
    """ "nothing earlier in its sequence is undone" """
    fork = branches(x=[step("x1"), step("x2")], y=[step("y1"), step("y2")])
    world = started(step("a"), fork, FAIL, top=PARALLEL, undo_x2=refused())
    assert sorted(world.undone) == ["x2", "y1", "y2"]
    world.resolve("skip")
    assert world.undone[-2:] == ["x1", "a"]


def test_a_scope_that_ends_hands_its_entries_to_its_parent() -> None:
    """ "A scope that ends hands its entries to its parent." """
    world = started(
        {"d": {"do": [step("a")]}}, {"t": {"try": [step("b"), bare("fail")], "catch": {}}}, bare("g"), g=refused()
    )
    assert world.undone == ["b", "a"]


# What an undo sees ----------------------------------------------------------------------------------------------------------

SEES = {
    "dot": "${ . }",
    "task": "${ $task }",
    "input": "${ $input }",
    "outputs": "${ $outputs.a }",
    "context": "${ $context }",
    "error": "${ $error }",
}


def seeing(**members: Any) -> dict[str, Any]:
    return step("a", {"with": SEES}, **{"input": {"from": "{n: 1}"}, "output": {"as": "{short: .by}"}, **members})


def test_an_undo_names_what_it_undoes() -> None:
    """ "sees `.` (the transformed output recorded for the run ...), `$task` = `{name, reference, key, outcome, attempts,
    output (raw), input}`, `$input`, `$outputs`" """
    world = started(seeing(), FAIL)
    seen = world.call_of("undo_a").arguments
    key = world.call_of("a").key
    assert seen["dot"] == {"short": "a"}
    assert seen["task"] == {
        "name": "a",
        "reference": "/do/0/a",
        "key": key,
        "outcome": "completed",
        "attempts": 1,
        "output": {"by": "a"},
        "input": {"n": 1},
    }
    assert (seen["input"], seen["outputs"]) == ({"n": 1}, {"short": "a"})
    assert (seen["error"]["status"], seen["error"]["instance"]) == (409, "/do/1/fail")


def test_the_output_of_an_uncertain_run_is_null() -> None:
    """ "null if uncertain" """
    seen = started(seeing(), a=doubt()).call_of("undo_a").arguments
    assert (seen["dot"], seen["task"]["outcome"], seen["task"]["output"]) == (None, "uncertain", None)


def test_the_context_is_that_of_the_moment_when_rollback_began() -> None:
    """ "`$context` as it stood when rollback began" - not as a later undo or a straggler leaves it."""
    straggler = bare("late", export={"as": '{who: "late"}'})
    world = Scripted(
        [{"e": {"set": {"x": 1}, "export": {"as": '{who: "set"}'}}}, branches(x=[seeing()], y=[straggler], z=[FAIL])],
        {"fail": None, "late": None},
    )
    world.start_it()
    world.answer_to("fail", refused())
    world.cancel()
    world.answer_to("late", done())
    assert world.call_of("undo_a").arguments["context"] == {"who": "set"}


def test_on_cancel_the_error_is_that_of_a_cancel() -> None:
    """ "on cancel its type is `.../cancelled`, status 499" """
    world = started(seeing(), {"w": {"wait": {"hours": 1}}})
    world.cancel(reason="changed my mind")
    error = world.call_of("undo_a").arguments["error"]
    assert error["type"].endswith("/errors/cancelled")
    assert (error["status"], error["detail"]) == (499, "changed my mind")


def test_an_undo_carries_the_forward_key() -> None:
    """ "by `$task.key`, the forward idempotency key, also sent as header `Retrace-Compensates`" """
    world = started(step("a"), FAIL)
    assert world.call_of("undo_a").compensates == world.call_of("a").key
    assert world.call_of("undo_a").key != world.call_of("a").key


def test_an_undo_of_several_tasks_sees_the_same_in_each() -> None:
    """ "The undo itself sees ..." - in every task of it."""
    undo = {
        "do": [
            {"u": {"call": "u", "with": {"t": "${ $task.name }"}}},
            {"v": {"call": "v", "with": {"i": "${ $input }"}}},
        ]
    }
    task = {"a": {"call": "a", "input": {"from": "{n: 1}"}, "compensate": undo}}
    world = started(task, FAIL)
    assert world.call_of("u").arguments == {"t": "a"}
    assert world.call_of("v").arguments == {"i": {"n": 1}}
    assert world.call_of("v").compensates == world.call_of("a").key


# Keys and retries -----------------------------------------------------------------------------------------------------------


def test_the_key_is_the_same_for_all_attempts_of_an_undo() -> None:
    """ "Its own key is the same for all its attempts." - an operator's included."""
    world = started(step("a"), FAIL, undo_a=[doubt(), refused(), doubt(), done()])
    world.pass_time(10)
    world.resolve("retry")
    world.pass_time(10)
    keys = {call.key for call in world.calls if call.function == "undo_a"}
    assert (len(world.undone), len(keys), world.root.status) == (4, 1, "compensated")


def test_an_undo_of_several_tasks_is_repeated_under_the_same_keys() -> None:
    """ "Its own key is the same for all its attempts." - also of what had worked the first time."""
    undo = {"do": [{"u": {"call": "u"}}, {"v": {"call": "v"}}]}
    world = started({"a": {"call": "a", "compensate": undo}}, FAIL, v=[refused(), done()])
    world.resolve("retry")
    assert world.called[2:] == ["u", "v", "u", "v"]
    assert len({call.key for call in world.calls[2:]}) == 2


DELETE = {"call": "http", "with": {"method": "delete", "endpoint": "http://x.test/1"}}


@pytest.mark.parametrize(("status", "undone"), [(404, True), (410, True), (403, False), (409, False)])
def test_nothing_is_left_to_delete(status: int, undone: bool) -> None:
    """ "404 and 410 answered to a `delete` mean nothing is left to undo." """
    answer = Result("refused", fault=fault("communication", "gone", status=status))
    world = started({"a": {"call": "a", "compensate": DELETE}}, FAIL, http=answer)
    assert (world.root.status == "compensated") is undone


def test_only_a_delete_may_find_nothing() -> None:
    """ "answered to a `delete`" """
    answer = Result("refused", fault=fault("communication", "gone", status=404))
    world = started(step("a"), FAIL, undo_a=answer)
    assert world.incident().kind == "compensation_failed"


def test_the_default_retry() -> None:
    """ "Default retry: exponential from 1 s, at most 60 s apart, 10 retries, on every uncertain outcome" """
    world = started(step("a"), FAIL, undo_a=doubt())
    world.pass_time(3600)
    sent = [event.at for event in world.recorded(e.AttemptStarted) if event.function == "undo_a"]
    assert [(b - a).total_seconds() for a, b in pairwise(sent)] == [
        1,
        2,
        4,
        8,
        16,
        32,
        60,
        60,
        60,
        60,
    ]
    assert world.incident().kind == "compensation_failed"


@pytest.mark.parametrize(("status", "retried"), [(425, True), (429, True), (400, False), (409, False), (423, False)])
def test_which_refusals_are_retried(status: int, retried: bool) -> None:
    """ "and on 425 and 429; another refusal is an incident at once" """
    answer = Result("refused", fault=fault("communication", "no", status=status))
    world = started(step("a"), FAIL, undo_a=[answer, done()])
    assert (world.root.open_incidents() == []) is retried
    world.pass_time(1)
    assert (world.root.status == "compensated") is retried


def test_what_the_participant_asks_for_is_honoured() -> None:
    busy = Result("refused", fault=fault("communication", "later", status=429), retry_after_s=20.0)
    world = started(step("a"), FAIL, undo_a=[busy, done()])
    world.pass_time(19)
    assert world.undone == ["a"]
    world.pass_time(1)
    assert world.root.status == "compensated"


# When an undo fails ---------------------------------------------------------------------------------------------------------


def test_an_undo_that_fails_for_good_stops_what_is_earlier() -> None:
    """ "the orchestration stays `compensating` with an incident; nothing earlier in its sequence is undone" """
    world = started(step("a"), step("b"), step("c"), FAIL, undo_b=refused())
    assert (world.undone, world.root.status) == (["c", "b"], "compensating")
    incident = world.incident()
    assert (incident.kind, incident.actions) == ("compensation_failed", ("retry", "skip", "complete"))
    assert world.run("b").status == "compensation_failed"
    world.pass_time(1_000_000)
    assert world.undone == ["c", "b"], "it never goes on by itself"


@pytest.mark.parametrize(
    ("action", "result", "undone"),
    [("retry", "complete", "completed"), ("skip", "partial", "skipped"), ("complete", "complete", "completed")],
)
def test_an_operator_retries_skips_or_completes(action: str, result: str, undone: str) -> None:
    """ "until an operator retries, skips with a reason, completes it by hand, or terminates" """
    world = started(step("a"), step("b"), FAIL, undo_b=[refused(), done()])
    world.resolve(action)
    assert (world.root.status, outcome(world.root)) == ("compensated", result)
    assert world.run("b").undo.status == undone
    assert world.undone == (["b", "b", "a"] if action == "retry" else ["b", "a"])


def test_or_terminates() -> None:
    """ "or terminates" """
    world = started(step("a"), step("b"), FAIL, undo_b=refused())
    world.do("o_root", c.Terminate)
    assert (world.root.status, world.undone, outcome(world.root)) == ("terminated", ["b"], None)
    assert world.root.open_incidents() == [], "nobody could resolve it any more"
    assert world.topics()[-2:] == ["incident.resolved", "orchestration.terminated"]
    assert [i.action for i in world.recorded(e.IncidentResolved)] == ["ended"]


def test_a_late_result_may_be_acknowledged_after_a_termination() -> None:
    """ "`late_result`": it told an operator to look, which makes sense at any time."""
    world = Scripted([step("a")], {"a": None, "undo_a": None}, timeout={"after": {"seconds": 1}})
    world.start_it()
    world.pass_time(1)
    world.late("a", done())
    world.do("o_root", c.Terminate)
    assert world.incident().kind == "late_result"
    world.resolve("skip")
    assert world.root.open_incidents() == []


@pytest.mark.parametrize("command", [c.Cancel, c.Terminate, None])
def test_a_defect_is_not_asked_about_after_the_end(command: Any) -> None:
    world = Scripted([bare("a")], {"a": None})
    world.start_it()
    world.do("o_root", c.ReportPoison, detail="a result could not be handled")
    assert world.incident().kind == "poison"
    if command is not None:
        world.do("o_root", command)
    if world.flying:
        world.late("a", done())
    assert (world.root.final, world.root.open_incidents()) == (True, [])


def test_an_incident_is_resolved_once_and_with_what_it_allows() -> None:
    world = started(step("a"), FAIL, undo_a=[refused(), None])
    with pytest.raises(InvalidInputError):
        world.resolve("fail")
    world.resolve("retry")
    with pytest.raises(IncidentResolvedError):
        world.do("o_root", c.Resolve, number=1, action="skip")
    world.answer_to("undo_a", refused())
    assert [i.resolved for i in world.root.incidents] == ["retry", None], "a retry that fails is another incident"


# The end ---------------------------------------------------------------------------------------------------------------------


def test_faulted_when_there_was_nothing_to_undo() -> None:
    """ "`faulted`: the plan was empty." """
    world = started(FAIL)
    assert (world.root.status, outcome(world.root)) == ("faulted", "none")


def test_compensated_when_the_plan_ran_to_its_end() -> None:
    """ "`compensated`, `cancelled`: the plan ran to its end." """
    world = started(step("a"), FAIL)
    assert (world.root.status, outcome(world.root)) == ("compensated", "complete")


@pytest.mark.parametrize("tasks", [[], [step("a")]])
def test_cancelled_also_when_there_was_nothing_to_undo(tasks: list[Any]) -> None:
    """ "`cancelled` (asked to stop, likewise)" """
    world = started(*tasks, {"w": {"wait": {"hours": 1}}})
    world.cancel()
    assert (world.root.status, outcome(world.root)) == ("cancelled", "complete" if tasks else "none")


def test_partial_when_something_was_left_behind() -> None:
    """ "`partial` (something was skipped or left behind), with `left_behind: [{task, why}]`" """
    world = started(step("a"), bare("b"), FAIL)
    assert (world.root.status, outcome(world.root)) == ("compensated", "partial")
    assert world.left_behind() == {"b": "it has no compensation"}


# Commands meanwhile ---------------------------------------------------------------------------------------------------------


def test_cancel_while_compensating_changes_nothing() -> None:
    """ "Cancel while compensating changes nothing and says so." """
    world = started(step("a"), FAIL, undo_a=None)
    version = world.root.version
    world.cancel()
    assert world.root.version == version
    world.answer_to("undo_a", done())
    assert world.root.status == "compensated", "the first cause stays"


def test_a_cancel_after_the_end_is_refused() -> None:
    world = started(step("a"))
    with pytest.raises(OrchestrationEndedError):
        world.cancel()


@pytest.mark.parametrize("prepare", ["running", "suspended", "settling", "undoing", "blocked"])
def test_terminate_works_everywhere_and_undoes_nothing(prepare: str) -> None:
    """ "Terminate works everywhere and undoes nothing." """
    world = started(step("a"), step("b"), b=None, undo_a=refused() if prepare == "blocked" else None)
    match prepare:
        case "suspended":
            world.do("o_root", c.Suspend)
        case "settling":
            world.cancel()
        case "undoing" | "blocked":
            world.answer_to("b", refused())
    undone = list(world.undone)
    world.do("o_root", c.Terminate, reason="enough")
    world.pass_time(1000)
    assert (world.root.status, world.undone, world.root.open) == ("terminated", undone, {})
    assert world.root.next_due() is None
    version = world.root.version
    world.do("o_root", c.Terminate)
    assert world.root.version == version
