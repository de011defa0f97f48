"""Rules of rollback: child orchestrations."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from domain import commands as c
from domain import events as e
from domain.state import State
from tests.support.pure_world import done, doubt, plan_of, refused
from tests.support.scripted import Scripted, bare, step

FAIL = bare("fail")


def child(name: str = "child", **members: Any) -> dict[str, Any]:
    return {"run": {"workflow": {"namespace": "test", "name": name, "version": "1.0.0"}}, **members}


def detached(**members: Any) -> dict[str, Any]:
    body = child(**members)
    body["run"]["await"] = False
    return body


def family(parent: list[Any], kid: list[Any], top: dict[str, Any] | None = None, **script: Any) -> Scripted:
    limits = {name: script.pop(name) for name in ("settle_timeout_s", "max_depth") if name in script}
    small = msgspec.structs.replace(plan_of(kid), name="child", digest="sha256:child")
    world = Scripted({"x": plan_of(parent, **(top or {})), "child": small}, {"fail": refused(), **script}, **limits)
    world.start_it()
    return world


def kid_of(world: Scripted, name: str = "k") -> State:
    found = world.run(name).child
    assert found is not None
    return world.states[found[0]]


KID = [{"k": child()}]


def test_a_child_runs_in_the_transaction_of_its_parent_and_gives_its_output() -> None:
    """ "a child's start, result and undo are one transaction" """
    world = family(KID, [bare("c")])
    kid = kid_of(world)
    assert (kid.status, kid.parent, kid.root, kid.depth) == ("completed", ("o_root", "/do/0/k#1"), "o_root", 1)
    assert (world.root.status, world.root.output) == ("completed", {"by": "c"})


def test_a_parents_rollback_undoes_a_child_that_has_completed() -> None:
    """ "A parent's rollback undoes a child by compensating it, also when it has completed (its one way out of
    `completed`)" """
    world = family([step("a"), *KID, step("b"), FAIL], [step("c1"), step("c2")])
    assert world.undone == ["b", "c2", "c1", "a"]
    assert (world.root.status, kid_of(world).status) == ("compensated", "compensated")
    assert world.run("k").undo.status == "completed"


def test_the_undo_of_a_child_is_awaited() -> None:
    world = family([step("a"), *KID, FAIL], [step("c")], undo_c=None)
    assert (world.undone, world.root.status, kid_of(world).status) == (["c"], "compensating", "compensating")
    world.answer_to("undo_c", done())
    assert (world.undone, world.root.status) == (["c", "a"], "compensated")


def test_a_child_that_has_nothing_to_undo_is_undone_at_once() -> None:
    world = family([step("a"), *KID, FAIL], [{"s": {"set": {"n": 1}}}])
    assert (world.undone, world.root.status, kid_of(world).status) == (["a"], "compensated", "compensated")


def test_a_cancel_of_the_parent_undoes_completed_children_too() -> None:
    world = family([*KID, {"w": {"wait": {"hours": 1}}}], [step("c", {"with": {"error": "${ $error.status }"}})])
    world.cancel()
    assert (world.root.status, kid_of(world).status) == ("cancelled", "compensated")
    assert world.call_of("undo_c").arguments == {"error": 499}


def test_a_compensation_of_the_run_task_replaces_that() -> None:
    """ "a `compensate` of the `run` task replaces that" """
    world = family([{"k": child(compensate={"call": "undo_k"})}, FAIL], [step("c")])
    assert (world.undone, kid_of(world).status, world.root.status) == (["k"], "completed", "compensated")


def test_a_running_child_is_cancelled_and_awaited() -> None:
    """ "A running child is cancelled and awaited." """
    world = family([step("a"), *KID], [step("c"), {"w": {"wait": {"hours": 1}}}], undo_c=None)
    world.cancel()
    assert (kid_of(world).status, world.undone) == ("compensating", ["c"])
    world.answer_to("undo_c", done())
    assert (kid_of(world).status, world.undone, world.root.status) == ("cancelled", ["c", "a"], "cancelled")


