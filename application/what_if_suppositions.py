"""What is supposed instead of what was recorded: other outcomes, another input, outputs where the record is silent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from hashlib import sha256
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from application.storage import canonical
from domain import commands as c
from domain.errors import OURS, SPEC, Fault, InvalidInputError, Problem, fault
from domain.plan import Plan
from domain.state import Run, State

Outcome = Literal["completed", "refused", "uncertain"]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Every attempt of the task (named, or by its JSON Pointer) in this run (None: in every run) had another outcome."""

    task: str
    outcome: Outcome
    run: int | None = None
    output: Any = None
    error: dict[str, Any] | None = None


class Suppositions(msgspec.Struct, frozen=True, kw_only=True):
    """`assume`: output by task (name or pointer), for attempts that the record does not know."""

    changes: tuple[Change, ...] = ()
    input: Any | UnsetType = UNSET
    assume: dict[str, Any] = {}

    def change_of(self, state: State, run: Run) -> Change | None:
        """The change that concerns a run, if any; undos have none."""
        if not self.changes or state.undoing(run.scope) is not None:
            return None
        return next((each for each in self.changes if _names(each.task, run) and each.run in (None, run.number)), None)

    def unmet(self, met: Iterable[Run]) -> Iterator[Change]:
        """The changes that concern none of the runs whose outcome was changed."""
        runs = list(met)
        for each in self.changes:
            if not any(_names(each.task, run) and each.run in (None, run.number) for run in runs):
                yield each

    def assumed_for(self, run: Run) -> tuple[bool, Any]:
        """(whether an output is assumed, the output)."""
        for name in (run.pointer, run.name):
            if name in self.assume:
                return True, self.assume[name]
        return False, None


def _names(task: str, run: Run) -> bool:
    return task in (run.name, run.pointer)


def result_of(change: Change, run: Run, number: int, at: datetime, seed: bytes, callout: str) -> c.Command:
    """The changed outcome as the command that would have reported it."""
    why = None if change.outcome == "completed" else fault_of(change, callout)
    if run.child is not None:
        status = {"completed": "completed", "refused": "compensated", "uncertain": "terminated"}[change.outcome]
        output = change.output
        return c.ReportChild(at=at, seed=seed, run=run.id, child=run.child[0], status=status, output=output, fault=why)
    if run.request is not None and run.request.callback and change.outcome == "completed":
        digest = sha256(canonical(change.output)).digest()
        return c.ReportCallback(at=at, seed=seed, run=run.id, digest=digest, outcome="completed", output=change.output)
    return c.ReportResult(
        at=at, seed=seed, run=run.id, number=number, outcome=change.outcome, output=change.output, fault=why
    )


def fault_of(change: Change, callout: str) -> Fault:
    """The fault of a changed outcome: what was given, else what such an answer mostly is."""
    if change.outcome == "uncertain":
        usual = fault("timeout", "supposed: no answer came")
    elif callout == "function":
        usual = Fault(OURS + "refused", 422, "Refused", "supposed: it was refused")
    else:
        usual = Fault(SPEC + "communication", 409, "Conflict", "supposed: it was refused")
    if change.error is not None:
        given = change.error
        type_, status = given.get("type", usual.type), given.get("status", usual.status)
        usual = Fault(type_, status, given.get("title"), given.get("detail"))
    if callout != "function" and change.outcome == "refused":
        # Without an answer it would be a lost connection, which is tried again.
        answer = {"status": usual.status, "headers": {}, "content": None}
        usual = msgspec.structs.replace(usual, response=answer)
    return usual


def check(supposed: Suppositions, plans: Iterable[Plan]) -> None:
    """Raises InvalidInputError where a supposition names a task that none of the definitions has."""
    names: dict[str, None] = {}
    pointers: set[str] = set()
    for plan in plans:
        pointers |= plan.nodes.keys()
        for node in plan.nodes.values():
            if node.name != "compensate":
                names[node.name] = None
    problems = [
        Problem(place, f"There is no task {task}; there are {', '.join(names)}.", "unknown")
        for place, task in _named(supposed)
        if task not in names and task not in pointers
    ]
    if problems:
        raise InvalidInputError(problems, "A task that is named here is in none of the definitions.")


def _named(supposed: Suppositions) -> Iterable[tuple[str, str]]:
    for number, change in enumerate(supposed.changes):
        yield f"/changes/{number}/task", change.task
    for task in supposed.assume:
        yield f"/assume/{task.replace('~', '~0').replace('/', '~1')}", task
