"""Rehearsals of many shapes of definitions: what is predicted, what is assumed, what is warned of."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.documents import read_definition
from adapters.expressions.inline import InlineJq
from adapters.expressions.schemas import JsonSchemas
from application.rehearsal_report import as_json
from application.rehearsing import Request, rehearse
from domain.errors import InvalidInputError
from domain.plan import Plan
from tests.support.pure_world import plan_of
from tests.support.scripted import bare, step

HEAD = "{dsl: '1.0.3', namespace: test, name: x, version: '1.0.0'}"
EXAMPLES = Path(__file__).parents[2] / "examples"


def report_of(
    plan: Plan | list[Any], *children: Plan, top: dict[str, Any] | None = None, **members: Any
) -> dict[str, Any]:
    plan = plan if isinstance(plan, Plan) else plan_of(plan, **(top or {}))
    kids = {child.reference: child for child in children}
    found = asyncio.run(rehearse(Request(plan=plan, children=kids, **members), InlineJq(), JsonSchemas()))
    return as_json(found)


def example(name: str) -> Plan:
    return read_definition((EXAMPLES / name).read_text(), "application/yaml").plan


def lines(report: dict[str, Any]) -> dict[str, str]:
    """Title -> what it comes to, in one line."""
    told = {}
    for each in (report["happy_path"], *report["scenarios"]):
        parts = [each["status"]]
        told_of = (part for part in ("undone", "not_undone", "left_behind") if each[part])
        parts += [f"{part}: {' '.join(entry['task'] for entry in each[part])}" for part in told_of]
        parts += [f"{incident['kind']}: {incident['task']}" for incident in each["incidents"]]
        told[each["title"]] = "; ".join(parts)
    assert len(told) == 1 + len(report["scenarios"]), "every scenario has a title of its own"
    return told


def codes(report: dict[str, Any]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for warning in report["warnings"]:
        found.setdefault(warning["code"], []).append(warning["pointer"])
    return found


# The examples ----------------------------------------------------------------------------------------------------------


def test_the_trip():
    report = report_of(example("trip/trip.yaml"))
    assert report["input"] == {"traveller": "text", "city": "text"}
    assert report["input_made_up"]
    told = lines(report)
    assert told["everything succeeds"] == "completed"
    assert told["reserveCar is refused"] == "faulted"
    assert told["reserveCar is uncertain"] == "compensated; undone: reserveCar"
    assert told["bookFlight is refused"] == "compensated; undone: bookHotel reserveCar"
    assert told["bookFlight times out"] == "compensated; undone: bookFlight bookHotel reserveCar"
    assert told["pay is refused"] == "compensated; undone: bookFlight bookHotel reserveCar"
    assert told["pay is uncertain"] == told["pay times out"] == "running; uncertain_pivot: pay"
    stuck = "compensating; undone: bookFlight; not_undone: bookHotel reserveCar; compensation_failed: bookHotel"
    assert told["bookFlight is uncertain, then undo of bookHotel is refused"] == stuck
    assert report["warnings"] == report["not_reached"] == []
    assert report["summary"]["scenarios"] == 33
    assert report["left_out"] == 0


def test_every_call_of_the_trip_is_told_in_order_with_its_attempts():
    scenario = next(s for s in report_of(example("trip/trip.yaml"))["scenarios"] if s["title"] == "bookHotel times out")
    called = [(each["undo_of"] or each["task"], each["attempts"], each["outcome"]) for each in scenario["called"]]
    assert called == [
        ("reserveCar", 1, "completed"),
        ("bookHotel", 3, "timed_out"),
        ("bookHotel", 1, "completed"),
        ("reserveCar", 1, "completed"),
    ]
    assert scenario["took_s"] == 3 * 2 + 2 * 0.2


def test_the_order_with_its_child_and_with_one_that_plays_it():
    alone, with_child = report_of(example("order/order.yaml")), None
    assert alone["stand_ins"] == ["shop/shipping@1.0.0"]
    assert lines(alone)["ship is refused"] == "compensated; undone: charge reserveStock"
    assert "compensation_failed: ship" in lines(alone)["ship is uncertain, then undo of ship is refused"]
    with_child = report_of(example("order/order.yaml"), example("order/shipping.yaml"))
    assert with_child["stand_ins"] == []
    told = lines(with_child)
    assert told["bookCarrier times out"] == "compensated; undone: bookCarrier charge reserveStock"
    late = told["waitForCollection waits for an event that does not come"]
    assert late == "compensated; undone: bookCarrier charge reserveStock"
    carrier = next(s for s in with_child["scenarios"] if s["title"] == "bookCarrier is refused")
    assert carrier["mishaps"][0]["definition"] == "shop/shipping@1.0.0"


def test_the_quotes_find_a_happy_path_though_nobody_knows_an_offer():
    report = report_of(example("quotes/quotes.yaml"))
    told = lines(report)
    assert told["everything succeeds, where enough takes offered"] == "completed"
    assert told["everything succeeds, as it comes"].startswith("faulted; left_behind: "), (
        "nobody knows that asking changes nothing"
    )
    assert all(line == "completed" for title, line in told.items() if title.startswith("ask"))
    assert report["not_reached"] == []


def test_the_quotes_with_answers_that_are_given():
    answers = {f"ask{bank}": {"rate": 3} for bank in ("Alpine", "Coastal", "Harbour", "Lakeside", "Meadow")}
    told = lines(report_of(example("quotes/quotes.yaml"), outputs=answers))
    assert told["everything succeeds"] == "completed"
    assert told["everything succeeds, where enough takes no case"].startswith("faulted; left_behind: ")


def test_the_signup_warns_of_a_mail_that_cannot_be_unsent():
    report = report_of(example("signup/signup.yaml"))
    assert codes(report) == {"left-behind": ["/do/1/sendMail", "/do/3/activate"]}
    assert lines(report)["activate times out"] == "compensated; undone: createAccount; left_behind: activate sendMail"


def test_the_documents_come_in_their_turn():
    report = report_of(example("documents/documents.yaml"))
    assert lines(report)["everything succeeds"] == "completed"
    assert report["not_reached"] == []


# Kinds of tasks ----------------------------------------------------------------------------------------------------------


def test_every_way_of_a_switch_is_taken_and_every_task_behind_it_fails():
    report = report_of(
        [
            step("first"),
            {"way": {"switch": [{"big": {"when": ".size > 3", "then": "large"}}, {"small": {"then": "little"}}]}},
            {"large": {"call": "large", "then": "end"}},
            {"little": {"call": "little"}},
        ],
        outputs={"first": {"size": 9}},
    )
    told = lines(report)
    assert told["everything succeeds, where way takes small"] == "completed"
    assert told["large is refused"] == told["little is refused, where way takes small"] == "compensated; undone: first"
    assert report["not_reached"] == []


def test_an_if_is_taken_and_skipped():
    told = lines(report_of([step("first"), {"second": {"call": "second", "if": "${ .wanted }"}}]))
    assert told["second is refused"] == "compensated; undone: first"
    assert told["everything succeeds, where second is skipped by its if"] == "completed"


def test_a_condition_that_nobody_can_know_is_assumed_and_said_to_be():
    report = report_of([step("first"), {"second": {"call": "second", "if": "${ .wanted }"}}])
    (assumed,) = report["happy_path"]["assumed"]
    assert (assumed["task"], assumed["part"], assumed["value"]) == ("second", "if", True)


def test_a_condition_over_what_is_known_is_believed():
    report = report_of([{"second": {"call": "second", "if": "${ .wanted }"}}], input={"wanted": False})
    assert report["happy_path"]["assumed"] == []
    assert lines(report)["everything succeeds, where second is taken by its if"] == "completed"


def test_a_compensation_with_a_condition_is_rehearsed_both_ways():
    told = lines(report_of([step("car", {"if": "${ .refundable }"}), bare("pay")]))
    assert told["pay is refused"] == "compensated; undone: car"
    assert told["pay is refused, where compensate.if of car is false"] == "faulted; left_behind: car"


def test_an_expression_that_fails_on_what_is_made_up_ends_nothing():
    report = report_of(
        [
            step("first"),
            {"sum": {"set": {"n": '${ .price | test("x") }'}}},
            {"pause": {"wait": "${ .pause }"}},
            {"each": {"for": {"in": "${ $outputs.first.items }"}, "do": [step("inside")]}},
        ]
    )
    assert report["happy_path"]["status"] == "completed"
    assert {(each["task"], each["part"]) for each in report["happy_path"]["assumed"]} == {
        ("sum", "set"),
        ("pause", "wait"),
        ("each", "for.in"),
    }
    assert lines(report)["inside is uncertain"] == "compensated; undone: inside first"


def test_an_expression_that_fails_on_what_was_given_fails():
    report = report_of([bare("first"), {"sum": {"set": {"n": "${ .a + 1 }"}}}], input={}, outputs={"first": {"a": "x"}})
    assert report["happy_path"]["status"] == "faulted"
    assert codes(report)["no-happy-end"] == ["/do/1/sum"]


def test_a_warning_about_a_child_tells_whose_it_is():
    child = msgspec.structs.replace(plan_of([bare("mail"), bare("post")]), name="kid", digest="sha256:kid")
    plan = plan_of([{"sub": {"run": {"workflow": {"namespace": "test", "name": "kid", "version": "1.0.0"}}}}])
    warnings = report_of(plan, child)["warnings"]
    assert {(each["code"], each["definition"]) for each in warnings} == {("left-behind", "test/kid@1.0.0")}


def test_an_effect_without_compensation_before_a_pivot_is_warned_of_by_the_document_itself():
    text = f"document: {HEAD}\ndo:\n  - mail: {{call: mail}}\n  - pay: {{call: pay, pivot: true}}\n"
    definition = read_definition(text, "application/yaml")
    found = asyncio.run(rehearse(Request(plan=definition.plan), InlineJq(), JsonSchemas()))
    (warning,) = as_json(found, definition.warnings, definition.placed)["warnings"]
    assert (warning["code"], warning["line"], warning["column"]) == ("left-behind", 3, 5)
    assert "before a pivot" in warning["detail"]


def test_a_loop_that_nothing_slows_down_ends_as_it_would():
    report = report_of([{"a": {"set": {"x": 1}, "then": "b"}}, {"b": {"set": {"x": 1}, "then": "a"}}])
    assert report["happy_path"]["status"] == "faulted"
    assert "no-happy-end" in codes(report)


def test_a_catch_is_reached_and_what_it_does_fails_too():
    caught = {"errors": {"with": {"type": "https://shop.test/sold-out", "status": 409}}, "do": [bare("other")]}
    report = report_of([step("first"), {"guarded": {"try": [bare("buy")], "catch": caught}}])
    told = lines(report)
    assert told["buy is refused"] == "compensated; undone: first"
    assert told["buy is refused with 409 sold-out"] == "completed"
    assert told["buy is refused with 409 sold-out, then other is refused"] == "compensated; undone: first"
    assert report["not_reached"] == []


def test_a_partial_rollback_undoes_the_block_before_the_catch():
    guarded = {"try": [step("inner"), bare("buy")], "catch": {"compensate": True, "do": [bare("other")]}}
    told = lines(report_of([step("first"), {"guarded": guarded}]))
    assert told["buy is refused"] == "completed; undone: inner"
    assert told["inner is refused, then other is refused"] == "compensated; undone: first"


def test_branches_settle_before_anything_is_undone():
    branches = [{"left": {"do": [step("a"), step("b")]}}, {"right": {"do": [step("c")]}}]
    told = lines(report_of([step("first"), {"both": {"fork": {"branches": branches}}}]))
    assert told["a is refused"] == "compensated; undone: c first"
    assert told["b times out"] == "compensated; undone: b c a first"


def test_tasks_of_one_name_are_told_apart():
    branches = [{"left": {"do": [step("a")]}}, {"right": {"do": [step("a")]}}]
    told = lines(report_of([{"both": {"fork": {"branches": branches}}}]))
    assert told["a (/do/0/both/fork/branches/1/right/do/0/a) is refused"] == "compensated; undone: a"


def test_competing_branches_the_losers_are_undone():
    fork = {"fork": {"compete": True, "branches": [{"left": {"do": [step("a")]}}, {"right": {"do": [step("b")]}}]}}
    told = lines(report_of([{"race": fork}]))
    assert told["everything succeeds"] == "completed; undone: b"
    assert told["a is refused"] == "completed"


def test_each_turn_of_a_loop_fails():
    told = lines(report_of([{"each": {"for": {"in": "[1, 2]"}, "do": [step("inside")]}}]))
    assert told["inside is refused"] == "faulted"
    assert told["inside (run 2) is uncertain"] == "compensated; undone: inside inside"


def test_an_event_that_never_comes_and_nothing_that_ends_the_wait():
    report = report_of([step("first"), {"go": {"listen": {"to": {"one": {"with": {"type": "go"}}}}}}])
    assert lines(report)["go waits for an event that does not come"] == "running"
    assert codes(report)["waits-for-ever"] == ["/do/1/go"]


@pytest.mark.parametrize(
    "to",
    [
        {"one": {"with": {"type": "go", "subject": "${ . == $workflow.input.id }"}}},
        {"one": {"with": {"type": "go"}, "correlate": {"id": {"from": ".data.id", "expect": "${ .id }"}}}},
        {"all": [{"with": {"type": "go"}}, {"with": {"type": "stop"}}]},
        {"any": [{"with": {"type": "go"}}], "until": "${ length >= 3 }"},
        {"any": [{"with": {"type": "go"}}], "until": {"one": {"with": {"type": "stop"}}}},
        {"any": []},
    ],
)
def test_awaited_events_are_made_up(to):
    report = report_of([{"go": {"listen": {"to": to}}}, bare("after")])
    assert report["happy_path"]["status"] == "completed"
    assert report["not_reached"] == []


def test_retries_without_an_end_are_cut_and_told():
    report = report_of([bare("poll", retry={"delay": {"seconds": 1}})])
    assert lines(report)["poll times out"] == "running"
    assert "endless" in codes(report)


def test_an_undo_may_catch_its_own_failure():
    undo = {"do": [{"safe": {"try": [bare("cancel")], "catch": {"do": [bare("callSomeone")]}}}]}
    report = report_of([{"car": {"call": "car", "compensate": undo}}, bare("pay")])
    told = lines(report)
    title = "pay is uncertain, then cancel (undo of car) is refused"
    assert told[title] == "compensated; undone: car; left_behind: pay"
    assert "compensation_failed: car" in told[f"{title}, then callSomeone (undo of car) is refused"]


def test_past_the_pivot_an_error_needs_an_operator():
    told = lines(report_of([step("car"), bare("pay", pivot=True), bare("mail")]))
    assert told["mail is refused"] == "running; after_pivot: mail"


def test_a_loop_of_then_that_waits_for_an_answer_can_be_left():
    report = report_of(
        [
            bare("ask"),
            {"done": {"switch": [{"yes": {"when": '.state == "done"', "then": "end"}}]}},
            {"pause": {"wait": {"seconds": 5}, "then": "ask"}},
        ]
    )
    assert report["happy_path"]["status"] == "completed"
    assert lines(report)["everything succeeds, where done takes no case"] == "completed"


def test_a_definition_that_runs_itself_ends():
    plan = plan_of(
        [bare("f"), {"again": {"run": {"workflow": {"namespace": "test", "name": "x", "version": "1.0.0"}}}}]
    )
    report = report_of(plan, most_scenarios=20)
    assert report["happy_path"]["status"] == "compensated" or report["happy_path"]["error"]


# Bounds and input ----------------------------------------------------------------------------------------------------------


def test_what_does_not_fit_is_counted():
    whole = report_of([step(f"t{number}") for number in range(6)])
    some = report_of([step(f"t{number}") for number in range(6)], most_scenarios=12)
    assert some["summary"]["scenarios"] == 12
    assert some["left_out"] > 0
    assert whole["left_out"] == 0
    undone = [s for s in some["scenarios"] if s["mishaps"][-1]["undo_of"]]
    assert undone, "some undos fail even where there is little room"


def test_each_of_a_hundred_tasks_fails_and_each_undo():
    report = report_of([step(f"t{number}") for number in range(100)], most_scenarios=400)
    titles = lines(report)
    assert titles["t99 is refused"].endswith("t2 t1 t0")
    assert sum("undo of" in title for title in titles) == 100


def test_an_input_that_does_not_fit_is_refused():
    with pytest.raises(InvalidInputError) as refused:
        report_of(example("trip/trip.yaml"), input={"city": 4})
    assert {problem.pointer for problem in refused.value.problems} == {"", "/city"}


def test_the_same_request_gives_the_same_report():
    assert report_of(example("order/order.yaml")) == report_of(example("order/order.yaml"))
