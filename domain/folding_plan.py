"""How the plan of a rollback moves on: which steps have ended, and which may begin.

What may begin next is kept, not looked for: a long plan is asked after every event. A plan only grows: a step is never
taken out, it ends as ``done``, ``skipped`` or ``void``. Only the ``folding_*`` modules use this.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import Any

import msgspec

from domain import events as e
from domain.state import Rollback, Run, State


def line_up(rollback: Rollback) -> None:
    """Find out from the steps alone what may begin and what waits for what."""
    ended = rollback.ended
    rollback.waiting = {step.run: i for i, step in enumerate(rollback.steps) if ended[i] is None}
    rollback.missing = [sum(1 for before in step.after if ended[before] is None) for step in rollback.steps]
    rollback.followers = [[] for _ in rollback.steps]
    for i, step in enumerate(rollback.steps):
        for before in step.after:
            rollback.followers[before].append(i)
    rollback.ready = [i for i in rollback.waiting.values() if _may_begin(rollback, i)]


def _may_begin(rollback: Rollback, index: int) -> bool:
    return rollback.ended[index] is None and not rollback.started[index] and not rollback.missing[index]


def begin_step(rollback: Rollback, index: int) -> None:
    """Its undo has begun."""
    rollback.started[index] = True
    _no_longer_ready(rollback, index)


def begin_step_again(rollback: Rollback, index: int) -> None:
    """An operator wants another try: it has not started."""
    rollback.started[index] = False
    if _may_begin(rollback, index) and index not in rollback.ready:
        insort(rollback.ready, index)


def end_step(rollback: Rollback, index: int, how: str) -> None:
    """It has ended; steps that waited for nothing else may begin."""
    rollback.ended[index] = how
    rollback.waiting.pop(rollback.steps[index].run, None)
    _no_longer_ready(rollback, index)
    for later in rollback.followers[index]:
        rollback.missing[later] -= 1
        if _may_begin(rollback, later):
            insort(rollback.ready, later)


def _no_longer_ready(rollback: Rollback, index: int) -> None:
    place = bisect_left(rollback.ready, index)
    if place < len(rollback.ready) and rollback.ready[place] == index:
        del rollback.ready[place]


# Corrections of the plan -------------------------------------------------------------------------------------------------


def replace_step(rollback: Rollback, index: int, **members: Any) -> None:
    """Other members of a step. Whoever changes `after` lines up again."""
    changed = msgspec.structs.replace(rollback.steps[index], **members)
    rollback.steps = (*rollback.steps[:index], changed, *rollback.steps[index + 1 :])


def drop_step(rollback: Rollback, index: int) -> None:
    """What came after it now comes after what it waited for itself: an undo there may be stuck."""
    rollback.ended[index] = "void"
    before = rollback.steps[index].after
    for i, step in enumerate(rollback.steps):
        if index in step.after:
            others = (n for n in step.after if n != index)
            replace_step(rollback, i, after=tuple(dict.fromkeys((*others, *before))))
    line_up(rollback)


def add_step(s: State, rollback: Rollback, step: e.UndoStep) -> None:
    """After all that is newer or has begun, before all that is older: safe in every kind of plan."""
    new, run = len(rollback.steps), s.runs[step.run]
    older = {
        i for i, known in enumerate(rollback.steps) if not rollback.started[i] and _run(s, known).order < run.order
    }
    first = tuple(i for i in range(new) if i not in older)
    for i in older:
        replace_step(rollback, i, after=(*rollback.steps[i].after, new))
    rollback.steps = (*rollback.steps, msgspec.structs.replace(step, after=first))
    rollback.ended.append(None)
    rollback.started.append(False)
    run.undo.status, run.undo.rollback = "scheduled", rollback.id
    line_up(rollback)


def _run(s: State, step: e.UndoStep) -> Run:
    return s.runs[step.run]
