"""When a definition starts by itself: what its schedule says, how far it has come, and what is due.

Pure: now, the ends of earlier runs and the arithmetic of cron come in. An *occurrence* is an instant at which the schedule
says "start"; the id of the orchestration is derived from it, so however often the same occurrence is started, one begins.

Invariants: an occurrence that was decided is in `starting` before `next_at` moves beyond it, and stays there until it has
begun; of those that were due while nobody looked, the latest is on time if it is at most a minute old, all others are missed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import msgspec
from msgspec.structs import replace

NextCron = Callable[[str, str, datetime], datetime | None]
"""(cron expression, time zone, instant) -> the first occurrence after it; None: there is none."""
ON_TIME: Final = timedelta(seconds=60)
CLOCK_WENT_BACK: Final = timedelta(seconds=5)
"""More than clocks of two nodes may differ."""
_LOOK_AGAIN: Final = timedelta(seconds=1)
_COUNTED: Final = 2_000
_KEPT_RUNS: Final = 20


class Schedule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One of `every_s`, `cron`, `after_s` and `on` is there. `catch_up`: how many missed occurrences are made up, the latest.
    `on`: filters, of which each names attributes of an event and their values.
    """

    every_s: float | None = None
    cron: str | None = None
    after_s: float | None = None
    on: tuple[dict[str, Any], ...] | None = None
    timezone: str = "UTC"
    overlap: Literal["skip", "queue", "allow"] = "skip"
    catch_up: int = 0


class Occurrence(msgspec.Struct, frozen=True, omit_defaults=True):
    """An instant to start at. `actor`, if somebody triggered it by hand, with the reason."""

    at: datetime
    actor: str | None = None
    reason: str | None = None


class Begun(msgspec.Struct, frozen=True, omit_defaults=True):
    """A run of the schedule. `ended_at` once its end was seen."""

    id: str
    occurrence: Occurrence
    started_at: datetime
    ended_at: datetime | None = None


