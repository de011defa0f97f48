"""Tasks and task lists: which keyword makes a task what it is, what surrounds every task, the edges between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from adapters.documents import calls, composites, events
from adapters.documents.compilation import MAX_NESTING, Compilation, Siblings, Surroundings, Task
from adapters.documents.data import expression, schema, transformation
from adapters.documents.positions import escape
from adapters.documents.reader import Cursor
from domain.plan import EXIT, Compensation, Node, Scope, Work

_AROUND = frozenset({"if", "input", "output", "export", "timeout", "then", "metadata", "compensate", "pivot"})
_KINDS: dict[str, frozenset[str]] = {
    "call": frozenset({"call", "with", "retry", "idempotent", "callback"}),
    "for": frozenset({"for", "while", "do", "parallel"}),
    "do": frozenset({"do"}),
    "emit": frozenset({"emit"}),
    "fork": frozenset({"fork", "parallel"}),
    "listen": frozenset({"listen", "foreach"}),
    "raise": frozenset({"raise"}),
    "run": frozenset({"run", "retry"}),
    "set": frozenset({"set"}),
    "switch": frozenset({"switch"}),
    "try": frozenset({"try", "catch"}),
    "wait": frozenset({"wait"}),
}
_ALLOWED = {kind: _AROUND | own for kind, own in _KINDS.items()}
_OF_UNDO = {kind: (allowed - {"then"}) | {"after"} for kind, allowed in _ALLOWED.items()}
_WORK: dict[str, Callable[[Task], Work]] = {
    "call": calls.call,
    "run": calls.run,
    "emit": events.emit,
    "listen": events.listen,
    "do": composites.do,
    "for": composites.loop,
    "fork": composites.fork,
    "set": composites.assign,
    "switch": composites.switch,
    "raise": composites.throw,
    "try": composites.guarded,
    "wait": composites.wait,
}


def task_list(cursor: Cursor, around: Surroundings, making: Compilation) -> Scope:
    """A list of named tasks: a chain, unless `then` leads elsewhere."""
    address = around.at(cursor.pointer)
    if around.depth > MAX_NESTING:
        cursor.refuse(f"tasks nest more than {MAX_NESTING} levels deep", "too-deep")
        return Scope(address, {}, None)
    entries = list(cursor.named_items())
    places = [around.at(entry.pointer) for _, entry in entries]
    siblings = {name: place for (name, _), place in reversed(list(zip(entries, places, strict=True)))}
    nodes: dict[str, Node] = {}
    for (name, entry), place, following in zip(entries, places, [*places, EXIT][1:], strict=True):
        node = task(entry, name, around, making, Siblings(siblings, following))
        if node is not None:
            nodes[place] = node
    return Scope(address, nodes, places[0] if places else None)


def single(cursor: Cursor, name: str, around: Surroundings, making: Compilation) -> Scope:
    """A scope with one task: a branch, or a function."""
    place = around.at(cursor.pointer)
    address = place[: -len(escape(name)) - 1]
    if around.depth > MAX_NESTING:
        cursor.refuse(f"tasks nest more than {MAX_NESTING} levels deep", "too-deep")
        return Scope(address, {}, None)
    node = task(cursor, name, around, making, Siblings())
    return Scope(address, {place: node} if node else {}, place)


def task(
    cursor: Cursor, name: str, around: Surroundings, making: Compilation, siblings: Siblings | None = None
) -> Node | None:
    """One task with everything around it; None after a problem that leaves nothing to compile.

    Without siblings it is the task of a compensation: undoing says nothing about where the flow goes on.
    """
    making.count()
    kind = _kind(cursor)
    if kind is None:
        return None
    allowed = (_OF_UNDO if siblings is None else _ALLOWED)[kind]
    members = cursor.members(allowed)
    if "metadata" in members:
        members["metadata"].is_object()
    goes_on = siblings or Siblings()
    return Node(
        pointer=around.at(cursor.pointer),
        name=name,
        work=_WORK[kind](Task(cursor, members, around, making, goes_on)),
        then=goes_on.directive(members["then"], around) if "then" in members else goes_on.next,
        if_=expression(members["if"]) if "if" in members and siblings is not None else None,
        skip_to=goes_on.next if "if" in members and "then" in members else None,
        timeout=making.use.timeout(members["timeout"]) if "timeout" in members else None,
        compensate=_compensation(members["compensate"], around, making) if "compensate" in members else None,
        pivot=_pivot(members["pivot"], around) if "pivot" in members else False,
        **_data(members),
    )


def data_flow(members: dict[str, Cursor], *parts: str) -> dict[str, Any]:
    """`input`, `output` and `export` of a task or of the whole definition, as fields of Node and Plan."""
    made: dict[str, Any] = {}
    for part in parts:
        if part not in members:
            continue
        verb = "from" if part == "input" else "as"
        found = members[part].members(("schema", verb))
        if "schema" in found:
            made[f"{part}_schema"] = schema(found["schema"])
        if verb in found:
            made[f"{part}_{verb}"] = transformation(found[verb])
    return made


def _data(members: dict[str, Cursor]) -> dict[str, Any]:
    if "input" in members or "output" in members or "export" in members:
        return data_flow(members, "input", "output", "export")
    return {}


def _kind(cursor: Cursor) -> str | None:
    if not cursor.is_object():
        return None
    kinds = [kind for kind in _KINDS if kind in cursor.value]
    if "for" in kinds and "do" in kinds:
        kinds.remove("do")
    if len(kinds) == 1:
        return kinds[0]
    if kinds:
        cursor.refuse(f"a task is one thing; here are {', '.join(kinds)}", "ambiguous-task")
        return None
    cursor.refuse(f"nothing says what this task does; expected one of {', '.join(sorted(_KINDS))}", "missing")
    for name in cursor.value:
        if name not in _AROUND:
            cursor.step(name).refuse(f"unknown keyword {name!r}", "unknown-keyword")
    return None


def _pivot(cursor: Cursor, around: Surroundings) -> bool:
    pivot = cursor.flag()
    if pivot and around.within:
        cursor.refuse(f"a pivot cannot be inside {around.within}", "misplaced-pivot")
    return pivot


def _compensation(cursor: Cursor, around: Surroundings, making: Compilation) -> Compensation | None:
    if around.undo:
        cursor.refuse("a compensation has no compensate of its own", "nested-compensate")
        return None
    if not cursor.is_object():
        return None
    inner = around.undoing()
    made: dict[str, Any] = {}
    if "after" in cursor.value:
        made["after"] = cursor.step("after").choice("completed", "uncertain", "attempted")
    if "if" in cursor.value:
        made["if_"] = expression(cursor.step("if"))
    address = around.at(cursor.pointer)
    node = task(cursor, "compensate", inner, making)
    return Compensation(Scope(address, {address: node} if node else {}, address), **made)
