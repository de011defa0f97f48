"""The use cases of what-if: one orchestration in detail, or a fleet of them as a long-running operation.

Everything is read from the log, whoever owns it; nothing is called, stored or told, and there is no port here by which it
could be. Expressions that the record does not answer are evaluated in the jail.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import structlog

from application.definitions import DefinitionRegistry, split_reference
from application.histories import Histories
from application.operations import Operations, Progress
from application.projector import StatusProjector
from application.service import FleetRequest, Json, WhatIfRequest
from application.views import StatusQuery, StatusView
from application.what_if_course import Course
from application.what_if_driving import Driver, Facts
from application.what_if_record import Record
from application.what_if_result import brief, result
from application.what_if_suppositions import Suppositions, check
from application.what_if_tally import Tally
from domain import events as e
from domain.errors import (
    ContentMissingError,
    HistoryUnreadableError,
    InvalidInputError,
    NotFoundError,
    Problem,
    RetraceError,
    StorageError,
)
from domain.plan import Plan

_log = structlog.get_logger(__name__)
KIND: Final = "what-if"
_MOST_EVENTS: Final = 20_000
_MOST_EVENTS_EACH: Final = 5_000
"""Of an orchestration in a fleet: a few dozen are in memory at a time."""
_MOST_DECISIONS_EACH: Final = 1_000
_SIDE_BY_SIDE: Final = 32
_PAGE: Final = 500
_VIEW_WAITS_S: Final = 1.0
_NO_BASIS: Final = "The decisions of this history were not recorded with what they were made from."


class WhatIf:
    """One per node."""

    def __init__(
        self,
        histories: Histories,
        definitions: DefinitionRegistry,
        facts: Facts,
        view: StatusView,
        projector: StatusProjector,
        operations: Operations,
    ) -> None:
        self._histories = histories
        self._definitions = definitions
        self._facts = facts
        self._view = view
        self._projector = projector
        self._operations = operations

    async def one(self, request: WhatIfRequest) -> Json:
        """The course of one orchestration in detail."""
        history = await self._histories.whole(request.id, _MOST_EVENTS)
        _check_fit(history)
        recorded = await self._plan_of(history)
        plan = recorded if request.definition is None else await self._plan(request.definition)
        supposed = request.supposed
        check(supposed, {each.digest: each for each in (recorded, plan) if each is not None}.values())
        if plan is None:
            raise NotFoundError("Its definition is not in this database; name one that is.")
        course = _course(Record(recorded, history), plan, supposed)
        await Driver(self._facts).walk([course])
        return result(course)

    async def fleet(self, request: FleetRequest) -> str:
        """Begins the comparison; the id of its operation."""
        plan = await self._plan(request.definition)
        check(request.supposed, [plan])
        reference = request.of or f"{plan.namespace}/{plan.name}"
        shown = {"definition": plan.reference, "for": reference, "status": list(request.statuses), "last": request.last}

        async def work(progress: Progress) -> Json:
            return await self._compared(plan, reference, request, progress)

        return await self._operations.start(KIND, request.actor, work, shown)

    # The fleet --------------------------------------------------------------------------------------------------------

    async def _compared(self, plan: Plan, reference: str, request: FleetRequest, progress: Progress) -> Json:
        ids = await self._selected(reference, request)
        progress.total = len(ids)
        driver, tally = Driver(self._facts), Tally()
        for start in range(0, len(ids), _SIDE_BY_SIDE):
            chunk = ids[start : start + _SIDE_BY_SIDE]
            courses = await self._courses(chunk, plan, request.supposed, tally)
            await driver.walk(list(courses.values()))
            for id_, course in courses.items():
                try:
                    tally.add(brief(course))
                except Exception as error:  # a damaged history may be one that does not fold
                    _not_readable(tally, id_, error)
                await driver.breathe()
            progress.advance(len(chunk))
        return {"definition": plan.reference, "for": reference, **tally.told()}

    async def _selected(self, reference: str, request: FleetRequest) -> list[str]:
        """Public ids, the youngest first."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._projector.caught_up(), _VIEW_WAITS_S)
        namespace, name, version = split_reference(reference)
        query = StatusQuery(
            statuses=request.statuses,
            namespace=namespace,
            name=name,
            definition_version=version if "@" in reference and version != "latest" else None,
        )
        ids: list[str] = []
        while (left := min(_PAGE, request.last - len(ids))) > 0:
            rows = await self._view.list(msgspec.structs.replace(query, limit=left))
            ids += [row.public_id for row in rows]
            if len(rows) < left:
                break
            query = msgspec.structs.replace(query, after=(rows[-1].started_at, rows[-1].public_id))
        return ids

    async def _courses(self, ids: Sequence[str], plan: Plan, supposed: Suppositions, tally: Tally) -> dict[str, Course]:
        """Those whose histories can be read; the others are counted at once. What fails for all is raised."""
        read = await asyncio.gather(*(self._course_of(each, plan, supposed) for each in ids), return_exceptions=True)
        courses = {}
        for id_, found in zip(ids, read, strict=True):
            if isinstance(found, Course):
                courses[id_] = found
            elif isinstance(found, InvalidInputError | NotFoundError):
                tally.unreadable(id_, found.detail)
            elif _of_all(found):
                raise found
            else:
                _not_readable(tally, id_, found)
        return courses

    async def _course_of(self, id_: str, plan: Plan, supposed: Suppositions) -> Course:
        history = await self._histories.whole(id_, _MOST_EVENTS_EACH)
        _check_fit(history)
        return _course(Record(await self._plan_of(history), history), plan, supposed, _MOST_DECISIONS_EACH)

    # Plans ------------------------------------------------------------------------------------------------------------

    async def _plan(self, definition: str | dict[str, Any]) -> Plan:
        if isinstance(definition, str):
            return await self._definitions.plan(definition)
        return await self._definitions.trial(definition)

    async def _plan_of(self, history: Sequence[e.Event]) -> Plan | None:
        """The plan by which it was decided, if it is still known."""
        started = history[0]
        assert isinstance(started, e.OrchestrationStarted)
        try:
            return await self._definitions.by_digest(started.digest)
        except NotFoundError:
            return None


