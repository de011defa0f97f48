"""Whether an error stays in the scope in which it happened, until whoever opened that scope has decided what it means.

So it is in a ``try``, in an undo, in a branch of a competing ``fork``, and in one of several branches as long as enough
others may still complete.
"""

from __future__ import annotations

from domain.decision import Decision
from domain.plan import For, Fork, Try
from domain.state import COMPENSATE, Run, ScopeState

SideBySide = For | Fork


def contained(d: Decision, scope: ScopeState, owner: Run) -> bool:
    """Whether an error in `scope`, which `owner` opened, is no error of `owner` yet."""
    work = d.node(owner).work
    if scope.slot == COMPENSATE or (isinstance(work, Try) and scope.slot == "try"):
        return True
    if isinstance(work, SideBySide) and work.parallel is not None:
        return owner.lost < work.parallel.spare(width(owner, work))
    return isinstance(work, Fork) and work.compete


def width(run: Run, work: SideBySide) -> int:
    """How many branches there are, begun or not."""
    return len(work.branches) if isinstance(work, Fork) else len(run.items or ())
