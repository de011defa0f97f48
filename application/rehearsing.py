"""Rehearsal: what a definition does when everything goes well, and when each thing in turn goes wrong. Nobody is called.

First the happy path. Then, from the point where it happens, each callout on it is refused, uncertain, and timed out; each
awaited event does not come. What such a course leads to, and no other did (a ``catch``, a branch), is made to fail in its
turn; every way of a ``switch`` or an ``if`` that was not taken is taken once. At last each undo of each rollback that came
up fails: every undo once refused and once without an answer, where most was still to be undone after it, then in all others.

The number of scenarios is bounded, and `Found.left_out` says how many more there would have been.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from heapq import heapify, heappop, heappush
from typing import Any

import msgspec

from application.ports import Expressions, Schemas
from application.rehearsal_course import Course, Mark
from application.rehearsal_facts import Answers
from application.rehearsal_script import FORWARD, Mishap, Outcome, Script, expected_faults
from application.rehearsal_stage import Stage
from application.rehearsal_ways import other_ways
from application.samples import sample
from domain.decision import Limits
from domain.errors import Fault, InvalidInputError, Problem
from domain.plan import Plan

MOST_SCENARIOS = 1_000
_HAPPY, _HANDLERS, _CHOICES, _TURNS = range(4)
"""Which scenarios come first."""
_MOST_WAYS = 20
"""Tries to find a happy path."""
_UNDO_OUTCOMES: tuple[Outcome, ...] = ("refused", "timed_out")
"""A refused undo needs an operator at once, one without an answer when its retries are used up."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What to rehearse. `input` UNSET: one is made from ``input.schema``. `outputs`: task (name or reference) -> what its
    participant answers. `children`: reference -> plan, of the child definitions that are at hand. `most_scenarios`: beside
    the happy path.
    """

    plan: Plan
    input: Any = msgspec.UNSET
    outputs: Mapping[str, Any] = {}
    children: Mapping[str, Plan] = {}
    limits: Limits = Limits()
    most_scenarios: int = MOST_SCENARIOS


class Found(msgspec.Struct):
    """Every course, the happy path first; `left_out`: scenarios that were not played; `made_up`: the input was."""

    request: Request
    input: Any
    made_up: bool
    stage: Stage
    courses: list[Course]
    left_out: int


class _Job(msgspec.Struct, frozen=True):
    script: Script
    base: Course | None = None
    mark: Mark | None = None


async def rehearse(
    request: Request,
    expressions: Expressions,
    schemas: Schemas,
    *,
    enough: Callable[[], bool] = lambda: False,
    told: Callable[[Course], None] = lambda _: None,
) -> Found:
    """Play every scenario. `enough` is asked before each one and ends the rehearsal; `told` hears of each as it ends.
    Raises InvalidInputError when the input that was given does not fit ``input.schema``.
    """
    stage = Stage(request.plan, request.limits, request.children, request.outputs)
    input_ = _input(request, schemas, stage)
    director = _Director(stage, Answers(stage, expressions, schemas), input_, request.most_scenarios, told)
    left_out = await director.play_all(enough)
    return Found(request, input_, request.input is msgspec.UNSET, stage, director.courses, left_out)


def _input(request: Request, schemas: Schemas, stage: Stage) -> Any:
    """The input that was given and fits, or one that is made up."""
    schema = request.plan.input_schema
    document = schema.document if schema is not None and schema.resource is None else None
    if request.input is msgspec.UNSET:
        stage.made_up = True
        return sample(document) if document is not None else stage.unknown("the input")
    if document is not None and (violations := schemas.violations(document, request.input)):
        problems = [Problem(pointer, message, "schema") for pointer, message in violations]
        raise InvalidInputError(problems, "The input does not fit input.schema.")
    return request.input


class _Director:
    """Decides what is played next, and keeps what was seen."""

    def __init__(self, stage: Stage, answers: Answers, input_: Any, most: int, told: Callable[[Course], None]) -> None:
        self.courses: list[Course] = []
        self._stage = stage
        self._answers = answers
        self._input = input_
        self._most = most + 1  # beside the happy path
        self._told = told
        self._jobs: list[tuple[int, int, _Job]] = []
        self._undos: list[tuple[Course, Mark]] = []
        self._undo_places: set[tuple[str, str]] = set()
        self._failed: set[tuple[str, str]] = set()
        """Callouts (digest, pointer) that were made to fail."""
        self._taken: set[tuple[str, str, str]] = set()
        self._expected: dict[str, dict[str, tuple[tuple[Outcome, Fault], ...]]] = {}

    async def play_all(self, enough: Callable[[], bool]) -> int:
        """Play; how many scenarios were left out."""
        await self._play_happy_path()
        while (
            self._jobs
            and len(self.courses) < self._most - min(len(self._undo_places), self._most // 4)
            and not enough()
        ):
            await self._play(heappop(self._jobs)[2])
        waiting = list(self._failing_undos())
        while waiting and len(self.courses) < self._most and not enough():
            known = len(self._undos)
            await self._play(waiting.pop(0))
            waiting += [_failing(course, mark) for course, mark in self._undos[known:]]
        return len(self._jobs) + len(waiting)

    async def _play_happy_path(self) -> None:
        """Where made-up answers lead astray, other ways are tried until one completes; that one is the happy path."""
        first = await self._played(_Job(Script()))
        tried, best = [first], first
        taken: set[tuple[str, str, str]] = set()
        ways = list(other_ways(first, 0, taken)) if self._stage.made_up else []
        while best.root.status != "completed" and ways and len(tried) < _MOST_WAYS:
            best = await self._played(_Job(Script(choices=(ways.pop(0),))))
            tried.append(best)
        best = best if best.root.status == "completed" else first
        if best is not first:
            for choice in other_ways(first, 0, self._taken):
                self._push(_CHOICES, _Job(Script().choosing(choice)))
        await self._take(best, 0)
        if best is not first:
            await self._take(first, 0)
            self._jobs = [entry for entry in self._jobs if entry[2].script != best.script]  # it has been played
            heapify(self._jobs)

    async def _play(self, job: _Job) -> None:
        await self._take(await self._played(job), job.mark.length if job.mark is not None else 0)

    async def _played(self, job: _Job) -> Course:
        if job.base is not None and job.mark is not None:
            course = job.base.fork(job.mark, job.script)
            await course.go_on()
        else:
            course = Course(self._stage, self._answers, job.script)
            await course.start(self._input)
        return course

    async def _take(self, course: Course, began: int) -> None:
        self.courses.append(course)
        self._look_at_marks(course)
        for choice in other_ways(course, began, self._taken):
            self._push(_CHOICES, _Job(course.script.choosing(choice)))
        course.forget()
        self._told(course)
        await asyncio.sleep(0)

    def _push(self, rank: int, job: _Job) -> None:
        heappush(self._jobs, (rank, len(self._jobs) + len(self.courses) * 100_000, job))

    # Mishaps ------------------------------------------------------------------------------------------------------------

    def _look_at_marks(self, course: Course) -> None:
        here: set[tuple[str, str]] = set()
        for mark in course.marks:
            key = (mark.digest, mark.place.pointer)
            if mark.kind == "undo":
                if not _is_undo_failing(course) or key not in self._failed:
                    self._undos.append((course, mark))
                    self._undo_places.add(key)
                continue
            repeated = key in here and not course.script.mishaps
            if (key in self._failed and not repeated) or (repeated and course.endless is not None):
                continue
            if not repeated:
                self._failed.add(key)
                here.add(key)
            rank = _TURNS if repeated else _HANDLERS if course.script.mishaps or course.script.choices else _HAPPY
            for mishap in self._mishaps(mark):
                self._push(rank, _Job(course.script.also(mishap), course, mark))

    def _mishaps(self, mark: Mark) -> Iterator[Mishap]:
        if mark.kind == "listen":
            yield Mishap(mark.place, "no_event")
            return
        for outcome in ("refused", "timed_out") if mark.kind == "human" else FORWARD:
            yield Mishap(mark.place, outcome)
        if mark.digest not in self._expected:
            self._expected[mark.digest] = expected_faults(self._stage.plan_of(mark.digest))
        for outcome, why in self._expected[mark.digest].get(mark.place.pointer, ()):
            if outcome != "timed_out" and (mark.kind != "human" or outcome == "refused"):
                yield Mishap(mark.place, outcome, why)

    def _failing_undos(self) -> Iterator[_Job]:
        """Each undo once, where most was still to be undone after it; then all others."""
        best: dict[tuple[str, str], tuple[int, Course, Mark]] = {}
        left: dict[int, int] = {}
        for course, mark in reversed(self._undos):
            left[id(course)] = after = left.get(id(course), -1) + 1
            key = (mark.digest, mark.place.pointer)
            if key not in best or after >= best[key][0]:
                best[key] = (after, course, mark)
        first = [(course, mark) for _, course, mark in reversed(best.values())]
        chosen = {(id(course), mark.place) for course, mark in first}
        self._failed |= best.keys()
        for outcome in _UNDO_OUTCOMES:
            for course, mark in first:
                yield _failing(course, mark, outcome)
        for course, mark in self._undos:
            if (id(course), mark.place) not in chosen:
                yield _failing(course, mark)


def _failing(course: Course, mark: Mark, outcome: Outcome = "refused") -> _Job:
    return _Job(course.script.also(Mishap(mark.place, outcome)), course, mark)


def _is_undo_failing(course: Course) -> bool:
    """Whether the last mishap of a course is that of an undo."""
    if not course.script.mishaps:
        return False
    place = course.script.mishaps[-1].place
    state = course.states[place.orchestration]
    return state.undoing(state.runs[place.run].scope) is not None
