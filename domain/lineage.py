"""What a fork would share with its original: effects that either could undo, and effects that would be there twice.

Compared are two states of the original: at the fork, and now. A *conflict* stops a fork unless it is forced; a *remark* only
tells. Both name the task.
"""

from __future__ import annotations

from collections.abc import Iterator

from domain.events import Remark
from domain.forking import unanswered
from domain.rollback import candidates
from domain.state import ROOT, Run, State

_DONE = ("completed", "uncertain")


def conflicts(then: State, now: State, *, settled: bool) -> Iterator[Remark]:
    """Why a fork would do harm. `settled`: whether the original, and whatever it is part of, can undo nothing any more."""
    if not settled:
        detail = (
            "the original is unfinished: it may go on with, or undo, what the fork builds on; end it first (retrace "
            "terminate undoes nothing)"
        )
        yield Remark("", detail, "original-unfinished")
    elif now.status == "completed":
        for each in candidates(then, (ROOT,))[0] if ROOT in then.scopes else ():
            detail = f"the original completed and stands on {each.run.name}, which a rollback of the fork would undo"
            yield Remark(each.run.pointer, detail, "effect-in-use")
    for run in then.runs.values():
        since = now.runs.get(run.id)
        if since is None:
            continue
        if _undone_since(run, since):
            detail = f"the original has undone {run.name} since, and the fork would take it as done"
            yield Remark(run.pointer, detail, "effect-undone")
        elif _repeats(run, since):
            told = "did" if since.effect == "completed" else "may have done"
            detail = f"the original {told} {run.name} in the attempt that was under way, and the fork would do it again"
            yield Remark(run.pointer, detail, "effect-repeated")


def remarks(then: State, now: State) -> Iterator[Remark]:
    """What is as it is, and should be known."""
    for run in now.runs.values():
        there = run.effectful and run.effect in _DONE and run.undo.status != "completed"
        if run.id not in then.runs and there and not now.undoing(run.scope):
            yield Remark(run.pointer, f"the original went on and did {run.name}; that stays", "effect-after-fork")
    for run in then.runs.values():
        ours = run.undoable is None and run.child is not None and not run.detached
        if not run.open and ours and run.effect in _DONE and run.undo.status != "completed":
            detail = f"{run.name} ran a child of the original: a rollback of the fork leaves it behind"
            yield Remark(run.pointer, detail, "child-not-undone")


def _undone_since(run: Run, since: Run) -> bool:
    return not run.open and run.effect in _DONE and since.undo.number > run.undo.number


def _repeats(run: Run, since: Run) -> bool:
    """Whether the fork would send again what took effect in the original, or may have."""
    if since.undo.status == "completed" or run.effect == "completed":
        return False
    if unanswered(run):
        return since.flying or since.effect in _DONE
    return not run.open and since.effect == "completed" and since.attempts > run.attempts
