"""Looks through a plan: its scopes and nodes, and the expressions, schemas, functions and children in it.

The application uses this at deployment: it compiles each expression with the variables that exist where it stands,
checks each schema, and warns of functions and child definitions that it does not know.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from adapters.documents.positions import join
from domain.expressions import Expression
from domain.plan import (
    Call,
    Do,
    Duration,
    Emit,
    EventFilter,
    EventStream,
    For,
    Fork,
    Human,
    Listen,
    Node,
    Plan,
    Raise,
    Retry,
    Run,
    Schema,
    Scope,
    Set,
    Strategy,
    Switch,
    Template,
    Try,
    Wait,
)

Place = tuple[str, Expression, tuple[str, ...]]
VARIABLES = ("context", "input", "output", "outputs", "task", "workflow", "runtime")
"""Variables (without ``$``) that exist in every expression."""


def inner_scopes(node: Node) -> Iterator[tuple[str, Scope]]:
    """The scopes directly inside a node, each with its part: do, for, try, catch, foreach, branch, call, compensate."""
    work = node.work
    if isinstance(work, Do):
        yield ("do" if work.scope.pointer.endswith("/do") else "call"), work.scope
    elif isinstance(work, For):
        yield "for", work.scope
    elif isinstance(work, Fork):
        for branch in work.branches:
            yield "branch", branch
    elif isinstance(work, Try):
        yield "try", work.scope
        if work.catch.scope is not None:
            yield "catch", work.catch.scope
    elif isinstance(work, Listen) and work.scope is not None:
        yield "foreach", work.scope
    if node.compensate is not None:
        yield "compensate", node.compensate.scope


def scopes(plan: Plan) -> Iterator[Scope]:
    """Every scope of a plan, the outer ones first."""
    left = [plan.root]
    while left:
        scope = left.pop()
        yield scope
        for node in scope.nodes.values():
            left += [inner for _, inner in inner_scopes(node)]


def nodes_in(scope: Scope) -> Iterator[Node]:
    """Every node of a scope and of those inside it, in the order of the document."""
    left: list[Node] = list(reversed(scope.nodes.values()))
    while left:
        node = left.pop()
        yield node
        inner = [nested for _, found in inner_scopes(node) for nested in found.nodes.values()]
        left += reversed(inner)


def expressions_of(plan: Plan) -> list[Place]:
    """Every expression: where it stands, and the variables (without ``$``) that exist there."""
    found: list[Place] = []
    _data(plan, "", VARIABLES, found)
    _duration(plan.timeout, "/timeout/after", VARIABLES, found)
    for stream in plan.streams.values():
        _stream(stream, found)
    left: list[tuple[Scope, tuple[str, ...]]] = [(plan.root, VARIABLES)]
    while left:
        scope, names = left.pop()
        for node in scope.nodes.values():
            _data(node, node.pointer, names, found)
            _duration(node.timeout, join(node.pointer, "timeout", "after"), names, found)
            _work(node, names, found)
            if node.compensate and node.compensate.if_:
                found.append((join(node.pointer, "compensate", "if"), node.compensate.if_, (*names, "error")))
            left += [(inner, names + _added(node, part)) for part, inner in inner_scopes(node)]
    return found


def schemas_of(plan: Plan) -> list[tuple[str, Schema]]:
    """Every schema with its pointer."""
    owners: list[tuple[str, Any]] = [
        ("", plan),
        *((node.pointer, node) for scope in scopes(plan) for node in scope.nodes.values()),
    ]
    forms = [
        (join(node.pointer, "with", "form"), node.work.form)
        for node in plan.nodes.values()
        if isinstance(node.work, Human) and node.work.form is not None
    ]
    return forms + [
        (join(pointer, part, "schema"), schema)
        for pointer, owner in owners
        for part in ("input", "output", "export")
        if (schema := getattr(owner, f"{part}_schema", None)) is not None
    ]


def functions_of(plan: Plan) -> list[tuple[str, str]]:
    """(pointer, name) of every call of a function that the document does not define itself."""
    return [
        (node.pointer, node.work.function)
        for node in plan.nodes.values()
        if isinstance(node.work, Call) and node.work.kind == "function"
    ]


def connections_of(plan: Plan) -> list[tuple[str, str]]:
    """(pointer, name) of the connection of every ``call: sql``."""
    return [
        (join(node.pointer, "with", "connection"), node.work.with_.value["connection"])
        for node in plan.nodes.values()
        if isinstance(node.work, Call) and node.work.kind == "sql"
    ]


def children_of(plan: Plan) -> list[tuple[str, Run]]:
    """(pointer, run) of every child orchestration."""
    return [(node.pointer, node.work) for node in plan.nodes.values() if isinstance(node.work, Run)]


def _added(node: Node, part: str) -> tuple[str, ...]:
    work = node.work
    if part == "compensate":
        return ("error",)
    if isinstance(work, For):
        return (work.each, work.at)
    if isinstance(work, Listen):
        return (work.item, work.at)
    if isinstance(work, Try) and part == "catch":
        return (work.catch.as_,)
    return ()


def _data(owner: Any, pointer: str, names: tuple[str, ...], found: list[Place]) -> None:
    for slot, steps in _DATA_SLOTS:
        _template(getattr(owner, slot, None), join(pointer, *steps), names, found)
    condition = getattr(owner, "if_", None)
    if condition is not None:
        found.append((join(pointer, "if"), condition, names))


_DATA_SLOTS = (("input_from", ("input", "from")), ("output_as", ("output", "as")), ("export_as", ("export", "as")))


def _work(node: Node, names: tuple[str, ...], found: list[Place]) -> None:
    pointer = node.pointer
    match node.work:
        case Set(value=template):
            _template(template, join(pointer, "set"), names, found)
        case Raise(error=template):
            _template(template, join(pointer, "raise", "error"), names, found)
        case Emit(event=template):
            _template(template, join(pointer, "emit", "event", "with"), names, found)
        case Call(with_=template, retry=retry, callback=callback):
            late = ("secrets", "callback") if callback else ("secrets",)
            _template(template, join(pointer, "with"), (*names, *late), found)
            _retry(retry, join(pointer, "retry"), (*names, "error"), found)
        case Human(with_=template):
            _template(template, join(pointer, "with"), names, found)
        case Do(arguments=arguments):
            _template(arguments, join(pointer, "with"), names, found)
        case Run(input=template, retry=retry):
            _template(template, join(pointer, "run", "workflow", "input"), names, found)
            _retry(retry, join(pointer, "retry"), (*names, "error"), found)
        case Wait(duration=duration):
            _duration(duration, join(pointer, "wait"), names, found)
        case Switch(cases=cases):
            for index, case in enumerate(cases):
                _optional(case.when, join(pointer, "switch", index, case.name, "when"), names, found)
        case For(in_=in_, while_=while_) as loop:
            found.append((join(pointer, "for", "in"), in_, names))
            _optional(while_, join(pointer, "while"), (*names, loop.each, loop.at), found)
        case Try(catch=catch):
            caught = (*names, catch.as_)
            for name, template in catch.errors:
                _template(template, join(pointer, "catch", "errors", "with", name), names, found)
            _optional(catch.when, join(pointer, "catch", "when"), caught, found)
            _optional(catch.except_when, join(pointer, "catch", "exceptWhen"), caught, found)
            _retry(catch.retry, join(pointer, "catch", "retry"), caught, found)
        case Listen() as listen:
            each = (*names, listen.item, listen.at)
            _strategy(listen.to, join(pointer, "listen", "to"), names, found)
            _template(listen.foreach_output, join(pointer, "foreach", "output", "as"), each, found)
            _template(listen.foreach_export, join(pointer, "foreach", "export", "as"), each, found)


def _strategy(strategy: Strategy, pointer: str, names: tuple[str, ...], found: list[Place]) -> None:
    for index, entry in enumerate(strategy.filters):
        place = join(pointer, strategy.mode) if strategy.mode == "one" else join(pointer, strategy.mode, index)
        _filter(entry, place, names, found)
    _optional(strategy.until, join(pointer, "until"), names, found)
    if strategy.until_events is not None:
        _strategy(strategy.until_events, join(pointer, "until"), names, found)


def _filter(entry: EventFilter, pointer: str, names: tuple[str, ...], found: list[Place]) -> None:
    for name, value in entry.attributes:
        if isinstance(value, Expression):
            found.append((join(pointer, "with", name), value, names))
    for name, source, expected in entry.correlate:
        found.append((join(pointer, "correlate", name, "from"), source, names))
        _template(expected, join(pointer, "correlate", name, "expect"), names, found)


def _stream(stream: EventStream, found: list[Place]) -> None:
    """They are evaluated beside all tasks."""
    _filter(EventFilter(stream.attributes), stream.pointer, _OUTSIDE, found)
    _optional(stream.by, join(stream.pointer, "order", "by"), _OUTSIDE, found)
    _optional(stream.per, join(stream.pointer, "order", "per"), _OUTSIDE, found)


_OUTSIDE = ("context", "input", "outputs", "workflow", "runtime")


def _retry(retry: Retry | None, pointer: str, names: tuple[str, ...], found: list[Place]) -> None:
    if retry is None:
        return
    _optional(retry.when, join(pointer, "when"), names, found)
    _optional(retry.except_when, join(pointer, "exceptWhen"), names, found)
    durations = {
        ("delay",): retry.delay,
        ("jitter", "from"): retry.jitter_from,
        ("jitter", "to"): retry.jitter_to,
        ("limit", "duration"): retry.max_duration,
        ("limit", "attempt", "duration"): retry.attempt_timeout,
    }
    for steps, duration in durations.items():
        _duration(duration, join(pointer, *steps), names, found)


def _template(template: Template | None, pointer: str, names: tuple[str, ...], found: list[Place]) -> None:
    if template is not None:
        found += [(join(pointer, *hole.path), hole.expression, names) for hole in template.holes]


def _duration(duration: Duration | None, pointer: str, names: tuple[str, ...], found: list[Place]) -> None:
    if duration is not None:
        _optional(duration.expression, pointer, names, found)


def _optional(expression: Expression | None, pointer: str, names: tuple[str, ...], found: list[Place]) -> None:
    if expression is not None:
        found.append((pointer, expression, names))
