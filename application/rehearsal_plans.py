"""Plans as a rehearsal needs them: with a way chosen, an awaited event accepted, an answer asked for, a child played."""

from __future__ import annotations

from typing import Any

import msgspec

from application.rehearsal_script import Choice
from domain.expressions import Expression, parse
from domain.plan import (
    EXIT,
    Call,
    Case,
    Compensation,
    Duration,
    Emit,
    EventFilter,
    For,
    Listen,
    Node,
    Plan,
    Raise,
    Scope,
    Strategy,
    Switch,
    Template,
    Wait,
)

_NEEDED = {Emit: ("source", "type", "id"), Raise: ("type", "status")}
"""Members without which these tasks fault."""


def accepting(node: Node, index: int, event: str, *, until: bool) -> Node:
    """A ``listen`` of which one filter takes exactly the event with this id, whatever its conditions."""
    work = node.work
    assert isinstance(work, Listen)
    to, ends = work.to, work.to.until_events
    if ends is not None:
        ends = msgspec.structs.replace(ends, filters=_only(ends, index if until else -1, event))
    filters = to.filters if until else _only(to, index, event)
    changed = msgspec.structs.replace(to, filters=filters, until_events=ends)
    return msgspec.structs.replace(node, work=msgspec.structs.replace(work, to=changed))


def _only(strategy: Strategy, index: int, event: str) -> tuple[EventFilter, ...]:
    """Without filters every event is taken anyway."""
    return tuple(EventFilter((("id", event if n == index else ""),)) for n in range(len(strategy.filters)))


def chosen(node: Node, choice: Choice) -> Node:
    """A task that goes the chosen way, whatever it would be asked."""
    condition = None if choice.value else parse("false")
    if choice.kind == "if":
        return msgspec.structs.replace(node, if_=condition)
    if choice.kind == "undo_if":
        assert node.compensate is not None
        return msgspec.structs.replace(node, compensate=msgspec.structs.replace(node.compensate, if_=condition))
    assert isinstance(node.work, Switch)
    case = node.work.cases[choice.value] if choice.value >= 0 else None
    return msgspec.structs.replace(node, work=Switch((Case(case.name, None, case.then),) if case else ()))


# A plan that asks ------------------------------------------------------------------------------------------------------


def asking(plan: Plan) -> Plan:
    """The plan with those plain paths asked for, where a null would be a fault or decide something: so that something can
    be assumed instead.
    """
    return msgspec.structs.replace(plan, nodes={pointer: _asks(node) for pointer, node in plan.nodes.items()})


def _asks(node: Node) -> Node:
    changes: dict[str, Any] = {}
    if node.timeout is not None and node.timeout.expression is not None:
        changes["timeout"] = _open_duration(node.timeout)
    if node.if_ is not None:
        changes["if_"] = _open(node.if_)
    if node.compensate is not None and node.compensate.if_ is not None:
        changes["compensate"] = msgspec.structs.replace(node.compensate, if_=_open(node.compensate.if_))
    match node.work:
        case For() as work:
            changes["work"] = msgspec.structs.replace(work, in_=_open(work.in_))
        case Switch(cases=cases):
            asked = (Case(case.name, case.when and _open(case.when), case.then) for case in cases)
            changes["work"] = Switch(tuple(asked))
        case Wait(duration=duration):
            changes["work"] = Wait(_open_duration(duration))
        case Emit(event=template):
            changes["work"] = Emit(_open_template(template, _NEEDED[Emit]))
        case Raise(error=template):
            changes["work"] = Raise(_open_template(template, _NEEDED[Raise]))
    return msgspec.structs.replace(node, **changes) if changes else node


def _open(expression: Expression) -> Expression:
    return Expression(expression.program, expression.variables)


def _open_duration(duration: Duration) -> Duration:
    return Duration(duration.seconds, _open(duration.expression) if duration.expression else None)


def _open_template(template: Template, members: tuple[str, ...]) -> Template:
    holes = [
        msgspec.structs.replace(hole, expression=_open(hole.expression))
        if hole.path and hole.path[-1] in members
        else hole
        for hole in template.holes
    ]
    return Template(template.value, tuple(holes))


def stand_in(namespace: str, name: str, version: str) -> Plan:
    """A definition of one callout and its undo, named like the child."""
    digest = f"stand-in:{namespace}/{name}@{version}"
    pointer = f"/do/0/{name}"
    undo = Node(
        pointer=f"{pointer}/compensate", name=name, work=Call("function", f"undo of {name}", Template()), then=EXIT
    )
    compensate = Compensation(Scope(f"{pointer}/compensate", {undo.pointer: undo}, undo.pointer))
    work = Call("function", name, Template())
    node = Node(pointer=pointer, name=name, work=work, then=EXIT, compensate=compensate)
    root = Scope("/do", {pointer: node}, pointer)
    nodes = {pointer: node, undo.pointer: undo}
    document = {"document": {"namespace": namespace, "name": name, "version": version}}
    return Plan(
        namespace=namespace, name=name, version=version, digest=digest, document=document, root=root, nodes=nodes
    )
