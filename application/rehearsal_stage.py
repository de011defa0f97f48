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

from application.rehearsal_plans import asking, chosen, stand_in
from application.rehearsal_script import Choice
from application.samples import sample
from domain.decision import Limits
from domain.plan import Call, Human, Node, Plan


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
    ) -> None:
        self.plan = plan
        self.limits = msgspec.structs.replace(limits, max_events=min(limits.max_events, 20_000))
        self.made_up = False
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
            nodes = {choice.pointer: chosen(plan.nodes[choice.pointer], choice) for choice in choices}
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
            plan = stand_in(namespace, name, version)
            self.stand_ins[plan.digest] = reference
        digest = self._kept(plan)
        return self._plans[digest]

    def _kept(self, plan: Plan) -> str:
        if plan.digest not in self._plans:
            self._plans[plan.digest] = asking(plan)
        return plan.digest

    # What is made up ---------------------------------------------------------------------------------------------------

    def answer_of(self, node: Node) -> Any:
        """What the participant of a callout, or an awaited event, brings."""
        for name in (node.pointer, node.name):
            if name in self._outputs:
                return self._outputs[name]
        if isinstance(node.work, Human) and node.work.form is not None:
            self.made_up = True
            return sample(node.work.form.document)
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
