"""What-if, case by case: what a changed fact, another definition and a silent record lead to."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from application.what_if_suppositions import check
from application.what_if_tally import Tally
from domain import commands as c
from domain.errors import InvalidInputError
from domain.plan import Plan
from tests.support.pure_world import Attempt, Result, World, done, doubt, plan_of, refused
from tests.support.what_if import Change, Suppositions, what_if


def undone(call: str, **more: Any) -> dict[str, Any]:
    return {"call": call, "compensate": {"call": f"undo_{call}", "with": {"id": "${ .id }"}}, **more}


TRIP: list[Any] = [{"car": undone("car")}, {"hotel": undone("hotel")}, {"pay": {"call": "pay"}}]


def fine(attempt: Attempt) -> Result:
    return done({"id": f"{attempt.function}-1"})


def played(tasks: Any, answer: Any = fine, input_: Any = None, **limits: Any) -> World:
    world = World(tasks if isinstance(tasks, Plan) else plan_of(tasks), answer, **limits)
    world.start(input_)
    return world


def calls(found: dict[str, Any]) -> list[str]:
    return [("undo " if each["compensates"] else "") + (each["compensates"] or each["task"]) for each in found["calls"]]


REFUSED = Change(task="hotel", outcome="refused")


# Other facts ----------------------------------------------------------------------------------------------------------


def test_a_refusal_undoes_what_was_done_before():
    found = what_if(played(TRIP), changes=(REFUSED,))
    assert (found["outcome"], found["status"]) == ("other", "compensated")
    assert calls(found) == ["car", "hotel", "undo car"]
    assert [each["answer_from"] for each in found["calls"]] == ["record", "change", "assumption"]
    assert [each["outcome"] for each in found["calls"]] == ["completed", "refused", "completed"]
    assert found["calls"][-1]["arguments"] == {"id": "car-1"}
    assert [each["task"] for each in found["undone"]] == ["car"]
    assert found["leaves_at"]["version"] == 7
    assert found["recorded"]["status"] == "completed"
    assert calls(found["recorded"]) == ["car", "hotel", "pay"]


def test_a_doubt_is_undone_too_and_what_cannot_be_undone_is_left_behind():
    found = what_if(played(TRIP), changes=(Change(task="pay", outcome="uncertain"),))
    assert calls(found) == ["car", "hotel", "pay", "undo hotel", "undo car"]
    assert found["left_behind"] == [
        {"task": "pay", "reference": "/do/2/pay", "run": 1, "why": "it has no compensation"}
    ]


def test_a_failure_that_had_not_been():
    world = played(TRIP, lambda attempt: refused() if attempt.function == "hotel" else fine(attempt))
    change = Change(task="/do/1/hotel", outcome="completed", output={"id": "h"})
    found = what_if(world, changes=(change,), assume={"pay": {"paid": True}})
    assert (found["status"], found["output"]) == ("completed", {"paid": True})
    assert found["assumptions"] == ["pay completes with the output that was given"]


def test_every_attempt_has_the_changed_outcome():
    tasks = [{"a": {"call": "a", "retry": {"delay": {"seconds": 1}, "limit": {"attempt": {"count": 2}}}}}]
    found = what_if(played(tasks), changes=(Change(task="a", outcome="uncertain"),))
    assert [(each["attempt"], each["outcome"]) for each in found["calls"]] == [(n, "uncertain") for n in (1, 2, 3)]


def test_a_refusal_of_an_http_call_is_an_answer_and_not_tried_again():
    retry = {"delay": {"seconds": 1}, "limit": {"attempt": {"count": 2}}}
    tasks = [{"a": {"call": "http", "with": {"method": "put", "endpoint": "http://a.test/"}, "retry": retry}}]
    found = what_if(played(tasks), changes=(Change(task="a", outcome="refused"),))
    assert len(found["calls"]) == 1
    assert found["error"]["status"] == 409


def test_one_run_of_a_loop():
    tasks = [{"all": {"for": {"in": "[1, 2, 3]"}, "do": [{"one": undone("one")}]}}]
    found = what_if(played(tasks), changes=(Change(task="one", run=2, outcome="refused"),))
    assert calls(found) == ["one", "one", "undo one"]


def test_the_error_that_was_given_is_caught_by_what_it_is():
    caught = {"errors": {"with": {"status": 418}}, "do": [{"tea": {"set": {"tea": True}}}]}
    world = played([{"try": {"try": [{"a": {"call": "a"}}], "catch": caught}}])
    other = Change(task="a", outcome="refused", error={"type": "https://test.invalid/teapot", "status": 418})
    assert what_if(world, changes=(other,))["output"] == {"tea": True}
    assert what_if(world, changes=(Change(task="a", outcome="refused"),))["status"] == "faulted"


def test_what_was_recorded_for_the_undo_is_what_happens():
    def answer(attempt: Attempt) -> Result:
        if attempt.function == "undo_car":
            return doubt() if attempt.number == 1 else refused()
        return refused() if attempt.function == "pay" else fine(attempt)

    world = played(TRIP, answer)
    world.pass_time(5)
    assert world.root.open_incidents()
    found = what_if(world, changes=(REFUSED,))
    assert [(each["attempt"], each["outcome"]) for each in found["calls"][2:]] == [(1, "uncertain"), (2, "refused")]
    assert [each["kind"] for each in found["incidents"]] == ["compensation_failed"]
    assert (found["outcome"], found["why"]) == ("other", "waits for an operator: compensation_failed of car")


def test_an_attempt_in_flight_may_be_supposed_to_have_ended():
    world = played(TRIP, lambda attempt: None if attempt.function == "hotel" else fine(attempt))
    found = what_if(world, changes=(REFUSED,))
    assert (found["outcome"], found["status"]) == ("other", "compensated")
    assert "hotel answers at once, since its answer was not recorded" in found["assumptions"]


def test_a_change_of_what_was_never_called_is_told():
    found = what_if(played(TRIP), changes=(Change(task="hotel", run=2, outcome="refused"),))
    assert found["outcome"] == "same"
    assert found["assumptions"] == ["another outcome of run 2 of hotel makes no difference, since it was not called"]


def test_another_input_that_makes_no_difference():
    assert what_if(played(TRIP), input={"n": 1})["outcome"] == "same"


def test_another_input_is_followed_as_far_as_the_record_knows():
    tasks = [{"a": {"call": "a"}}, {"b": {"call": "b", "if": "${ $workflow.input.big }"}}]
    found = what_if(played(tasks, input_={"big": False}), input={"big": True})
    assert found["outcome"] == "cannot_continue"
    assert found["why"] == "would call b with {}; the record does not say what it answers"
    assert found["leaves_at"]["instead"]["task"] == "/do/1/b"
    assert what_if(played(tasks, input_={"big": True}), input={"big": False})["outcome"] == "other"


# Another definition ---------------------------------------------------------------------------------------------------


def test_what_a_definition_merely_says_is_no_other_path():
    other = [{"car": {"call": "car", "timeout": {"after": {"minutes": 5}}}}, *TRIP[1:]]
    found = what_if(played(TRIP), plan_of(other, timeout={"after": {"hours": 1}}))
    assert found["outcome"] == "same"


def test_an_undo_that_is_not_there_any_more_is_another_path_once_it_is_needed():
    world = played(TRIP, lambda attempt: refused() if attempt.function == "pay" else fine(attempt))
    found = what_if(world, plan_of([{"car": {"call": "car"}}, *TRIP[1:]]))
    assert calls(found) == ["car", "hotel", "pay", "undo hotel"]
    assert [each["task"] for each in found["left_behind"]] == ["car"]
    assert found["leaves_at"]["instead"]["type"] == "compensation.decided"
    assert found["leaves_at"]["differs"] == ["plan", "left_behind"]


def test_a_task_that_has_another_place_is_answered_as_it_was():
    found = what_if(played(TRIP), plan_of([{"first": {"set": {"n": 1}}}, *TRIP]))
    assert (found["outcome"], found["status"], found["same_calls"]) == ("other", "completed", True)
    assert [each["recorded"] for each in found["calls"]] == [True, True, True]


def test_a_call_with_other_arguments_is_not_answered_by_the_record():
    found = what_if(played(TRIP), plan_of([TRIP[0], {"hotel": undone("hotel", **{"with": {"stars": 5}})}, TRIP[2]]))
    assert found["outcome"] == "cannot_continue"
    assert found["why"].startswith('would call hotel with {"stars":5}, other arguments than recorded')
    assert found["leaves_at"]["differs"] == ["arguments"]


def test_two_tasks_of_one_name_are_not_mixed_up():
    world = played([{"a": {"call": "f"}}, {"do": {"do": [{"b": {"call": "f"}}]}}])
    two = [{name: {"do": [{"b": {"call": "f"}}]}} for name in ("one", "two")]
    found = what_if(world, plan_of([{"x": {"set": {"n": 1}}}, *two]))
    assert found["outcome"] == "cannot_continue"


def test_less_patience_makes_a_doubt_of_a_slow_answer():
    world = World(plan_of(TRIP), lambda attempt: None if attempt.function == "hotel" else fine(attempt))
    world.start()
    world.pass_time(3)
    world.reply(world.flying[0], done({"id": "h"}))
    patient = {"hotel": undone("hotel", timeout={"after": {"seconds": 5}})}
    hasty = {"hotel": undone("hotel", timeout={"after": {"seconds": 2}})}
    assert what_if(world, plan_of([TRIP[0], patient, TRIP[2]]))["outcome"] == "same"
    found = what_if(world, plan_of([TRIP[0], hasty, TRIP[2]]))
    assert calls(found) == ["car", "hotel", "undo hotel", "undo car"]
    assert found["assumptions"][0] == "hotel took 3 s, longer than the 2 s that it is given here"


def test_more_patience_is_more_than_the_record_knows():
    slow = {"hotel": undone("hotel", timeout={"after": {"seconds": 2}})}
    world = played([TRIP[0], slow, TRIP[2]], lambda attempt: doubt() if attempt.function == "hotel" else fine(attempt))
    found = what_if(world, plan_of(TRIP))
    assert found["outcome"] == "cannot_continue"
    assert found["why"] == "would wait longer for hotel (30 s instead of 2 s); the record does not say what it answers"
    assert calls(found) == ["car", "hotel"]


def test_a_timer_that_is_due_earlier_comes_first():
    tasks = [{"go": {"listen": {"to": {"one": {"with": {"type": "go"}}}}}}, *TRIP]
    world = played(plan_of(tasks, timeout={"after": {"seconds": 100}}))
    world.pass_time(50)
    world.receive("go")
    assert world.root.status == "completed"
    assert what_if(world, plan_of(tasks, timeout={"after": {"seconds": 60}}))["outcome"] == "same"
    found = what_if(world, plan_of(tasks, timeout={"after": {"seconds": 40}}))
    assert (found["outcome"], found["status"], found["error"]["status"]) == ("other", "faulted", 408)


def test_an_event_that_was_recorded_comes_at_its_time_to_whoever_waits_then():
    tasks = [{"go": {"listen": {"to": {"one": {"with": {"type": "go"}}}}}}, *TRIP]
    world = played(tasks)
    world.pass_time(10)
    world.receive("go")
    later = [{"nap": {"wait": {"seconds": 20}}}, *tasks]
    assert what_if(world, plan_of(later))["status"] == "completed"
    twice = [*tasks, {"again": {"listen": {"to": {"one": {"with": {"type": "more"}}}}}}]
    found = what_if(world, plan_of(twice))
    assert (found["outcome"], found["why"]) == (
        "cannot_continue",
        "again waits for an event of more, which is not recorded",
    )


def test_commands_of_people_come_at_their_time_and_may_be_refused():
    tasks = [{"car": undone("car")}, {"nap": {"wait": {"seconds": 60}}}, {"pay": {"call": "pay"}}]
    world = played(tasks)
    world.pass_time(10)
    world.do("o_root", c.Cancel, reason="enough", actor="ann")
    assert world.root.status == "cancelled"
    assert what_if(world, plan_of([{"x": {"set": {"n": 1}}}, *tasks]))["status"] == "cancelled"
    found = what_if(world, plan_of([tasks[0], tasks[2]]), assume={"pay": {}})
    assert found["status"] == "completed"
    assert found["assumptions"][-1] == "the recorded cancel is refused: The orchestration has ended as completed."


def test_a_record_that_is_not_at_its_end_ends_the_course():
    world = played(TRIP, lambda attempt: None if attempt.function == "pay" else fine(attempt))
    found = what_if(world, plan_of([{"x": {"set": {"n": 1}}}, *TRIP]))
    assert (found["outcome"], found["status"]) == ("other", "running")
    assert found["why"] == "waits for the answer of pay, which is not recorded yet"
    assert what_if(world)["outcome"] == "same"


def test_what_never_ends_is_stopped():
    tasks = [{"a": {"call": "a"}}, {"nap": {"wait": {"seconds": 1}, "then": "nap"}}]
    found = what_if(played(TRIP), plan_of([{"car": TRIP[0]["car"]}, *tasks[1:]]))
    assert found["outcome"] == "cannot_continue"
    assert "it goes on and on" in found["why"]


# Children -------------------------------------------------------------------------------------------------------------

CHILD = {"run": {"workflow": {"namespace": "test", "name": "child", "version": "1.0.0"}}}


def family() -> dict[str, Plan]:
    child = plan_of([{"c": undone("c")}])
    return {
        "x": plan_of([{"car": undone("car")}, {"kid": CHILD}, {"pay": {"call": "pay"}}]),
        "child": msgspec.structs.replace(child, name="child", digest="sha256:child"),
    }


@pytest.fixture
def parents() -> World:
    world = World(family(), fine)
    world.start(name="x")
    assert world.root.status == "completed"
    return world


def test_a_child_ends_as_it_did(parents):
    moved = plan_of([{"first": {"set": {"n": 1}}}, {"car": undone("car")}, {"kid": CHILD}, {"pay": {"call": "pay"}}])
    found = what_if(parents, moved)
    assert (found["outcome"], found["status"]) == ("other", "completed")
    assert calls(found) == ["car", "kid", "pay"]


def test_a_child_that_failed_or_has_to_be_undone(parents):
    found = what_if(parents, changes=(Change(task="kid", outcome="refused"),))
    assert (found["status"], [each["task"] for each in found["undone"]]) == ("compensated", ["car"])
    found = what_if(parents, changes=(Change(task="pay", outcome="refused"),))
    assert (found["status"], [each["task"] for each in found["undone"]]) == ("compensated", ["kid", "car"])
    assert found["assumptions"] == ["the undo of kid succeeds", "the undo of car succeeds"]


def test_another_child_is_not_known(parents):
    kid = {"run": {"workflow": {**CHILD["run"]["workflow"], "input": {"n": 2}}}}
    other = plan_of([{"car": undone("car")}, {"kid": kid}])
    found = what_if(parents, other)
    assert found["outcome"] == "cannot_continue"
    assert "would start a child for kid" in found["why"]


# Around it ------------------------------------------------------------------------------------------------------------


def test_the_same_question_gives_the_same_answer():
    world = played(TRIP)
    assert what_if(world, changes=(REFUSED,)) == what_if(world, changes=(REFUSED,))


def test_a_task_that_is_nowhere_is_refused_with_its_place():
    supposed = Suppositions(changes=(REFUSED, Change(task="train", outcome="refused")), assume={"a/b": 1})
    with pytest.raises(InvalidInputError) as refusal:
        check(supposed, [plan_of(TRIP)])
    assert [each.pointer for each in refusal.value.problems] == ["/changes/1/task", "/assume/a~1b"]
    assert "car, hotel, pay" in refusal.value.problems[0].detail


def test_a_tally_is_bounded():
    tally = Tally()
    for number in range(250):
        found = {"id": f"o_{number}", "outcome": "other", "same_calls": number == 0, "why": None}
        tally.add({**found, "reason": str(number % 125)})
    tally.add({"id": "o_", "outcome": "same", "same_calls": True, "reason": None, "why": None})
    told = tally.told()
    assert (told["considered"], told["other"], told["same"]) == (251, 250, 1)
    assert (len(told["groups"]), told["not_grouped"], told["same_calls"]) == (100, 51, 1)
    assert all(len(group["examples"]) <= 3 for group in told["groups"])