class Pause(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who paused it, or let it go on, when and why."""

    at: datetime
    actor: str
    reason: str | None = None


class Course(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far a schedule has come; all of its state. `schedule` None: the latest version of the definition has none.
    `anchor`: where `every` counts from. `next_at` None: nothing will come, or `after` waits for an end. `runs`: newest first.
    """

    definition: str
    digest: str
    schedule: Schedule | None
    anchor: datetime
    looked_at: datetime
    next_at: datetime | None = None
    starting: tuple[Occurrence, ...] = ()
    queued: Occurrence | None = None
    runs: tuple[Begun, ...] = ()
    missed: int = 0
    skipped: int = 0
    paused: Pause | None = None
    resumed: Pause | None = None
    """Who ended the last pause, when and why."""

    @property
    def waits_for_an_end(self) -> bool:
        """Whether the end of a run decides what comes next."""
        after = self.schedule is not None and self.schedule.after_s is not None
        return self.queued is not None or (after and self.next_at is None)

    def look_at(self, now: datetime) -> datetime | None:
        """When there may be something to do."""
        if self.starting:
            return now
        times = [self.next_at] if self.next_at is not None else []
        if self.waits_for_an_end and self.paused is None:
            times.append(now + _LOOK_AGAIN)
        return min(times, default=None)


def following(schedule: Schedule, anchor: datetime, after: datetime, next_cron: NextCron) -> datetime | None:
    """The first occurrence after an instant; of an `after` schedule that is not waiting for an end, one delay later. None: it
    never comes, or events decide.
    """
    if schedule.on is not None:
        return None
    if schedule.cron is not None:
        return next_cron(schedule.cron, schedule.timezone, after)
    if schedule.every_s is not None:
        step = timedelta(seconds=schedule.every_s)
        return anchor + max((after - anchor) // step + 1, 1) * step
    return after + timedelta(seconds=schedule.after_s or 0)


def activated(
    known: Course | None, definition: str, digest: str, schedule: Schedule | None, now: datetime, next_cron: NextCron
) -> Course:
    """The course under the latest version of the definition. The same schedule goes on as it was; another one begins now."""
    if known is not None and known.schedule == schedule:
        return replace(known, definition=definition, digest=digest)
    next_at = None if schedule is None else following(schedule, now, now, next_cron)
    if known is None:
        return Course(
            definition=definition, digest=digest, schedule=schedule, anchor=now, looked_at=now, next_at=next_at
        )
    return replace(
        known, definition=definition, digest=digest, schedule=schedule, anchor=now, next_at=next_at, queued=None
    )


def advanced(course: Course, now: datetime, next_cron: NextCron) -> Course:
    """What is due now, decided: started, queued, skipped or missed. The ends of runs that matter have been noted before."""
    schedule = course.schedule
    if schedule is None:
        return course
    if course.looked_at > now + CLOCK_WENT_BACK and course.next_at is not None:
        # What was started in a future that did not come is not started again: its id exists.
        course = replace(course, next_at=following(schedule, course.anchor, now, next_cron))
    course = replace(course, looked_at=now)
    if course.paused is not None:
        return _passed_over(course, schedule, now, next_cron)
    running = any(run.ended_at is None for run in course.runs) or bool(course.starting)
    if course.queued is not None and not running:
        course, running = replace(course, starting=(*course.starting, course.queued), queued=None), True
    if schedule.after_s is not None:
        return _after(course, schedule.after_s, now, running=running)
    occurrences, missed, next_at = _due(course, schedule, now, next_cron)
    course = replace(course, missed=course.missed + missed, next_at=next_at)
    for occurrence in occurrences:
        course = _admitted(course, schedule, occurrence, running=running)
        running = True
    return course


def _after(course: Course, after_s: float, now: datetime, *, running: bool) -> Course:
    if course.next_at is None and not running:
        ended_at = max((run.ended_at for run in course.runs if run.ended_at is not None), default=now)
        course = replace(course, next_at=min(ended_at, now) + timedelta(seconds=after_s))
    if course.next_at is None or course.next_at > now:
        return course
    if running:  # somebody triggered one by hand: the delay begins anew at its end
        return replace(course, next_at=None)
    return replace(course, starting=(*course.starting, Occurrence(course.next_at)), next_at=None)


def _admitted(course: Course, schedule: Schedule, occurrence: Occurrence, *, running: bool) -> Course:
    if schedule.overlap == "allow" or not running:
        return replace(course, starting=(*course.starting, occurrence))
    if schedule.overlap == "queue" and course.queued is None:
        return replace(course, queued=occurrence)
    return replace(course, skipped=course.skipped + 1)


def _passed_over(course: Course, schedule: Schedule, now: datetime, next_cron: NextCron) -> Course:
    if course.next_at is None or course.next_at > now:
        return course
    return replace(course, next_at=following(schedule, course.anchor, now, next_cron))


def _due(
    course: Course, schedule: Schedule, now: datetime, next_cron: NextCron
) -> tuple[list[Occurrence], int, datetime | None]:
    """(occurrences to start, how many were missed, the next one)."""
    count, latest, next_at = _passed(course, schedule, now, next_cron)
    on_time = bool(latest) and now - latest[-1] <= ON_TIME
    started = latest[-schedule.catch_up :] if schedule.catch_up else latest[-1:] if on_time else []
    return [Occurrence(at) for at in started], count - len(started), next_at


def _passed(
    course: Course, schedule: Schedule, now: datetime, next_cron: NextCron
) -> tuple[int, list[datetime], datetime | None]:
    """(how many occurrences are due, the latest of them, the first that is not)."""
    kept = max(schedule.catch_up, 1)
    at = course.next_at
    if schedule.every_s is not None and at is not None:
        step = timedelta(seconds=schedule.every_s)
        count = max((now - at) // step + 1, 0)
        return count, [at + each * step for each in range(max(count - kept, 0), count)], at + count * step
    latest: deque[datetime] = deque(maxlen=kept)
    count = 0
    while at is not None and at <= now:
        latest.append(at)
        count += 1
        # After an outage that long only the last day is counted in full, so that a look stays short.
        start = max(at, now - timedelta(days=1)) if count == _COUNTED else at
        at = following(schedule, course.anchor, start, next_cron)
    return count, list(latest), at


def begun(course: Course, runs: list[Begun]) -> Course:
    """These have been started, the oldest first."""
    done = {run.occurrence for run in runs}
    left = tuple(each for each in course.starting if each not in done)
    known = {run.id for run in course.runs}
    new = [run for run in reversed(runs) if run.id not in known]
    return replace(course, starting=left, runs=(*new, *course.runs)[:_KEPT_RUNS])


def triggered(course: Course, now: datetime, actor: str, reason: str | None) -> tuple[Course, Occurrence]:
    """Somebody starts one by hand, beside the schedule and whatever runs."""
    at = max([now, *(run.occurrence.at + timedelta(microseconds=1) for run in course.runs if run.occurrence.actor)])
    taken = {each.at for each in course.starting}
    while at in taken:
        at += timedelta(microseconds=1)
    occurrence = Occurrence(at, actor, reason)
    return replace(course, starting=(*course.starting, occurrence)), occurrence


def upcoming(course: Course, count: int, next_cron: NextCron) -> list[datetime]:
    """The next occurrences, as far as they are known today."""
    found: list[datetime] = []
    at = course.next_at
    while at is not None and len(found) < count and course.schedule is not None:
        found.append(at)
        at = None if course.schedule.after_s is not None else following(course.schedule, course.anchor, at, next_cron)
    return found
