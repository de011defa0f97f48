"""Where a course could have gone another way: the cases of a ``switch``, an ``if``, a ``compensate.if``."""

from __future__ import annotations

from collections.abc import Iterator

from application.rehearsal_course import Course
from application.rehearsal_script import Choice
from domain import events as e
from domain.plan import Plan, Switch
from domain.rollback import IF_IS_FALSE


def other_ways(course: Course, began: int, taken: set[tuple[str, str, str]]) -> Iterator[Choice]:
    """The choices that would lead this course elsewhere, each once in a rehearsal; notes those that it made itself."""
    found: list[tuple[Choice, str]] = []
    for id_, event in course.log[began:]:
        digest = course.digests[id_]
        plan = course.stage.plan_of(digest)
        if isinstance(event, e.TaskCompleted):
            pointer = event.run.rpartition("#")[0]
            if isinstance(plan.nodes[pointer].work, Switch) and event.to:
                taken.add((digest, pointer, event.to[0]))
                found += _other_cases(plan, digest, pointer)
        elif isinstance(event, e.TaskScheduled | e.TaskSkipped):
            pointer, runs = event.run.rpartition("#")[0], isinstance(event, e.TaskScheduled)
            if plan.nodes[pointer].if_ is not None:
                taken.add((digest, pointer, f"if {runs:d}"))
                found.append((Choice(digest, pointer, "if", int(not runs)), f"if {not runs:d}"))
        elif isinstance(event, e.CompensationDecided):
            asked = {each.run: True for each in event.plan if each.condition}
            asked |= {each.run: False for each in event.left_behind if each.why == IF_IS_FALSE}
            for run, held in asked.items():
                pointer = run.rpartition("#")[0]
                taken.add((digest, pointer, f"undo {held:d}"))
                found.append((Choice(digest, pointer, "undo_if", int(not held)), f"undo {not held:d}"))
    for choice, name in found:
        if (choice.digest, choice.pointer, name) not in taken:
            taken.add((choice.digest, choice.pointer, name))
            yield choice


def _other_cases(plan: Plan, digest: str, pointer: str) -> Iterator[tuple[Choice, str]]:
    node = plan.nodes[pointer]
    assert isinstance(node.work, Switch)
    for index, case in enumerate(node.work.cases):
        yield Choice(digest, pointer, "case", index), case.then
    if all(case.when is not None for case in node.work.cases):
        yield Choice(digest, pointer, "case", -1), node.then
