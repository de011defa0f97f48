"""What is made to happen in one course of a rehearsal: which runs meet with a mishap, which way is taken where there are two.

The failures are those that rollback.md distinguishes: *refused* (a definite no), *uncertain* (sent, then silence because the
connection was lost or the function broke), *timed out* (no answer until the time is over). An awaited event may not come.
A script names runs exactly, so the same script leads to the same course.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from domain.errors import KIT, OURS, SPEC, Fault, fault
from domain.plan import Call, Do, For, Fork, Human, Listen, Node, Plan, Scope, Try

Outcome = Literal["refused", "uncertain", "timed_out", "no_event"]
FORWARD: tuple[Outcome, ...] = ("refused", "uncertain", "timed_out")


class Place(msgspec.Struct, frozen=True):
    """A run of one orchestration of the family."""

    orchestration: str
    run: str

    @property
    def pointer(self) -> str:
        return self.run.rpartition("#")[0]


class Mishap(msgspec.Struct, frozen=True):
    """What every attempt of a run meets with. `fault`: the particular error, where a ``catch`` waits for one."""

    place: Place
    outcome: Outcome
    fault: Fault | None = None


class Choice(msgspec.Struct, frozen=True):
    """Which way a task goes the first time it is reached. `value`: the index of a case of a ``switch`` (-1: none holds),
    or the truth of an ``if`` or of a ``compensate.if``.
    """

    digest: str
    pointer: str
    kind: Literal["case", "if", "undo_if"]
    value: int


class Script(msgspec.Struct, frozen=True):
    mishaps: tuple[Mishap, ...] = ()
    choices: tuple[Choice, ...] = ()

    def also(self, *mishaps: Mishap) -> Script:
        return Script(self.mishaps + mishaps, self.choices)

    def choosing(self, choice: Choice) -> Script:
        """Instead of what was chosen there before."""
        others = [
            c for c in self.choices if (c.digest, c.pointer, c.kind) != (choice.digest, choice.pointer, choice.kind)
        ]
        return Script(self.mishaps, (*others, choice))

    def mishap(self, place: Place) -> Mishap | None:
        return next((each for each in self.mishaps if each.place == place), None)


def fault_of(mishap: Mishap, kind: str, name: str) -> Fault:
    """The error that the participant of a callout of this kind would give."""
    if mishap.fault is not None:
        return mishap.fault
    if mishap.outcome == "timed_out":
        return fault("timeout", f"{name}: no answer in time")
    if mishap.outcome == "uncertain" and kind == "function":
        return fault("runtime", f"function {name} broke")
    if mishap.outcome == "uncertain":
        return fault("communication", f"{name}: the connection was lost after the request had been sent")
    if kind == "human":
        return Fault(f"{OURS}refused", 422, "Refused", f"the person who was asked for {name} said no")
    if kind == "function":
        return Fault(f"{OURS}refused", 422, "Refused", f"function {name} refused")
    answer = {"status": 409, "headers": {}, "content": None}
    return Fault(f"{SPEC}communication", 409, "Conflict", f"{name} answered 409 Conflict", response=answer)


def expected_faults(plan: Plan) -> dict[str, tuple[tuple[Outcome, Fault], ...]]:
    """Pointer of a callout -> the particular errors that a ``catch`` around it waits for."""
    found: dict[str, tuple[tuple[Outcome, Fault], ...]] = {}
    left: list[tuple[Scope, tuple[tuple[Outcome, Fault], ...]]] = [(plan.root, ())]
    while left:
        scope, awaited = left.pop()
        for node in scope.nodes.values():
            if isinstance(node.work, Call | Human) and awaited:
                found[node.pointer] = tuple(each for n, each in enumerate(awaited) if each not in awaited[:n])
            left += [(inner, awaited + _caught(node, inner)) for inner in _scopes(node)]
    return found


def _caught(node: Node, inner: Scope) -> tuple[tuple[Outcome, Fault], ...]:
    """The one error that the literal members of ``catch.errors.with`` describe."""
    if not isinstance(node.work, Try) or inner is not node.work.scope:
        return ()
    wanted = {name: template.value for name, template in node.work.catch.errors if not template.holes}
    type_, status = wanted.get("type"), wanted.get("status")
    if not (isinstance(type_, str) or type(status) is int) or len(wanted) < len(node.work.catch.errors):
        return ()
    texts: dict[str, Any] = {n: wanted[n] for n in ("title", "detail") if isinstance(wanted.get(n), str)}
    kind = str(type_ or f"{SPEC}communication").replace(KIT, SPEC)
    code = status if type(status) is int else {f"{SPEC}timeout": 408, f"{SPEC}communication": 503}.get(kind, 409)
    doubtful = code == 408 or (code >= 500 and kind in (f"{SPEC}communication", f"{SPEC}runtime"))
    response = {"status": code, "headers": {}, "content": None} if kind == f"{SPEC}communication" else None
    outcome: Outcome = "timed_out" if kind == f"{SPEC}timeout" else "uncertain" if doubtful else "refused"
    return ((outcome, Fault(kind, code, **texts, response=response)),)


def _scopes(node: Node) -> Iterator[Scope]:
    match node.work:
        case Do(scope=scope) | For(scope=scope):
            yield scope
        case Fork(branches=branches):
            yield from branches
        case Try(scope=scope, catch=catch):
            yield scope
            if catch.scope is not None:
                yield catch.scope
        case Listen(scope=Scope() as scope):
            yield scope
    if node.compensate is not None:
        yield node.compensate.scope
