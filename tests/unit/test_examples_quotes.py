"""Five banks are asked at once; whatever one of them does, the best of the others wins in time."""

from __future__ import annotations

import pytest

from tests.support.examples_script import HOLD, Script, example, in_flight, name_of
from tests.support.pure_world import World, done, doubt, refused, unusable

QUOTES = example("quotes/quotes.yaml")
INPUT = {"amount": 250_000, "years": 20}
RATES = {"alpine": 4.4, "coastal": 3.9, "harbour": 3.7, "lakeside": 4.1, "meadow": 4.6}


def offer(attempt):
    bank = name_of(attempt).rpartition("/")[2]
    return {"bank": bank, "rate": RATES[bank]}


def quotes(answers):
    script = Script()
    script.answers = {f"get banks/{bank}": [result] for bank, result in answers.items()}
    script.default = offer
    world = World(QUOTES, script)
    world.start(INPUT)
    return world, script


def test_the_lowest_rate_wins():
    world, script = quotes({})
    assert world.root.status == "completed"
    assert world.root.output == {"best": {"bank": "harbour", "rate": 3.7}, "silent": []}
    assert sorted(script.calls()) == [f"get banks/{bank}" for bank in sorted(RATES)]


def test_all_five_are_asked_before_one_has_answered():
    world, script = quotes(dict.fromkeys(RATES, HOLD))
    assert len(world.flying) == 5
    assert world.root.status == "running"
    assert {attempt.arguments["amount"] for attempt in script.attempts} == {250_000}


@pytest.mark.parametrize("problem", [refused(422), doubt("communication", 500), doubt(), unusable("<html>")])
def test_a_bank_that_fails_does_not_spoil_it(problem):
    world, _ = quotes({"harbour": problem})
    assert world.root.status == "completed"
    assert world.root.output["best"] == {"bank": "coastal", "rate": 3.9}
    assert [entry["bank"] for entry in world.root.output["silent"]] == ["harbour"]


def test_a_slow_bank_is_waited_for_until_its_timeout():
    world, _ = quotes({"harbour": HOLD})
    world.pass_time(1.9)
    assert world.root.status == "running"
    world.pass_time(0.2)
    assert world.root.output["best"]["bank"] == "coastal"
    assert world.root.status == "completed"


def test_a_slow_bank_that_makes_it_in_time_counts():
    world, _ = quotes({"harbour": HOLD})
    world.reply(in_flight(world, "get banks/harbour"), done({"bank": "harbour", "rate": 3.7}))
    assert world.root.output["best"]["bank"] == "harbour"


def test_each_bank_has_two_seconds_whether_a_worker_asks_it_or_not():
    world, _ = quotes(dict.fromkeys(RATES, HOLD))
    world.pass_time(2.1)
    assert (world.root.status, world.root.fault.type) == ("faulted", "https://example.com/errors/nobody-lends")


def test_no_offer_at_all_is_an_error_with_nothing_to_undo():
    world, _ = quotes({bank: refused(422) for bank in RATES})
    assert world.root.status == "faulted"
    assert world.root.fault.type == "https://example.com/errors/nobody-lends"
    assert world.root.fault.instance == "/do/3/decline"
