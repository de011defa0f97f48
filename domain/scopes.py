"""Which task lists there are in a plan: the one that a run opens for a slot, and the one in which a task stands."""

from __future__ import annotations

from collections.abc import Iterator

from domain.plan import Do, For, Fork, Listen, Node, Plan, Scope, Try
from domain.state import COMPENSATE


def homes(plan: Plan) -> dict[str, str]:
    """Pointer of each task -> pointer of the list in which it stands."""
    found: dict[str, str] = {}
    waiting = [plan.root]
    while waiting:
        scope = waiting.pop()
        found |= dict.fromkeys(scope.nodes, scope.pointer)
        for node in scope.nodes.values():
            waiting += _lists(node)
    return found


def _lists(node: Node) -> Iterator[Scope]:
    if node.compensate is not None:
        yield node.compensate.scope
    match node.work:
        case Do(scope) | For(scope=scope):
            yield scope
        case Listen(scope=Scope() as scope):
            yield scope
        case Try(scope, catch):
            yield scope
            if catch.scope is not None:
                yield catch.scope
        case Fork(branches):
            yield from branches


def scope_of(node: Node, slot: str) -> str | None:
    """The pointer of the task list that `node` opens for a slot; None when it opens none."""
    if slot == COMPENSATE:
        return node.compensate.scope.pointer if node.compensate else None
    match node.work:
        case Do(scope) | For(scope=scope):
            return scope.pointer
        case Listen() as listen:
            return listen.scope.pointer if listen.scope is not None else f"{node.pointer}/foreach"
        case Try() as work if slot == "try":
            return work.scope.pointer
        case Try() as work:
            return work.catch.scope.pointer if work.catch.scope is not None else None
        case Fork() as fork:
            return fork.branches[int(slot)].pointer if int(slot) < len(fork.branches) else None
        case _:
            return None