def _check_fit(history: Sequence[e.Event]) -> None:
    """Raises InvalidInputError where the decisions cannot be made again from the beginning under one plan."""
    if history[0].basis is None:
        raise _unfit("no-basis", _NO_BASIS)
    if isinstance(history[0], e.OrchestrationForked):
        raise _unfit("forked", "It is a fork: ask what if of its original.")
    if any(isinstance(event, e.OrchestrationMigrated) for event in history):
        raise _unfit("migrated", "It was migrated on its way, so no single definition made its record.")


def _unfit(code: str, why: str) -> InvalidInputError:
    return InvalidInputError([Problem("", why, code)], why)


def _of_all(error: BaseException) -> bool:
    """Whether it says nothing about one history: the database cannot be used, or nobody wants the result any more."""
    if isinstance(error, StorageError):
        return not isinstance(error, HistoryUnreadableError)
    return not isinstance(error, Exception)


def _not_readable(tally: Tally, id_: str, error: BaseException) -> None:
    """Told of the one, so that a damaged history does not hide what becomes of the others."""
    _log.warning("what_if.unreadable", orchestration=id_, exc_info=error)
    missing = isinstance(error, ContentMissingError)
    reason = "a large value of its history is missing" if missing else "its history cannot be read"
    tally.unreadable(id_, reason, error.detail if isinstance(error, RetraceError) else type(error).__name__)


def _course(record: Record, plan: Plan, supposed: Suppositions, most: int | None = None) -> Course:
    """A plan of equal content is the same plan."""
    same = record.plan is not None and record.plan.digest == plan.digest
    limits = {} if most is None else {"most_decisions": most}
    return Course(record, record.plan if same and record.plan else plan, supposed, **limits)
