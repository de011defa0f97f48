"""Whether an orchestration can go on under another version of its definition: what each of its positions becomes there.

A *position* is a run that the future has to look up in the plan: one that is open or held by an incident, one that would be
undone or is being undone, and the task of a token that begins anew. Each must have its task in the new version, of the same
kind; all other runs are facts, which move along where their task is still there. What is refused, and what is only said,
stands in ``docs/fork_and_migration.md``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from domain.data import definition_at
from domain.errors import Problem
from domain.events import Remark
from domain.mapping import TaskMapping
from domain.plan import Call, For, Fork, Join, Listen, Node, Parallel, Plan, Try
from domain.plan import Run as RunWork
from domain.positions import short
from domain.rollback import candidates
from domain.scopes import homes, scope_of
from domain.state import ROOT, Run, State

_HELD: Final = "waits for an operator"


class Fit(msgspec.Struct):
    """What a migration would record, or (`problems`) why it cannot be."""

    moves: dict[str, str] = {}
    undoables: dict[str, str] = {}
    rekeyed: list[str] = []
    problems: list[Problem] = []
    remarks: list[Remark] = []


class Fitting:
    """One state between two versions."""

    def __init__(self, state: State, old: Plan, new: Plan, explicit: Mapping[str, str]) -> None:
        """Raises InvalidInputError where the mapping itself is wrong."""
        self._state, self._old, self._new = state, old, new
        self._tasks = TaskMapping(old, new, explicit)
        self._fit = Fit({}, {}, [], [], [])

    def fit(self, anew: Collection[str] = ()) -> Fit:
        """`anew`: runs whose task a token comes to again."""
        needed = {**_positions(self._state), **dict.fromkeys(anew, "begins anew")}
        for name, why in needed.items():
            self._position(self._state.runs[name], why)
        for run in self._state.runs.values():
            if run.id not in needed:
                self._fact(run)
            self._undo(run, needed.get(run.id))
            self._key(run)
        self._scopes()
        self._variables(needed)
        self._places([*self._state.open, *anew, *(name for name, why in needed.items() if why == _HELD)])
        self._distinct()
        came, new = self._tasks.came(self._old.nodes), defaultdict[str, list[str]](list)
        for pointer in self._new.nodes:
            if pointer not in came:
                new[_list_of(pointer)].append(pointer)
        old = defaultdict[str, list[str]](list)
        for pointer in self._old.nodes:
            old[_list_of(pointer)].append(pointer)
        for name in self._state.open:
            self._order(self._state.runs[name], new, old)
        if self._old.document.get("timeout") != self._new.document.get("timeout"):
            self._remark("/timeout", "the timeout of the whole keeps the length that it began with", "timeout-kept")
        return self._fit

    def _problem(self, pointer: str, detail: str, code: str) -> None:
        self._fit.problems.append(Problem(pointer, detail, code))

    def _remark(self, pointer: str, detail: str, code: str) -> None:
        self._fit.remarks.append(Remark(pointer, detail, code))

    def _move(self, old: str, new: str) -> None:
        if old != new:
            self._fit.moves[old] = new

    # Runs -------------------------------------------------------------------------------------------------------------

    def _position(self, run: Run, why: str) -> None:
        to, there = self._tasks.of(run.pointer), self._new.reference
        if to is None:
            detail = f"{run.name} {why}, and {there} has no task {short(run.pointer)}: name the one that it becomes"
            self._problem(run.pointer, f"{detail} in the mapping", "no-task")
            return
        node = self._new.nodes[to]
        if node.kind != run.kind:
            self._problem(
                run.pointer, f"{run.name} {why} as a {run.kind}, and is a {node.kind} in {there}", "other-kind"
            )
            return
        self._move(run.pointer, to)
        if run.open or run.held:
            for code, detail in _differences(run, self._old.nodes[run.pointer], node, self._tasks):
                self._problem(run.pointer, f"{run.name} {why}: {detail}", code)

    def _fact(self, run: Run) -> None:
        to = self._tasks.of(run.pointer)
        if to is None:
            return
        node = self._new.nodes[to]
        if node.kind == run.kind:
            self._move(run.pointer, to)
        elif run.status in ("failed", "uncertain", "cancelled") and self._inside_open(run):
            detail = f"{run.name} may be tried again as a {run.kind}, and is a {node.kind} in {self._new.reference}"
            self._problem(run.pointer, detail, "other-kind")

    def _key(self, run: Run) -> None:
        """Tried again, a request that surely did nothing and is another one now must not look like a repeat of the first."""
        nothing = not run.open and run.effect in ("none", "failed") and run.status in ("failed", "cancelled")
        to = self._tasks.of(run.pointer)
        if run.key is None or not nothing or run.undoable == "attempted" or to is None:
            return
        one, other = _task_at(self._old, run.pointer), _task_at(self._new, to)
        if {**one, "compensate": None} != {**other, "compensate": None}:
            self._fit.rekeyed.append(run.id)

    def _inside_open(self, run: Run) -> bool:
        return any(around.owner in self._state.open for around in self._state.scope_chain(run.scope))

    # Undos ------------------------------------------------------------------------------------------------------------

    def _undo(self, run: Run, why: str | None) -> None:
        """Compensations that are new, other, or gone, of what was done or is being done."""
        to = self._tasks.of(run.pointer)
        node = self._new.nodes[to] if to is not None else None
        if node is None or node.kind != run.kind or not (run.open or run.effect in ("completed", "uncertain")):
            return
        if not run.open and node.pivot != run.pivot:
            told = "was no pivot" if node.pivot else "was a pivot"
            self._remark(run.pointer, f"{run.name} {told} when it ran, and is taken as that", "pivot-kept")
        if self._state.undoing(run.scope) or run.undo.status in ("completed", "skipped"):
            return
        if node.undoable is None:
            if run.undoable is not None and why is not None:
                detail = f"{run.name} {why}, and {self._new.reference} has no compensation for it"
                self._problem(run.pointer, detail, "no-compensation")
        elif run.undoable is None and ROOT in self._state.rollbacks:
            return  # the plan of the rollback is made
        else:
            self._compensation(run, node, node.undoable)

    def _compensation(self, run: Run, node: Node, after: str) -> None:
        if after != run.undoable:
            self._fit.undoables[run.id] = after
        if run.undoable is None:
            self._remark(run.pointer, f"{run.name} can be undone from now on", "compensation-added")
        elif _task_at(self._old, run.pointer).get("compensate") != _task_at(self._new, node.pointer).get("compensate"):
            self._remark(run.pointer, f"{run.name} would be undone in another way", "compensation-changed")

    # Scopes and the whole ---------------------------------------------------------------------------------------------

    def _scopes(self) -> None:
        for scope in self._state.scopes.values():
            if scope.owner is None:
                continue
            owner = self._state.runs[scope.owner]
            to = self._tasks.of(owner.pointer)
            node = self._new.nodes[to] if to is not None else None
            pointer = scope_of(node, scope.slot) if node is not None and node.kind == owner.kind else None
            if pointer is not None:
                self._move(scope.pointer, pointer)
            elif scope.phase in ("active", "failing") and node is not None and node.kind == owner.kind:
                detail = f"{scope.slot} of {owner.name} goes on, and {self._new.reference} has no such part"
                self._problem(scope.pointer, detail, "no-scope")

    def _variables(self, needed: Iterable[str]) -> None:
        """What goes on, or is undone, sees the variables of its turn by the names that they had when it began."""
        around = {scope.id: scope for name in needed for scope in self._state.scope_chain(self._state.runs[name].scope)}
        for scope in around.values():
            owner = self._state.runs[scope.owner] if scope.owner is not None else None
            to = self._tasks.of(owner.pointer) if owner is not None else None
            if owner is None or to is None or self._new.nodes[to].kind != owner.kind:
                continue
            one, other = (
                _variables_of(node, scope.slot) for node in (self._old.nodes[owner.pointer], self._new.nodes[to])
            )
            if one != other:
                names, others = (" and ".join(f"${name}" for name in each) for each in (one, other))
                detail = f"what is in it knows {names}, and {self._new.reference} calls that {others}"
                self._problem(owner.pointer, detail, "other-variables")

    def _places(self, tokens: Iterable[str]) -> None:
        """A token stays in its list: the end of that list is where it goes."""
        there = homes(self._new)
        for name in dict.fromkeys(tokens):
            run = self._state.runs[name]
            to, scope = self._tasks.of(run.pointer), self._state.scopes[run.scope].pointer
            if to is not None and there[to] != self._fit.moves.get(scope, scope):
                detail = f"{run.name} goes on in {scope}, and {short(to)} stands in another list"
                self._problem(run.pointer, detail, "other-place")

    def _distinct(self) -> None:
        """No two tasks may become one."""
        taken: dict[str, str] = {}
        for pointer in dict.fromkeys(run.pointer for run in self._state.runs.values()):
            to = self._fit.moves.get(pointer, pointer)
            if to in taken:
                detail = f"{short(taken[to])} and {short(pointer)} would both be {short(to)} in {self._new.reference}"
                self._problem(pointer, detail, "not-distinct")
            taken[to] = pointer

    def _order(self, run: Run, new: Mapping[str, list[str]], old: Mapping[str, list[str]]) -> None:
        """What lies before a token and after it: nobody comes to a task that is new there, or lay behind it (but by a loop or
        ``then``), and what was done before it must not lie behind it. `new`: the tasks that are new, by list; `old`: all that
        there were.
        """
        at = self._tasks.of(run.pointer)
        if at is None:
            return
        for pointer in new.get(_list_of(at), ()):
            if _precedes(pointer, at):
                self._remark(pointer, f"{short(pointer)} is new and lies before {short(at)}", "passed-over")
        known = self._state.scopes[run.scope].runs
        for pointer in old.get(_list_of(run.pointer), ()):
            to = self._tasks.of(pointer) if pointer not in known and _precedes(run.pointer, pointer) else None
            if to is not None and _precedes(to, at):
                self._remark(to, f"{short(to)} lay behind {short(at)}, and lies before it now", "passed-over")
        for done in known:
            to = self._tasks.of(done)
            if to is not None and _precedes(done, run.pointer) and _precedes(at, to):
                detail = f"{short(done)} was done, and lies behind {short(at)} in {self._new.reference}"
                self._problem(done, f"{detail}: it would be done again", "comes-again")


def _list_of(pointer: str) -> str:
    return pointer.rpartition("/")[0].rpartition("/")[0]


def _precedes(one: str, other: str) -> bool:
    """Whether a task stands before another in the same list."""
    (list_, _, place), (other_list, _, other_place) = (each.rpartition("/")[0].rpartition("/") for each in (one, other))
    return list_ == other_list and place.isdigit() and other_place.isdigit() and int(place) < int(other_place)


def _positions(state: State) -> dict[str, str]:
    """Run -> why it is a position."""
    found = {name: "is to be undone" for each in state.rollbacks_going() for name in each.waiting}
    if ROOT not in state.rollbacks:
        found |= {each.run.id: "would be undone" for each in candidates(state, (ROOT,))[0]}
    for run in state.runs.values():
        if run.held:
            found[run.id] = _HELD
        elif run.doubts and not run.open and (run.undoable is not None or run.child is not None):
            found.setdefault(run.id, "may turn out to be done")
    return found | dict.fromkeys(state.open, "is in progress")


def _differences(run: Run, old: Node, new: Node, tasks: TaskMapping) -> Iterator[tuple[str, str]]:
    """(code, detail) of what cannot change under a run that is in progress."""
    if run.pivot != new.pivot:
        yield "other-pivot", "it cannot become a pivot, or stop being one, meanwhile"
    attempted = run.flying or run.status == "retrying"
    match old.work, new.work:
        case Call() as one, Call() as other if attempted and (one.kind, one.function) != (other.kind, other.function):
            yield "other-call", f"it calls {one.function or one.kind}, and would call {other.function or other.kind}"
        case RunWork() as one, RunWork() as other if attempted:
            if (one.namespace, one.name, one.await_) != (other.namespace, other.name, other.await_):
                yield "other-call", f"its child is of {one.namespace}/{one.name}"
        case Listen() as one, Listen() as other:
            turns = [
                (each.scope is None, each.foreach_output is None, each.foreach_export is None) for each in (one, other)
            ]
            if one.to != other.to or turns[0] != turns[1]:
                yield "other-events", "it waits for other events in the new version"
        case Fork() as one, Fork() as other:
            starts = [tasks.of(branch.start) if branch.start else None for branch in one.branches]
            if one.compete != other.compete or starts != [branch.start for branch in other.branches]:
                yield "other-branches", "its branches are others, or stand in another order"
            elif not _end_alike(one.parallel, other.parallel):
                yield "other-branches", "how many of its branches have to complete, or may fail, is another number"
        case For() as one, For() as other if not _end_alike(one.parallel, other.parallel):
            yield "other-branches", "its turns cannot come to run side by side or in turn meanwhile, or end otherwise"
        case Join() as one, Join() as other if one.tokens != other.tokens:
            yield "other-tokens", f"it waits for {one.tokens} tokens, and would for {other.tokens}"


def _end_alike(one: Parallel | None, other: Parallel | None) -> bool:
    """Whether branches side by side go on as they began; only the limit may be another."""
    if one is None or other is None:
        return one is other
    return msgspec.structs.replace(one, limit=other.limit) == other


def _variables_of(node: Node, slot: str) -> tuple[str, ...]:
    """Names of the variables that a task gives to what is in this part of it."""
    match node.work:
        case For(each=each, at=at):
            return each, at
        case Listen(item=item, at=at):
            return item, at
        case Try(catch=catch) if slot == "catch":
            return (catch.as_,)
    return ()


def _task_at(plan: Plan, pointer: str) -> dict[str, Any]:
    task = definition_at(plan.document, pointer)
    return task if isinstance(task, dict) else {}
