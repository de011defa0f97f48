"""Schedules for people: which there are, what comes next, what came of the last runs; to pause, resume and trigger them.

Any node answers; the owner of a schedule's partition sees a change at once, or within seconds.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from application.ports import Clock, Crons
from application.schedules import Schedules
from application.status import instant
from domain.errors import InvalidInputError, NotFoundError, Problem
from domain.schedule import Begun, Course, Pause, Schedule, begun, following, triggered, upcoming

Json = dict[str, Any]
_SHOWN: Final = 5
_CATCH_UP: Final = {0: "none", 1: "latest"}


class ScheduleCatalog:
    """The use cases behind ``/v1/schedules``."""

    def __init__(self, schedules: Schedules, clock: Clock, crons: Crons) -> None:
        self._schedules = schedules
        self._clock = clock
        self._crons = crons

    async def list(self) -> Json:
        """{"items": [...], "next": None}, by namespace and name."""
        return {"items": [self._shown(course) for _, course in await self._schedules.all()], "next": None}

    async def get(self, namespace: str, name: str) -> Json:
        """One of them. Raises NotFoundError."""
        return self._shown(await self._changed(namespace, name, lambda course: course))

    async def pause(self, namespace: str, name: str, actor: str, reason: str | None) -> Json:
        """Start nothing until it is resumed; what is due meanwhile is left out. Raises NotFoundError."""
        pause = Pause(self._clock.now(), actor, reason)
        return self._shown(
            await self._changed(
                namespace,
                name,
                lambda course: course if course.paused else msgspec.structs.replace(course, paused=pause),
            )
        )

    async def resume(self, namespace: str, name: str, actor: str, reason: str | None) -> Json:
        """Go on with the next occurrence from now on. Raises NotFoundError."""
        resume = Pause(self._clock.now(), actor, reason)

        def resumed(course: Course) -> Course:
            if course.paused is None or course.schedule is None:
                return course
            now, next_at = self._clock.now(), course.next_at
            if next_at is not None and next_at <= now:
                next_at = following(course.schedule, course.anchor, now, self._crons)
            return msgspec.structs.replace(course, paused=None, resumed=resume, next_at=next_at)

        return self._shown(await self._changed(namespace, name, resumed))

    async def trigger(self, namespace: str, name: str, actor: str, reason: str | None) -> str:
        """Start one now, whatever else runs, also while it is paused; its public id. Raises NotFoundError; InvalidInputError
        where events start it.
        """
        now = self._clock.now()
        made: list[Any] = []

        def with_one_more(course: Course) -> Course:
            if course.schedule is not None and course.schedule.on is not None:
                detail = f"events start {namespace}/{name}, and are its input; publish one to /v1/events"
                raise InvalidInputError([Problem("", detail, "started-by-events")])
            changed, occurrence = triggered(course, now, actor, reason)
            made.append(occurrence)
            return changed

        course = await self._changed(namespace, name, with_one_more)
        run = await self._schedules.begin(course, made[-1])
        await self._schedules.change(namespace, name, lambda current: begun(current, [run]))
        return run.id

    async def _changed(self, namespace: str, name: str, make: Any) -> Course:
        def of_a_schedule(course: Course) -> Course:
            if course.schedule is None:
                raise NotFoundError(f"The latest version of {namespace}/{name} has no schedule.")
            changed: Course = make(course)
            return changed

        course = await self._schedules.change(namespace, name, of_a_schedule)
        await self._schedules.tell()
        return course

    def _shown(self, course: Course) -> Json:
        assert course.schedule is not None
        path = course.definition.partition("@")[0]
        namespace, _, name = path.partition("/")
        paused = course.paused
        return {
            "namespace": namespace,
            "name": name,
            "definition": course.definition,
            "schedule": _document(course.schedule),
            "status": "active" if paused is None else "paused",
            "paused": _said(paused),
            "resumed": _said(course.resumed),
            "next": [] if paused else [instant(at) for at in upcoming(course, _SHOWN, self._crons)],
            "waiting_for_end": course.waits_for_an_end and paused is None,
            "queued": None if course.queued is None else instant(course.queued.at),
            "missed": course.missed,
            "skipped": course.skipped,
            "runs": [_run(run) for run in course.runs],
            "links": {"self": f"/v1/schedules/{path}", "definition": f"/v1/definitions/{path}/latest"},
        }


def _said(pause: Pause | None) -> Json | None:
    return None if pause is None else {"at": instant(pause.at), "actor": pause.actor, "reason": pause.reason}


def _document(schedule: Schedule) -> Json:
    """As it stands in a document, with what was left out; durations as ISO 8601."""
    if schedule.on is not None:
        return {"on": {"any": [{"with": each} for each in schedule.on if each]}}
    if schedule.after_s is not None:
        return {"after": _iso(schedule.after_s)}
    when = (
        {"cron": schedule.cron, "timezone": schedule.timezone} if schedule.cron else {"every": _iso(schedule.every_s)}
    )
    return {**when, "overlap": schedule.overlap, "catch_up": _CATCH_UP.get(schedule.catch_up, schedule.catch_up)}


def _iso(seconds: float | None) -> str:
    return f"PT{seconds:.6f}".rstrip("0").rstrip(".") + "S"


def _run(run: Begun) -> Json:
    occurrence = run.occurrence
    return {
        "id": run.id,
        "scheduled_for": instant(occurrence.at),
        "started_at": instant(run.started_at),
        "triggered_by": None if occurrence.actor is None else {"actor": occurrence.actor, "reason": occurrence.reason},
        "links": {"orchestration": f"/v1/orchestrations/{run.id}"},
    }
