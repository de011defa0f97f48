"""Circuits: when a host is left alone, and how it comes back. The clock is the test's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs
from yarl import URL

from adapters.callouts.circuits import LONGEST_PAUSE_S, Circuits, TurnedAwayError, host_of

HOST = "http://car.test:80"
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class World:
    """Circuits that open after three failures, for ten seconds."""

    def __init__(self, failures=3, pause_s=10.0):
        self.time_s = 1000.0
        self.circuits = Circuits(
            failures=failures,
            pause_s=pause_s,
            time=lambda: self.time_s,
            now=lambda: EPOCH + timedelta(seconds=self.time_s),
        )

    def fails(self, times=1, host=HOST):
        for _ in range(times):
            self.circuits.failed(host, self.circuits.enter(host), "no answer")

    def after_s(self, host=HOST):
        with pytest.raises(TurnedAwayError) as caught:
            self.circuits.enter(host)
        return caught.value.after_s

    @property
    def state(self):
        [shown] = self.circuits.shown()
        return shown["state"]


def test_so_many_failures_in_a_row_open_it():
    world = World()
    world.fails(2)
    assert world.state == "closed"
    world.fails()
    assert world.state == "open"
    assert 10 <= world.after_s() < 10.1


def test_a_success_in_between_begins_the_count_anew():
    world = World()
    for _ in range(5):
        world.fails(2)
        world.circuits.succeeded(HOST, world.circuits.enter(HOST))
    assert world.state == "closed"


def test_hosts_do_not_know_of_each_other():
    world = World()
    world.fails(3)
    assert world.circuits.enter("https://car.test:443") == 0


def test_one_probe_passes_when_the_pause_is_over():
    world = World()
    world.fails(3)
    world.time_s += 10
    probe = world.circuits.enter(HOST)
    assert (probe, world.state) == (1, "half_open")
    assert world.after_s() >= 1, "the others wait for it"
    world.circuits.succeeded(HOST, probe)
    assert (world.state, world.circuits.enter(HOST)) == ("closed", 0)


def test_a_probe_that_fails_doubles_the_pause_up_to_a_limit():
    world = World()
    world.fails(3)
    pauses = []
    for _ in range(4):
        world.time_s += LONGEST_PAUSE_S
        world.fails()
        pauses.append(world.circuits._known[HOST].until - world.time_s)
    assert pauses == [20, 30, 30, 30]


def test_a_probe_without_outcome_leaves_its_place_to_the_next():
    world = World()
    world.fails(3)
    world.time_s += 10
    world.circuits.unknown(HOST, world.circuits.enter(HOST))
    assert world.circuits.enter(HOST) == 2


def test_a_probe_that_takes_long_does_not_shut_the_host():
    world = World()
    world.fails(3)
    world.time_s += 10
    slow = world.circuits.enter(HOST)
    world.time_s += LONGEST_PAUSE_S - 1
    assert world.after_s() >= 1
    world.time_s += 1
    second = world.circuits.enter(HOST)
    world.circuits.failed(HOST, slow, "no answer in time")
    assert world.state == "half_open"
    world.circuits.succeeded(HOST, second)
    assert world.state == "closed"


def test_what_was_sent_before_it_opened_changes_nothing():
    world = World()
    early = [world.circuits.enter(HOST) for _ in range(5)]
    world.fails(3)
    until = world.circuits._known[HOST].until
    world.time_s += 5
    world.circuits.failed(HOST, early[0], "late")
    world.circuits.succeeded(HOST, early[1])
    assert (world.state, world.circuits._known[HOST].until) == ("open", until)
    world.time_s += 5
    world.circuits.enter(HOST)
    world.circuits.succeeded(HOST, early[2])
    world.circuits.failed(HOST, early[3], "late")
    assert world.state == "half_open"


def test_those_that_wait_come_back_one_after_the_other():
    world = World()
    world.fails(3)
    waits = [world.after_s() for _ in range(1000)]
    assert waits == sorted(waits)
    assert 11.9 < waits[-1] < 12.1, "500 a second"


def test_an_operator_closes_and_opens_by_hand():
    world = World()
    assert world.circuits.close(HOST) is None
    shown = world.circuits.hold_open(HOST, "ada", "they migrate")
    assert (shown["state"], shown["opened_by"], shown["probe_at"]) == ("open", "ada", None)
    world.time_s += 10_000
    with pytest.raises(TurnedAwayError, match=r"opened by ada \(they migrate\)"):
        world.circuits.enter(HOST)
    closed = world.circuits.close(HOST)
    assert closed is not None
    assert closed["state"] == "closed"
    assert world.circuits.enter(HOST) == 0


def test_switched_off_nothing_opens_by_itself():
    world = World(failures=0)
    world.fails(100)
    assert world.circuits.shown() == []


def test_only_so_many_hosts_are_remembered_and_open_ones_longest():
    world = World()
    world.fails(3)
    for number in range(2000):
        world.fails(1, f"http://{number}.test:80")
    assert len(world.circuits.shown()) == 500
    assert world.circuits.count("open") == 1


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://Car.Test./a?b=c", "http://car.test:80"),
        ("https://user:pw@car.test:8443/x", "https://car.test:8443"),
        ("http://[::1]:8/", "http://[::1]:8"),
    ],
)
def test_a_host_is_scheme_name_and_port(url, host):
    assert host_of(URL(url)) == host


def test_the_log_says_why_a_circuit_changed():
    world = World()
    world.fails(3)
    with capture_logs() as lines:
        world.circuits.hold_open("http://other.test:80", "ops", "moving")
        world.circuits.close(HOST)
    assert [(line["event"], line["why"]) for line in lines] == [
        ("circuit.open", "opened by ops: moving"),
        ("circuit.closed", "closed by hand"),
    ]
