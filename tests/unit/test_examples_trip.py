"""The trip: car, hotel, flight, payment. Whatever can go wrong does, without clock, network or database."""

from __future__ import annotations

import re

from domain import commands as c
from domain import events as e
from tests.support.examples_script import EXAMPLES, HOLD, Script, example, in_flight, names
from tests.support.pure_world import World, compile_yaml, done, doubt, refused

TRIP = example("trip/trip.yaml")
INPUT = {"traveller": "Ada", "city": "Turin", "card": "4711"}


def trip(**answers):
    script = Script(**answers)
    world = World(TRIP, script)
    world.start(INPUT)
    return world, script


def plan_of(world):
    return names(world, world.root.rollbacks[""].steps)


def test_all_goes_well():
    world, script = trip()
    assert world.root.status == "completed"
    assert script.calls() == ["put cars", "put hotels", "put flights", "put payments"]
    assert world.root.output == dict.fromkeys(("car", "hotel", "flight", "payment"), "o_root")
    assert not world.root.rollbacks


def test_flight_refused_undoes_the_hotel_then_the_car():
    world, script = trip(put_flights=[refused(409)])
    assert world.root.status == "compensated"
    assert script.undos() == ["delete hotels", "delete cars"]
    assert script.calls().count("put payments") == 0
    assert plan_of(world) == ["bookHotel", "reserveCar"]
    assert world.root.rollbacks[""].left_behind == ()


def test_the_history_names_the_cause():
    world, _ = trip(put_flights=[refused(409)])
    (started,) = [event for event in world.history["o_root"] if isinstance(event, e.RollbackStarted)]
    assert started.reason.kind == "error"
    assert started.reason.fault is not None
    assert started.reason.fault.status == 409
    assert started.reason.fault.instance == "/do/2/bookFlight"
    assert world.root.fault == started.reason.fault
    decided = world.topics().index("compensation.decided")
    assert world.topics().index("rollback.started") < decided < world.topics().index("compensation.started")


def test_an_undo_names_what_it_undoes():
    world, script = trip(put_flights=[refused(409)])
    forward = {attempt.key for attempt in script.attempts if attempt.compensates is None}
    undos = [attempt for attempt in script.attempts if attempt.compensates is not None]
    assert {undo.compensates for undo in undos} <= forward
    assert not {undo.key for undo in undos} & forward
    assert world.root.status == "compensated"


def test_hotel_refused_undoes_only_the_car():
    world, script = trip(put_hotels=[refused(409)])
    assert world.root.status == "compensated"
    assert script.undos() == ["delete cars"]


def test_car_refused_undoes_nothing():
    world, script = trip(put_cars=[refused(409)])
    assert world.root.status == "faulted"
    assert script.calls() == ["put cars"]


def test_payment_refused_undoes_everything():
    world, script = trip(put_payments=[refused(402)])
    assert world.root.status == "compensated"
    assert script.undos() == ["delete flights", "delete hotels", "delete cars"]


def test_a_flight_that_times_out_may_be_booked_and_is_undone_too():
    world, script = trip(put_flights=[doubt(), doubt(), doubt()])
    world.pass_time(10)
    assert script.calls().count("put flights") == 3
    assert len({attempt.key for attempt in script.attempts if attempt.arguments["endpoint"].count("flights")}) == 2
    assert world.root.status == "compensated"
    assert script.undos() == ["delete flights", "delete hotels", "delete cars"]
    assert world.root.rollbacks[""].steps[0].outcome == "uncertain"


def test_a_flight_that_was_not_booked_after_all_has_nothing_to_undo():
    world, script = trip(put_flights=[doubt(), doubt(), doubt()], delete_flights=[refused(404)])
    world.pass_time(10)
    assert world.root.status == "compensated"
    assert script.undos() == ["delete flights", "delete hotels", "delete cars"]


def test_a_refusal_after_a_timeout_does_not_clear_the_doubt():
    world, script = trip(put_flights=[doubt(), refused(409)])
    world.pass_time(10)
    assert script.undos() == ["delete flights", "delete hotels", "delete cars"]
    assert world.root.status == "compensated"


