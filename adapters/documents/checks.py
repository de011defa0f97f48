"""What a plan can be warned about before it runs: tasks that nothing leads to, loops that nothing ends or slows down,
effects that nothing undoes before a pivot, and a definition that starts itself.

Every check is linear in the size of the plan.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from adapters.documents.inspection import children_of, inner_scopes, scopes
from adapters.documents.positions import join
from adapters.documents.reader import Log
from domain.data import same
from domain.expressions import Expression
from domain.plan import (
    END,
    EXIT,
    Call,
    Emit,
    EventFilter,
    EventStream,
    Human,
    Join,
    Listen,
    Node,
    Plan,
    Raise,
    Run,
    Scope,
    Split,
    Switch,
    Try,
    Wait,
)


def check(plan: Plan, log: Log) -> None:
    """Add the warnings about a plan to `log`."""
    pausing: dict[str, bool] = {}
    for scope in reversed(list(scopes(plan))):
        for node in scope.nodes.values():
            pausing[node.pointer] = _pauses(node, pausing)
    for scope in scopes(plan):
        reached = _reached(scope)
        for pointer, node in scope.nodes.items():
            if pointer not in reached:
                log.remark(pointer, f"nothing leads to the task {node.name!r}", "unreachable")
        _warn_of_loops(scope, reached, pausing, log)
    _warn_before_pivots(plan.root, False, log)
    _warn_of_streams(plan, log)
    for pointer, run in children_of(plan):
        if (run.namespace, run.name) == (plan.namespace, plan.name):
            log.remark(join(pointer, "run", "workflow"), "this definition starts itself as its own child", "own-child")


def _warn_of_streams(plan: Plan, log: Log) -> None:
    if not plan.streams:
        return
    heard = [
        filter_ for node in plan.nodes.values() if isinstance(node.work, Listen) for filter_ in _filters(node.work)
    ]
    for stream in plan.streams.values():
        if not any(_may_meet(stream, dict(filter_.attributes)) for filter_ in heard):
            log.remark(stream.pointer, f"no task takes events of the stream {stream.name!r}", "unheard-stream")


def _filters(work: Listen) -> tuple[EventFilter, ...]:
    ends = work.to.until_events
    return (*(work.to.filters or (EventFilter(),)), *((ends.filters or (EventFilter(),)) if ends is not None else ()))


def _may_meet(stream: EventStream, given: dict[str, Any]) -> bool:
    """As far as literals tell."""
    return all(
        name not in given
        or isinstance(wanted, Expression)
        or isinstance(given[name], Expression)
        or same(wanted, given[name])
        for name, wanted in stream.attributes
    )


def targets(node: Node) -> list[str]:
    """Where a token may go from a node: pointers, EXIT or END."""
    work = node.work
    after_skip = [] if node.if_ is None else [node.then if node.skip_to is None else node.skip_to]
    if isinstance(work, Raise):
        return after_skip
    if isinstance(work, Split):
        return [*work.targets]
    found = [node.then, *after_skip]
    if isinstance(work, Switch):
        cases = [case.then for case in work.cases]
        has_default = any(case.when is None for case in work.cases)
        return [*cases, *after_skip] if has_default else [*cases, *found]
    if isinstance(work, Try) and work.catch.then is not None:
        found.append(work.catch.then)
    return found


def _reached(scope: Scope) -> set[str]:
    reached: set[str] = set()
    left = [scope.start] if scope.start else []
    while left:
        pointer = left.pop()
        if pointer in scope.nodes and pointer not in reached:
            reached.add(pointer)
            left += targets(scope.nodes[pointer])
    return reached


def _leading_to(scope: Scope, goals: Iterable[str]) -> set[str]:
    """The nodes of a scope from which a token may come to one of `goals` (pointers, EXIT or END)."""
    sources: dict[str, list[str]] = {}
    for pointer, node in scope.nodes.items():
        for target in targets(node):
            sources.setdefault(target, []).append(pointer)
    found: set[str] = set()
    left = list(goals)
    while left:
        for source in sources.get(left.pop(), ()):
            if source not in found:
                found.add(source)
                left.append(source)
    return found


def _pauses(node: Node, pausing: dict[str, bool]) -> bool:
    if isinstance(node.work, Wait | Listen | Call | Human | Run | Emit | Join):
        return True
    inner = [scope for part, scope in inner_scopes(node) if part != "compensate"]
    return any(pausing.get(pointer, False) for scope in inner for pointer in scope.nodes)


def _warn_of_loops(scope: Scope, reached: set[str], pausing: dict[str, bool], log: Log) -> None:
    ways_out = [pointer for pointer, node in scope.nodes.items() if pausing[pointer] or isinstance(node.work, Raise)]
    free = _leading_to(scope, [EXIT, END, *ways_out]).union(ways_out)
    caught = [node for pointer, node in scope.nodes.items() if pointer in reached and pointer not in free]
    if caught:
        names = ", ".join(node.name for node in caught[:5])
        log.remark(caught[0].pointer, f"an endless loop without a wait or a callout: {names}", "endless-loop")


def _warn_before_pivots(scope: Scope, before_outer: bool, log: Log) -> None:
    """Warn of callouts that run before a pivot and that no compensation would undo."""
    with_pivot = [pointer for pointer, node in scope.nodes.items() if _holds_pivot(node)]
    before = set(scope.nodes) if before_outer else _leading_to(scope, with_pivot)
    for pointer, node in scope.nodes.items():
        if node.compensate is not None:
            continue
        if pointer in before and isinstance(node.work, Call) and not node.work.safe and not node.pivot:
            detail = (
                f"the task {node.name!r} runs before a pivot and has no `compensate`: a rollback would leave it behind"
            )
            log.remark(pointer, detail, "left-behind")
        for part, inner in inner_scopes(node):
            if part != "catch" or pointer in before:
                _warn_before_pivots(inner, pointer in before, log)


def _holds_pivot(node: Node) -> bool:
    return node.pivot or any(_holds_pivot(inner) for _, scope in inner_scopes(node) for inner in scope.nodes.values())
