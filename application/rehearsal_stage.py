"""What all courses of one rehearsal share: the plans (as documents say, and with a choice made), what participants answer,
and the children.

A child definition that nobody has at hand is played by one callout with one undo, so that it can fail like any other.
Everything that nobody knows is an object that says so, ``{"unknown": "the output of bookHotel"}``; `made_up` tells whether
any such value, or one made from a schema, has been handed out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from application.rehearsal_script import Choice
from application.samples import sample
from domain.decision import Limits
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


class Stage:
    """One per rehearsal. `outputs`: task (name or reference) -> what its participant answers, or the data of the awaited
    event. `children`: reference (``namespace/name@version``, also with ``latest``) -> plan.
    """

    def __init__(
        self,
        plan: Plan,
        limits: Limits,
        children: Mapping[str, Plan],
        outputs: Mapping[str, Any],
        *,
        made_up: bool,
    ) -> None:
        self.plan = plan
        self.limits = msgspec.structs.replace(limits, max_events=min(limits.max_events, 20_000))
        self.made_up = made_up
        """Whether any value has been made up so far."""
        self.stand_ins: dict[str, str] = {}
        """Digest of a plan that plays a child -> reference of that child."""
        self._unknown: set[str] = set()
        self._outputs = outputs
        self._children = children
        self._plans: dict[str, Plan] = {}
        self._chosen: dict[tuple[str, tuple[Choice, ...]], Plan] = {}
        self.digest = self._kept(plan)

    def plan_of(self, digest: str, choices: tuple[Choice, ...] = ()) -> Plan:
        """A plan with these choices made in it."""
        plan = self._plans[digest]
        if not choices:
            return plan
        known = self._chosen.get((digest, choices))
        if known is None:
            nodes = {choice.pointer: _chosen(plan.nodes[choice.pointer], choice) for choice in choices}
            known = msgspec.structs.replace(plan, nodes=plan.nodes | nodes)
            self._chosen[digest, choices] = known
        return known

    def child(self, namespace: str, name: str, version: str) -> Plan:
        """The plan of a child, or one that plays it."""
        own = self.plan
        if (namespace, name) == (own.namespace, own.name) and version in (own.version, "latest"):
            return self._plans[self.digest]
        reference = f"{namespace}/{name}@{version}"
        plan = self._children.get(reference)
        if plan is None:
            plan = _stand_in(namespace, name, version)
            self.stand_ins[plan.digest] = reference
        digest = self._kept(plan)
        return self._plans[digest]

    def _kept(self, plan: Plan) -> str:
        if plan.digest not in self._plans:
            self._plans[plan.digest] = _asking(plan)
        return plan.digest

    # What is made up ---------------------------------------------------------------------------------------------------

    def answer_of(self, node: Node) -> Any:
        """What the participant of a callout, or an awaited event, brings."""
        for name in (node.pointer, node.name):
            if name in self._outputs:
                return self._outputs[name]
        schema = node.output_schema.document if node.output_schema is not None else None
        if isinstance(node.work, Call) and node.output_as is None and schema is not None:
            self.made_up = True
            return sample(schema)
        return self._whole_answer(node, self.unknown(f"the output of {node.name}"))

    def _whole_answer(self, node: Node, content: Any) -> Any:
        """``with.output`` of an HTTP call says how much of the answer is the output."""
        wanted = node.work.with_.value if isinstance(node.work, Call) and node.work.kind != "function" else None
        form = wanted.get("output") if isinstance(wanted, dict) else None
        if form == "raw":
            return ""
        request = {"method": "", "uri": "", "headers": {}}
        return (
            {"request": request, "statusCode": 200, "headers": {}, "content": content}
            if form == "response"
            else content
        )

    def unknown(self, what: str) -> dict[str, str]:
        """A value that says what is not known."""
        self.made_up = True
        self._unknown.add(what)
        return {"unknown": what}

    def touches_unknown(self, program: str, values: tuple[Any, ...]) -> bool:
        """Whether a program could have read a value that is not known."""
        if not self._unknown or not ("." in program or "$" in program):
            return False
        return any(self._holds_unknown(value) for value in values)

    def _holds_unknown(self, value: Any) -> bool:
        if isinstance(value, dict):
            what = value.get("unknown")
            if isinstance(what, str) and what in self._unknown:
                return True
            return any(map(self._holds_unknown, value.values()))
        return isinstance(value, list) and any(map(self._holds_unknown, value))


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


def _chosen(node: Node, choice: Choice) -> Node:
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


def _asking(plan: Plan) -> Plan:
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


def _stand_in(namespace: str, name: str, version: str) -> Plan:
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
