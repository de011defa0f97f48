"""Draws a plan as a Mermaid flowchart.

Scopes are subgraphs, compensations hang on dotted edges, the pivot has a thick border.
"""

from __future__ import annotations

from adapters.documents.checks import targets
from adapters.documents.inspection import inner_scopes
from domain.plan import END, EXIT, For, Fork, Node, Parallel, Plan, Scope, Switch, Try

_SHAPES = {"switch": ("{", "}"), "wait": ("([", "])"), "listen": ("([", "])"), "raise": ("[/", "/]")}


def mermaid(plan: Plan) -> str:
    """Mermaid text of a plan."""
    return _Chart(plan).text()


def label(node: Node) -> str:
    """What a node is called in a picture: its name and kind, and what is special about it."""
    marks = [node.kind]
    if node.if_ is not None:
        marks.append("if")
    if node.pivot:
        marks.append("pivot")
    if isinstance(node.work, For | Fork) and node.work.parallel is not None:
        marks += _side_by_side(node.work.parallel)
    return f"{node.name} ({', '.join(marks)})"


def _side_by_side(parallel: Parallel) -> list[str]:
    marks = ["parallel" if parallel.limit is None else f"{parallel.limit} at once"]
    if parallel.need is not None:
        marks.append("first" if parallel.alone else f"at least {parallel.need}")
    if parallel.tolerate:
        marks.append(f"{parallel.tolerate} may fail")
    elif parallel.tolerate is None and parallel.need is None:
        marks.append("all may fail")
    return marks


class _Chart:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._ids: dict[str, str] = {}
        self._lines = ["flowchart TD", "  start((start))", "  finish((end))"]
        self._edges: list[str] = []
        self._pivots: list[str] = []

    def text(self) -> str:
        root = self._plan.root
        self._scope(root, "finish", 1)
        self._edges.insert(0, f"  start --> {self._entry(root) or 'finish'}")
        lines = [*self._lines, *self._edges, "  classDef pivot stroke-width:4px"]
        if self._pivots:
            lines.append(f"  class {','.join(self._pivots)} pivot")
        return "\n".join(lines) + "\n"

    def _id(self, pointer: str) -> str:
        return self._ids.setdefault(pointer, f"n{len(self._ids)}")

    def _entry(self, scope: Scope) -> str | None:
        return self._id(scope.start) if scope.start in scope.nodes else None

    def _scope(self, scope: Scope, way_out: str | None, depth: int) -> None:
        for pointer, node in scope.nodes.items():
            self._node(pointer, node, depth)
            for target, text in _edges(node):
                goal = way_out if target == EXIT else "finish" if target == END else self._id(target)
                if goal is not None:
                    self._edges.append(f"  {self._id(pointer)} -->{text} {goal}")

    def _node(self, pointer: str, node: Node, depth: int) -> None:
        name, indent = self._id(pointer), "  " * depth
        before, after = _SHAPES.get(node.kind, ("[", "]"))
        self._lines.append(f'{indent}{name}{before}"{_quoted(label(node))}"{after}')
        if node.pivot:
            self._pivots.append(name)
        for number, (part, scope) in enumerate(inner_scopes(node)):
            self._lines.append(f'{indent}subgraph {name}_{number}["{_quoted(f"{node.name}: {part}")}"]')
            self._scope(scope, None, depth + 1)
            self._lines.append(f"{indent}end")
            entry = self._entry(scope)
            if entry is not None:
                arrow = f"-. {part} .->" if part in ("compensate", "catch") else f"--o|{part}|"
                self._edges.append(f"  {name} {arrow} {entry}")


def _edges(node: Node) -> list[tuple[str, str]]:
    work = node.work
    named: list[tuple[str, str]] = []
    if isinstance(work, Switch):
        named = [(case.then, f'|"{_quoted(case.name)}"|') for case in work.cases]
    elif isinstance(work, Try) and work.catch.then is not None:
        named = [(work.catch.then, "|caught|")]
    known = {target for target, _ in named}
    return named + [(target, "") for target in dict.fromkeys(targets(node)) if target not in known]


def _quoted(text: str) -> str:
    return "".join(f"#{ord(char)};" if char in '"#<>&`\\' or not char.isprintable() else char for char in text)
