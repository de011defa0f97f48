"""Which task list a run of a task opens for which slot, as the plan has it."""

from __future__ import annotations

from domain.plan import Do, For, Fork, Listen, Node, Try
from domain.state import COMPENSATE


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