@pytest.mark.parametrize(
    ("kid", "status"),
    [([FAIL], "faulted"), ([step("c"), FAIL], "compensated"), ([{"w": {"wait": {"hours": 1}}}], "cancelled")],
)
def test_a_child_that_ended_badly_is_a_definite_failure(kid: list[Any], status: str) -> None:
    """ "A child that ended `faulted`, `compensated` or `cancelled` is a definite failure" """
    world = family([step("a"), *KID], kid)
    if status == "cancelled":
        world.cancel(kid_of(world).id)
    assert kid_of(world).status == status
    assert (world.run("k").effect, world.root.status, world.undone[-1]) == ("failed", "compensated", "a")


def test_a_terminated_child_is_uncertain() -> None:
    """ "`terminated` is uncertain": the parent learns of it, and its undo needs an operator."""
    world = family([step("a"), *KID], [{"w": {"wait": {"hours": 1}}}])
    world.do(kid_of(world).id, c.Terminate)
    assert (world.run("k").effect, world.root.status) == ("uncertain", "compensating")
    assert world.incident().kind == "compensation_failed"
    world.resolve("complete")
    assert (world.undone, world.root.status) == (["a"], "compensated")


def test_a_child_past_its_pivot_cannot_be_undone() -> None:
    """ "A child past its pivot cannot be undone: incident in the parent." """
    world = family([step("a"), *KID, FAIL], [step("c"), bare("pay", pivot=True)])
    assert (world.incident().kind, kid_of(world).status, world.undone) == ("compensation_failed", "completed", [])
    world.resolve("skip")
    assert world.undone == ["a"]


def test_a_running_child_past_its_pivot_is_awaited_until_settling_ends() -> None:
    """Its cancel is refused; it may end meanwhile, but it cannot be undone any more."""
    world = family(
        [step("a"), *KID], [bare("pay", pivot=True), {"w": {"wait": {"seconds": 100}}}], settle_timeout_s=10.0
    )
    world.cancel()
    world.pass_time(10)
    assert (world.run("k").effect, world.incident().kind) == ("uncertain", "compensation_failed")
    world.pass_time(100)
    assert kid_of(world).status == "completed"
    assert [i.kind for i in world.root.open_incidents()] == ["compensation_failed", "late_result"]
    world.do("o_root", c.Resolve, number=1, action="skip", reason="said so")
    assert (world.undone, world.root.status) == (["a"], "cancelled")


def test_a_child_that_is_not_awaited_is_undone_only_by_its_own_compensate() -> None:
    """ "`await: false` is undone only by its own `compensate`." """
    world = family([{"k": detached()}, {"l": detached(compensate={"call": "undo_l"})}, FAIL], [step("c")])
    assert world.undone == ["l"]
    assert set(world.left_behind()) == {"k"}


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("undone", [False, True])
def test_a_child_that_is_not_awaited_has_begun_even_if_a_sibling_fails_at_that_moment(cut: bool, undone: bool) -> None:
    """Its output is still being looked at: it is not cancelled, and what the task did is not forgotten."""
    compensate = {"compensate": {"call": "undo_k"}} if undone else {}
    asks = detached(output={"as": "{n: (1 + 1)}"}, **compensate)
    fails: list[Any] = [
        {"s": {"set": {"n": "${ 1 + 1 }"}}},
        {"r": {"raise": {"error": {"type": "x:y", "status": 400}}}},
    ]
    if cut:
        fails = [{"s": {"set": {"n": "${ 1 + 1 }"}}}]
    fork = {"compete": cut, "branches": [{"k": asks}, {"b": {"do": fails}}]}
    world = family([{"f": {"fork": fork}}, *([FAIL] if cut else [])], [{"w": {"wait": {"hours": 1}}}])
    assert kid_of(world).status == "running"
    assert world.undone == (["k"] if undone else [])
    assert world.root.status == ("compensated" if undone and not cut else "faulted"), "a loser is undone by its fork"
    assert (set(world.left_behind()), world.run("k").effect) == (set() if undone else {"k"}, "completed")
    if not undone:
        assert world.run("k").data == {"n": 2}


def test_a_child_whose_undo_is_stuck_holds_its_parent() -> None:
    """ "It never stops silently": the incident is the child's, and the parent goes on when it is resolved."""
    world = family([step("a"), *KID, FAIL], [step("c")], undo_c=refused())
    kid = kid_of(world)
    assert (world.root.open_incidents(), world.undone) == ([], ["c"])
    world.resolve("skip", kid.id)
    assert (world.undone, world.root.status) == (["c", "a"], "compensated")


