"""Schedules without a service: what is due, what was missed, overlap, clocks that jump, and cron around daylight saving."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from adapters.cron import cron_problem, next_cron, zone_problem
from domain.schedule import Begun, Course, Occurrence, Pause, Schedule, activated, advanced, begun, triggered, upcoming

NOON = datetime(2030, 5, 17, 12, tzinfo=UTC)
HOURLY = Schedule(every_s=3600.0)


def hours(number: float) -> datetime:
    return NOON + timedelta(hours=number)


def course_of(schedule: Schedule, now: datetime = NOON) -> Course:
    return activated(None, "a/b@1.0.0", "sha256:1", schedule, now, next_cron)


def look(course: Course, now: datetime, *, ends: bool = True) -> tuple[Course, list[datetime]]:
    """One look, and what it starts; `ends`: whatever ran has ended."""
    if ends:
        course = replace(course, runs=tuple(replace(run, ended_at=run.ended_at or now) for run in course.runs))
    decided = advanced(course, now, next_cron)
    runs = [Begun(f"o_{each.at}", each, now) for each in decided.starting]
    return begun(decided, runs), [run.occurrence.at for run in runs]


def test_it_starts_when_it_is_due_and_once():
    course = course_of(HOURLY)
    assert course.next_at == hours(1)
    assert look(course, hours(0.99))[1] == []
    course, started = look(course, hours(1))
    assert started == [hours(1)]
    assert look(course, hours(1))[1] == []
    assert course.next_at == hours(2)


@pytest.mark.parametrize(
    ("catch_up", "overlap", "started"),
    [(0, "skip", []), (1, "skip", [5]), (3, "allow", [3, 4, 5]), (1000, "allow", [1, 2, 3, 4, 5])],
)
@pytest.mark.parametrize("when", [{"every_s": 3600.0}, {"cron": "0 * * * *"}])
def test_what_was_missed_is_made_up_as_it_says(catch_up, overlap, started, when):
    course = course_of(Schedule(**when, catch_up=catch_up, overlap=overlap))
    course, found = look(course, hours(5.5))
    assert found == [hours(each) for each in started]
    assert course.missed == 5 - len(started)
    assert course.next_at == hours(6)


def test_the_latest_is_on_time_within_a_minute():
    course, found = look(course_of(HOURLY), hours(3) + timedelta(seconds=59))
    assert (found, course.missed) == ([hours(3)], 2)
    course, found = look(course_of(HOURLY), hours(3) + timedelta(seconds=61))
    assert (found, course.missed) == ([], 3)


def test_an_outage_of_years_is_a_short_look():
    course, found = look(course_of(Schedule(cron="* * * * *", catch_up=1)), NOON + timedelta(days=3000))
    assert found == [NOON + timedelta(days=3000)]
    assert course.missed > 2000
    course, found = look(course_of(Schedule(every_s=1.0, catch_up=1)), NOON + timedelta(days=3000))
    assert (found, course.missed) == ([NOON + timedelta(days=3000)], 3000 * 86_400 - 1)


@pytest.mark.parametrize(("overlap", "skipped"), [("skip", 2), ("queue", 1), ("allow", 0)])
def test_overlap(overlap, skipped):
    course, _ = look(course_of(replace(HOURLY, overlap=overlap)), hours(1))
    course, second = look(course, hours(2), ends=False)
    course, third = look(course, hours(3), ends=False)
    assert course.skipped == skipped
    assert second + third == ([hours(2), hours(3)] if overlap == "allow" else [])
    course, after = look(course, hours(3.1))
    assert after == ([hours(2)] if overlap == "queue" else [])
    assert course.queued is None


def test_after_counts_from_the_end():
    course, started = look(course_of(Schedule(after_s=60.0)), NOON + timedelta(seconds=60))
    assert started == [NOON + timedelta(seconds=60)]
    assert course.waits_for_an_end
    course, started = look(course, hours(5), ends=False)
    assert started == []
    course, started = look(course, hours(6))
    assert (started, course.next_at) == ([], hours(6) + timedelta(seconds=60))
    assert look(course, hours(6) + timedelta(seconds=60))[1] == [hours(6) + timedelta(seconds=60)]


def test_paused_it_starts_nothing_and_misses_nothing():
    course = replace(course_of(replace(HOURLY, catch_up=1)), paused=Pause(NOON, "ann"))
    course, started = look(course, hours(3.5))
    assert (started, course.missed, course.next_at) == ([], 0, hours(4))


def test_a_clock_that_went_ahead_and_came_back_neither_stops_it_nor_doubles():
    course, first = look(course_of(HOURLY), hours(1))
    course, ahead = look(course, hours(24 * 300))
    assert ahead == [hours(24 * 300)]
    course, back = look(course, hours(1.5))
    assert (back, course.next_at) == ([], hours(2))
    course, second = look(course, hours(2))
    assert first + second == [hours(1), hours(2)]


def test_a_new_version_with_the_same_schedule_goes_on_another_begins_anew():
    course, _ = look(course_of(HOURLY), hours(1))
    same = activated(course, "a/b@1.0.1", "sha256:2", HOURLY, hours(1.5), next_cron)
    assert (same.next_at, same.runs, same.digest) == (hours(2), course.runs, "sha256:2")
    other = activated(same, "a/b@1.0.2", "sha256:3", Schedule(every_s=60.0), hours(1.5), next_cron)
    assert other.next_at == hours(1.5) + timedelta(seconds=60)
    gone = activated(other, "a/b@1.0.3", "sha256:4", None, hours(1.6), next_cron)
    assert look(gone, hours(9))[1] == []


def test_two_triggers_of_one_moment_are_two():
    course, one = triggered(course_of(HOURLY), NOON, "ann", None)
    course, two = triggered(course, NOON, "ann", "again")
    assert one.at != two.at
    course = begun(course, [Begun("o_1", one, NOON), Begun("o_2", two, NOON)])
    assert triggered(course, NOON, "bob", None)[1].at not in {one.at, two.at}
    assert [run.id for run in course.runs] == ["o_2", "o_1"]


def test_what_was_begun_twice_is_listed_once():
    course = replace(course_of(HOURLY), starting=(Occurrence(NOON),))
    run = Begun("o_1", Occurrence(NOON), NOON)
    once = begun(course, [run])
    assert begun(once, [run]) == once


@given(
    steps=st.lists(st.integers(0, 40_000), min_size=1, max_size=30),
    catch_up=st.sampled_from([0, 1, 3, 1000]),
    overlap=st.sampled_from(["skip", "queue", "allow"]),
    when=st.sampled_from([{"every_s": 3600.0}, {"cron": "17 */2 * * *"}, {"cron": "0 3 * * *"}]),
    ends=st.booleans(),
)
def test_however_often_one_looks_every_occurrence_is_accounted_for_once(steps, catch_up, overlap, when, ends):
    course, now, started = course_of(Schedule(**when, catch_up=catch_up, overlap=overlap)), NOON, []
    due = upcoming(course, 4000, next_cron)
    for step in steps:
        now += timedelta(seconds=step)
        course, found = look(course, now, ends=ends)
        started += found
    passed = [at for at in due if at <= now]
    assert len(started) == len(set(started))
    assert set(started) <= set(passed)
    assert len(started) + course.missed + course.skipped + (course.queued is not None) == len(passed)


# cron -----------------------------------------------------------------------------------------------------------------


def times(expression: str, zone: str, after: datetime, count: int) -> list[str]:
    found = []
    for _ in range(count):
        at = next_cron(expression, zone, after)
        assert at is not None
        assert at > after
        found.append(at.strftime("%d %H:%M"))
        after = at
    return found


def test_the_hour_that_is_skipped_in_spring():
    """Berlin, 31 March 2030: at 01:00 UTC the clocks go from 02:00 to 03:00."""
    before = datetime(2030, 3, 29, 12, tzinfo=UTC)
    assert times("30 2 * * *", "Europe/Berlin", before, 4) == ["30 01:30", "31 01:00", "01 00:30", "02 00:30"]
    assert times("0 3 * * *", "Europe/Berlin", before, 3) == ["30 02:00", "31 01:00", "01 01:00"]


def test_the_hour_that_is_repeated_in_autumn():
    """Berlin, 27 October 2030: at 01:00 UTC the clocks go from 03:00 back to 02:00."""
    before = datetime(2030, 10, 26, 12, tzinfo=UTC)
    assert times("30 2 * * *", "Europe/Berlin", before, 3) == ["27 00:30", "28 01:30", "29 01:30"]
    within = datetime(2030, 10, 27, 1, 10, tzinfo=UTC)
    assert times("30 2 * * *", "Europe/Berlin", within, 1) == ["28 01:30"], (
        "it ran the first time that it was half past two"
    )
    assert times("*/30 * * * *", "Europe/Berlin", datetime(2030, 10, 27, 0, 15, tzinfo=UTC), 3) == [
        "27 00:30",
        "27 01:00",
        "27 01:30",
    ]


@given(
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]),
    expression=st.sampled_from(["0 3 * * *", "30 2 * * *", "*/20 * * * *", "15 1,2,3 * * SUN", "59 23 L * *"]),
    start=st.datetimes(datetime(2024, 1, 1), datetime(2035, 1, 1)),  # noqa: DTZ001
)
def test_occurrences_only_go_forward_and_do_not_depend_on_when_one_looks(zone, expression, start):
    after = start.replace(tzinfo=UTC)
    found = []
    for _ in range(20):
        at = next_cron(expression, zone, after)
        assert at is not None
        found.append(at)
        after = at
    assert all(one < two for one, two in pairwise(found))
    for one, two in pairwise(found):
        assert next_cron(expression, zone, one + (two - one) / 2) == two


@pytest.mark.parametrize(
    "expression", ["", "* * * *", "* * * * * *", "61 * * * *", "0 0 30 2 *", "x * * * *", "@daily"]
)
def test_expressions_that_are_refused(expression):
    assert cron_problem(expression)
    assert cron_problem("0 3 * * MON-FRI") is None


def test_an_expression_that_cannot_be_used_is_told_what_could_stand_there():
    assert cron_problem("0 25 * * *") == "the hour of '0 25 * * *' cannot be used; it is 0 to 23"
    assert "in a month that has it" in (cron_problem("0 3 31 2 *") or "")
    assert "SUN to SAT" in (cron_problem("0 3 * * MON-MO") or "")


def test_zones():
    assert zone_problem("Europe/Berlin") is None
    assert zone_problem("../etc/passwd")
    assert zone_problem("Mars/Olympus")