def test_an_undo_that_is_answered_503_is_repeated_under_one_key():
    busy = [doubt("communication", 503) for _ in range(4)]
    world, script = trip(put_flights=[refused(409)], delete_hotels=busy)
    assert world.root.status == "compensating"
    assert "delete cars" not in script.calls()
    world.pass_time(60)
    assert world.root.status == "compensated"
    assert script.undos() == ["delete hotels"] * 5 + ["delete cars"]
    assert len({attempt.key for attempt in script.attempts if attempt.compensates is not None}) == 2


def stuck():
    world, script = trip(put_flights=[refused(409)], delete_hotels=[refused(423)])
    assert world.root.status == "compensating"
    return world, script


def test_an_undo_that_fails_for_good_is_an_incident_and_nothing_earlier_is_undone():
    world, script = stuck()
    (incident,) = world.root.open_incidents()
    assert incident.kind == "compensation_failed"
    assert world.root.runs[incident.run].name == "bookHotel"
    assert set(incident.actions) >= {"retry", "skip", "complete"}
    world.pass_time(7 * 24 * 3600)
    assert world.root.status == "compensating"
    assert "delete cars" not in script.calls()


def test_retry_of_the_incident_finishes_the_rollback():
    world, script = stuck()
    world.do("o_root", c.Resolve, number=1, action="retry", reason="the reception is open again")
    assert world.root.status == "compensated"
    assert script.undos() == ["delete hotels", "delete hotels", "delete cars"]
    assert not world.root.open_incidents()


def test_skip_of_the_incident_finishes_the_rollback_in_part():
    world, script = stuck()
    world.do("o_root", c.Resolve, number=1, action="skip", reason="the hotel does not exist any more")
    assert world.root.status == "compensated"
    assert script.undos() == ["delete hotels", "delete cars"]
    assert world.root.rollbacks[""].ended == ["skipped", "done"]


def test_cancel_before_the_payment_undoes_what_is_there():
    world, script = trip(put_flights=[HOLD])
    world.do("o_root", c.Cancel, reason="changed my mind")
    assert world.root.status == "compensating"
    assert script.undos() == []
    world.reply(in_flight(world, "put flights"), done({"id": "o_root"}))
    assert world.root.status == "cancelled"
    assert script.undos() == ["delete flights", "delete hotels", "delete cars"]


PARALLEL = compile_yaml(
    re.sub(
        r"(?ms)^  - reserveCar:.*?(?=^  - bookFlight:)", "@", (EXAMPLES / "trip/trip.yaml").read_text(encoding="utf-8")
    )
    .replace("@", "")
    .replace(
        "  - bookFlight:",
        """  - together:
      fork:
        branches:
          - bookHotel:
              call: http
              with: {method: put, endpoint: http://127.0.0.1:8090/hotels/h}
              compensate:
                call: http
                with: {method: delete, endpoint: http://127.0.0.1:8090/hotels/h}
          - carAndFlight:
              do:
                - reserveCar:
                    call: http
                    with: {method: put, endpoint: http://127.0.0.1:8090/cars/c}
                    compensate:
                      call: http
                      with: {method: delete, endpoint: http://127.0.0.1:8090/cars/c}
                - earlyFlight:
                    call: http
                    with: {method: put, endpoint: http://127.0.0.1:8090/flights/f}
  - bookFlight:""",
    )
)


def parallel():
    script = Script(put_hotels=[HOLD], put_flights=[refused(409)])
    world = World(PARALLEL, script)
    world.start(INPUT)
    return world, script


def test_a_hotel_still_in_flight_is_settled_before_anything_is_undone():
    world, script = parallel()
    assert script.undos() == []
    world.reply(in_flight(world, "put hotels"), done({"id": "h"}))
    assert world.root.status == "compensated"
    assert script.undos() == ["delete hotels", "delete cars"]


def test_a_hotel_still_in_flight_that_is_refused_needs_no_undo():
    world, script = parallel()
    world.reply(in_flight(world, "put hotels"), refused(409))
    assert world.root.status == "compensated"
    assert script.undos() == ["delete cars"]


def test_a_hotel_still_in_flight_that_never_answers_is_undone_all_the_same():
    world, script = parallel()
    world.pass_time(60)
    assert world.root.status == "compensated"
    assert script.undos() == ["delete hotels", "delete cars"]
    outcomes = {world.root.runs[step.run].name: step.outcome for step in world.root.rollbacks[""].steps}
    assert outcomes == {"bookHotel": "uncertain", "reserveCar": "completed"}