def test_a_child_terminated_while_it_is_undone_is_an_incident_of_its_parent() -> None:
    world = family([step("a"), *KID, {"w": {"wait": {"hours": 1}}}], [step("c")], undo_c=None)
    world.cancel()
    world.do(kid_of(world).id, c.Terminate)
    assert (world.incident().kind, world.undone) == ("compensation_failed", ["c"])


def test_a_child_that_is_slow_to_undo_itself_is_not_lost() -> None:
    """Settling ended before the child did: the parent asks for the undo, and the child's end is the answer."""
    world = family([step("a"), *KID], [step("c"), {"w": {"wait": {"hours": 1}}}], undo_c=None, settle_timeout_s=10.0)
    world.cancel()
    world.pass_time(10)
    assert (world.run("k").effect, world.root.status) == ("uncertain", "compensating")
    world.answer_to("undo_c", done())
    assert (world.undone, world.root.status, kid_of(world).status) == (["c", "a"], "cancelled", "cancelled")


def test_a_suspended_child_is_cancelled() -> None:
    """ "Cancel while suspended lifts the suspension." """
    world = family([step("a"), *KID], [step("c"), {"w": {"wait": {"hours": 1}}}])
    world.do(kid_of(world).id, c.Suspend)
    world.cancel()
    assert (kid_of(world).status, world.undone, world.root.status) == ("cancelled", ["c", "a"], "cancelled")


def test_a_child_that_is_suspended_while_it_is_undone_goes_on_after_resume() -> None:
    """ "Suspend lets the undo in flight end and starts no other": of the child; its parent waits."""
    world = family([step("a"), *KID, FAIL], [step("c1"), step("c2")], undo_c2=None)
    kid = kid_of(world)
    world.do(kid.id, c.Suspend)
    world.answer_to("undo_c2", done())
    assert (world.undone, world.root.status) == (["c2"], "compensating")
    world.do(kid.id, c.Resume)
    assert (world.undone, world.root.status) == (["c2", "c1", "a"], "compensated")


def test_terminate_cascades() -> None:
    """ "Terminate cascades; suspend does not." """
    world = family(KID, [step("c"), {"w": {"wait": {"hours": 1}}}])
    world.do("o_root", c.Terminate)
    assert (world.root.status, kid_of(world).status, world.undone) == ("terminated", "terminated", [])


def test_terminate_cascades_to_a_child_that_is_undone() -> None:
    world = family([*KID, FAIL], [step("c")], undo_c=None)
    world.do("o_root", c.Terminate)
    assert (world.root.status, kid_of(world).status) == ("terminated", "terminated")


def test_suspend_does_not_cascade() -> None:
    """ "suspend does not": the child goes on, its result waits."""
    world = family([*KID, bare("next")], [bare("c")], c=None)
    world.do("o_root", c.Suspend)
    world.answer_to("c", done())
    assert (kid_of(world).status, world.root.status) == ("completed", "suspended")
    assert "next" not in world.called
    world.do("o_root", c.Resume)
    assert (world.called[-1], world.root.status) == ("next", "completed")


def test_a_childs_result_recorded_while_suspended_counts_when_a_cancel_lifts_the_suspension() -> None:
    world = family([*KID, bare("next")], [step("c"), bare("d")], d=None)
    world.do("o_root", c.Suspend)
    world.answer_to("d", done())
    world.cancel()
    assert (world.run("k").effect, kid_of(world).status, world.undone) == ("completed", "compensated", ["c"])
    assert (world.root.status, "next" in world.called) == ("cancelled", False)


def test_a_child_in_a_branch_that_is_settled_is_cancelled_and_awaited() -> None:
    fork = {"f": {"fork": {"branches": [{"k": child()}, {"b": FAIL["fail"]}]}}}
    world = family(
        [{"t": {"try": [fork], "catch": {"do": [bare("handler")]}}}], [step("c"), {"w": {"wait": {"hours": 1}}}]
    )
    assert (kid_of(world).status, world.called) == ("cancelled", ["fail", "c", "undo_c", "handler"])


