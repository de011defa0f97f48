"""The rollback view: which effects exist, which can be undone, in which order. Pure functions over the state.

The rules are those of ``docs/rollback.md``. A run is a candidate when it ended with an effect that its ``compensate.after``
covers and it has not been undone; a completed composite with a compensation of its own replaces what is inside it. The
order is the reverse of the events that ended the runs, flat over nested scopes; with ``order: parallel`` the branches of
one fork form a group whose branches are undone at the same time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

import msgspec

from domain.events import LeftBehind, UndoStep
from domain.state import COMPENSATE, Run, State

IF_IS_FALSE = "its compensate.if is false"
_ENDED = frozenset({"completed", "uncertain", "failed", "cancelled", "compensation_failed"})


class Candidate(msgspec.Struct, frozen=True):
    """A run that would be undone. `branches`: (fork run, branch scope) around it, outermost first."""

    run: Run
    branches: tuple[tuple[str, str], ...]


def candidates(state: State, scopes: Sequence[str]) -> tuple[list[Candidate], list[LeftBehind]]:
    """What there is to undo in these scopes, newest first, and what has to be left behind and why."""
    found: list[Candidate] = []
    left: list[LeftBehind] = []
    owner = state.scopes[scopes[0]].owner if scopes else None
    inside = frozenset(scopes)
    for run in sorted(_since(state, owner), key=lambda r: -r.order):
        if run.status not in _ENDED or run.undo.status == "completed":
            continue
        branches = _around(state, run, inside)
        if branches is None:
            continue
        if run.undo.status == "skipped":
            left.append(LeftBehind(run.id, "an operator skipped its undo"))
        elif undoable(run):
            found.append(Candidate(run, branches))
        elif run.effectful and run.effect in ("completed", "uncertain"):
            left.append(LeftBehind(run.id, why_left(run)))
    return found, left


def _since(state: State, owner: str | None) -> Iterator[Run]:
    """All runs; those that began after a composite where only its insides matter."""
    for run in reversed(state.runs.values()):
        if run.id == owner:
            break
        yield run


def undoable(run: Run) -> bool:
    """Whether the outcome of the run is one that its compensation covers. A child undoes itself, unless it is detached, or
    belongs to the orchestration that this is a fork of.
    """
    if run.undoable is None:
        ours = run.child is not None and run.origin is None
        return ours and not run.detached and run.effect in ("completed", "uncertain")
    if run.undoable == "attempted":
        return run.attempts > 0 or run.effect == "completed"
    return run.effect == "completed" or (run.effect == "uncertain" and run.undoable == "uncertain")


def why_left(run: Run) -> str:
    if run.undoable == "completed" and run.effect == "uncertain":
        return "its outcome is uncertain and it is undone only after completion"
    if run.child is not None and run.origin is not None:
        return "its child belongs to the orchestration that this is a fork of"
    return "it has no compensation"


def _around(state: State, run: Run, scopes: frozenset[str]) -> tuple[tuple[str, str], ...] | None:
    """The fork branches around a run inside `scopes`; None when it lies elsewhere, in a compensation, or is replaced."""
    branches: list[tuple[str, str]] = []
    for scope in state.scope_chain(run.scope):
        if scope.slot == COMPENSATE:
            return None
        if scope.id in scopes:
            return tuple(reversed(branches))
        if scope.owner is None:
            return None
        owner = state.runs[scope.owner]
        if owner.undoable is not None and owner.effect == "completed":
            return None
        if owner.kind == "fork" or owner.parallel:
            branches.append((owner.id, scope.id))
    return None


def arrange(chosen: Sequence[Candidate], outcomes: dict[str, UndoStep], *, parallel: bool) -> tuple[UndoStep, ...]:
    """The steps with their dependencies. `outcomes` has a step per run without them."""
    steps: list[UndoStep] = []
    _sequence(list(chosen), outcomes, steps, (), 0, parallel=parallel)
    return tuple(steps)


def _sequence(
    members: list[Candidate],
    outcomes: dict[str, UndoStep],
    steps: list[UndoStep],
    ready: tuple[int, ...],
    depth: int,
    *,
    parallel: bool,
) -> tuple[int, ...]:
    """Append the members' steps, newest first; gives the steps after which the whole sequence has ended. Only
    neighbours form a group: a fork that was entered again has older entries, with others in between.
    """
    for fork, neighbours in groupby(members, lambda m: m.branches[depth][0] if len(m.branches) > depth else None):
        if fork is None or not parallel:
            for member in neighbours:
                steps.append(msgspec.structs.replace(outcomes[member.run.id], after=ready))
                ready = (len(steps) - 1,)
            continue
        ends: list[int] = []
        for branch in _by_branch(neighbours, depth):
            ends += _sequence(branch, outcomes, steps, ready, depth + 1, parallel=parallel)
        ready = tuple(ends)
    return ready


def _by_branch(group: Iterable[Candidate], depth: int) -> list[list[Candidate]]:
    branches: dict[str, list[Candidate]] = {}
    for member in group:
        branches.setdefault(member.branches[depth][1], []).append(member)
    return list(branches.values())


def outcome(state: State) -> str | None:
    """``none``, ``complete`` or ``partial`` once the rollback has ended; None before, or when there was none."""
    rollback = state.rollbacks.get("")
    if rollback is None or not state.final or state.status in ("completed", "terminated"):
        return None
    if rollback.left_behind or any(ended == "skipped" for ended in rollback.ended):
        return "partial"
    return "complete" if any(ended == "done" for ended in rollback.ended) else "none"
