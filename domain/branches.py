"""Branches side by side, with a limit, an end and a tolerance: ``parallel`` of a ``fork`` or a ``for``.

A branch is begun, and then it is *done*, or it is *lost* (it failed) and, once what is in it has settled, *closed*. As many
are in progress as the limit allows; one that ends lets the next begin. Enough are done: the others are given up, what they
did is undone like that of losers of a competing ``fork`` (rollback.md, "Fork"), and the task completes. Too many are lost:
the task fails like a ``fork`` does, with the error that was one too many (`domain.containing`).

However many branches there are, a decision begins a portion of them and leaves the rest to the next (`BranchesDeferred`),
and all is counted, never looked through: a branch costs the same whether there are ten or ten thousand.
"""

from __future__ import annotations

from typing import Any

from domain import events as e
from domain.containing import SideBySide, width
from domain.decision import Decision, Faulted, Strand
from domain.errors import fault
from domain.failing import before_cutting, begin_settling
from domain.flow import begin, complete, open_scope
from domain.plan import Fork, Parallel
from domain.state import Run, ScopeState


def start_branches(d: Decision, run: Run, work: SideBySide) -> Strand:
    """The task begins. Raises Faulted when there are too many branches, or too few of them."""
    total, parallel = width(run, work), _of(work)
    if total > d.limits.max_branches:
        raise Faulted(fault("runtime", f"{total} branches: there can be at most {d.limits.max_branches}"))
    if parallel.spare(total) < 0:
        raise Faulted(fault("validation", f"{parallel.need} branches have to complete, and there are {total}"))
    if total:
        _begin_more(d, run, work)
    else:
        yield from complete(d, run, [])


def begin_deferred(d: Decision, run: Run, work: SideBySide) -> None:
    """It is the turn of those that were put off. One begins in any case, also where the limit has become lower meanwhile:
    so the timer never stays due.
    """
    if d.begun < d.limits.portion:
        _begin(d, run, work)
        _begin_more(d, run, work)


def branch_done(d: Decision, run: Run, work: SideBySide, scope: ScopeState) -> Strand:
    """A branch has completed."""
    need = _of(work).need
    if need is None or run.done < need:
        yield from _one_ended(d, run, work, scope)
    elif run.done == len(run.scopes):
        yield from complete(d, run, outcome(d, run, work))
    else:
        yield from _win(d, run, scope)


def branch_lost(d: Decision, run: Run, work: SideBySide, scope: ScopeState) -> Strand:
    """A branch has failed and settled, and the others go on."""
    if run.winner is None:
        yield from _one_ended(d, run, work, scope)


def outcome(d: Decision, run: Run, work: SideBySide) -> Any:
    """The output: what each branch gave, in their order. Of those that failed there is the error where all were wanted, and
    nothing where some were.
    """
    scopes, parallel = [d.state.scopes[name] for name in run.scopes.values()], _of(work)
    if parallel.need is None:
        return [each.output if each.phase == "done" else _told(each) for each in scopes]
    outputs = [each.output for each in scopes if each.phase == "done"]
    return outputs[0] if parallel.alone else outputs


def _told(lost: ScopeState) -> Any:
    return {"error": lost.fault.as_json() if lost.fault else None}


def _of(work: SideBySide) -> Parallel:
    assert work.parallel is not None
    return work.parallel


def _one_ended(d: Decision, run: Run, work: SideBySide, scope: ScopeState) -> Strand:
    """Nothing is decided by this one alone."""
    if run.done + run.closed < width(run, work):
        _begin_more(d, run, work)
    elif run.lost:
        yield from _win(d, run, scope)
    else:
        yield from complete(d, run, outcome(d, run, work))


def _win(d: Decision, run: Run, scope: ScopeState) -> Strand:
    """Enough have ended: `domain.settling` goes on when the others have settled."""
    yield from before_cutting(d, _unsettled(d, run))
    if run.winner is None and d.live(run.scope) and run.open:
        d.emit(e.ForkWon, run=run.id, scope=scope.id, settle_at=d.settle_at)
        begin_settling(d, _unsettled(d, run), cut=True)


def _unsettled(d: Decision, run: Run) -> list[str]:
    scopes = d.state.scopes
    return [name for name in run.scopes.values() if scopes[name].phase in ("active", "failing")]


def _begin_more(d: Decision, run: Run, work: SideBySide) -> None:
    """As many as may begin now."""
    total, limit = width(run, work), _of(work).limit
    while len(run.scopes) < total and run.more_at is None and (limit is None or run.in_progress < limit):
        if d.begun >= d.limits.portion:
            d.emit(e.BranchesDeferred, run=run.id, due_at=d.now)
        else:
            _begin(d, run, work)


def _begin(d: Decision, run: Run, work: SideBySide) -> None:
    number, members = len(run.scopes), dict[str, Any]()
    branch = work.branches[number] if isinstance(work, Fork) else work.scope
    if not isinstance(work, Fork):
        assert run.items is not None
        members["variables"] = {work.each: run.items[number], work.at: number}
    d.begun += 1
    begin(d, open_scope(d, run, branch.pointer, str(number), **members), branch.start)