def test_a_child_that_lost_a_race_is_undone() -> None:
    """ "the losers are cut at once ..., undone, and then the fork completes" """
    race = {"r": {"fork": {"compete": True, "branches": [{"k": child()}, {"b": bare("b")["b"]}]}}}
    world = family([race, bare("last")], [step("c"), {"w": {"wait": {"hours": 1}}}], b=None)
    world.answer_to("b", done())
    assert (kid_of(world).status, world.undone, world.root.status) == ("cancelled", ["c"], "completed")


def test_a_timeout_of_the_task_cancels_the_child() -> None:
    world = family([{"k": child(timeout={"after": {"seconds": 5}})}], [step("c"), {"w": {"wait": {"hours": 1}}}])
    world.pass_time(5)
    assert (kid_of(world).status, world.undone, world.run("k").effect) == ("cancelled", ["c"], "failed")
    cause = world.root.cause
    assert cause is not None
    assert cause.fault is not None
    assert cause.fault.type.endswith("/timeout")


def test_a_timeout_of_the_task_does_not_wait_for_ever_for_the_child() -> None:
    world = family(
        [{"k": child(timeout={"after": {"seconds": 5}})}],
        [bare("pay", pivot=True), {"w": {"wait": {"hours": 1}}}],
        settle_timeout_s=10.0,
    )
    world.pass_time(14)
    assert world.run("k").flying
    world.pass_time(1)
    assert (world.run("k").effect, world.incident().kind) == ("uncertain", "compensation_failed")


def test_grandchildren_are_undone_through_their_parents() -> None:
    small = msgspec.structs.replace(plan_of([step("g")]), name="grandchild", digest="sha256:g")
    middle = msgspec.structs.replace(plan_of([step("m"), {"k": child("grandchild")}]), name="child", digest="sha256:m")
    top = plan_of([step("a"), *KID, FAIL])
    world = Scripted({"x": top, "child": middle, "grandchild": small}, {"fail": refused()})
    world.start_it()
    assert (world.undone, world.root.status) == (["g", "m", "a"], "compensated")
    assert {state.status for state in world.states.values()} == {"compensated"}


def test_depth_at_most_32() -> None:
    """ "Depth at most 32." """
    endless = msgspec.structs.replace(plan_of([{"k": child()}]), name="child", digest="sha256:child")
    world = Scripted({"x": plan_of(KID), "child": endless}, {})
    world.start_it()
    assert max(state.depth for state in world.states.values()) == 32
    assert (len(world.states), world.root.status) == (33, "faulted")
    (failed, *_) = [s.fault for s in world.states.values() if s.depth == 32]
    assert failed is not None
    assert failed.type.endswith("/configuration")


def test_a_child_without_a_definition_is_a_configuration_error() -> None:
    world = Scripted([{"k": child("nobody")}])
    world.start_it()
    cause = world.root.cause
    assert cause is not None
    assert cause.fault is not None
    assert cause.fault.type.endswith("/configuration")
    assert (world.root.status, world.recorded(e.AttemptStarted)) == ("faulted", [])


def test_a_try_that_is_entered_again_starts_another_child_for_the_same_run() -> None:
    """ "a run that did not complete goes on as a further attempt of the same run" """
    tried = {"t": {"try": [*KID], "catch": {"retry": {"delay": {"seconds": 1}, "limit": {"attempt": {"count": 1}}}}}}
    world = family([tried, FAIL], [step("c"), bare("d")], d=[refused(), done()])
    world.pass_time(1)
    assert [run.attempts for run in world.root.runs.values() if run.name == "k"] == [2]
    assert [world.states[id_].status for id_ in world.states if id_ != "o_root"] == ["compensated", "compensated"]
    assert world.undone == ["c", "c"]


def test_what_a_child_reports_twice_counts_once() -> None:
    world = family([*KID, bare("next")], [bare("c")], c=None)
    world.answer_to("c", doubt())
    version = world.root.version
    report = {"run": "/do/0/k#1", "child": kid_of(world).id, "status": "completed", "output": 1}
    world.do("o_root", c.ReportChild, **report)
    assert world.root.version == version
