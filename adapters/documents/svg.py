"""Draws a plan as SVG without any other program: boxes from top to bottom, scopes as frames, arrows for what is not
in line.

The layout is a column per scope: a node is a box, its inner scopes stand below it side by side inside a frame (the
branches of a fork, the body and the catch of a try, a compensation dashed). The step to the next box in line is a
straight arrow; any other edge runs along the right side of its scope and is labelled.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise
from xml.sax.saxutils import escape

from adapters.documents.checks import targets
from adapters.documents.inspection import inner_scopes
from adapters.documents.mermaid import label
from domain.plan import END, EXIT, Node, Plan, Scope, Switch

_BOX_HEIGHT = 34
_GAP = 26
_PAD = 14
_TITLE = 18
_CHAR = 7.2
_LANE = 12
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_STYLE = (
    "text{font:12px sans-serif;fill:#1c2733}.box{fill:#eef4fb;stroke:#3c6fa8}.switch{fill:#fff6df;stroke:#b98a1c}"
    ".pivot{stroke:#b3261e;stroke-width:4}.frame{fill:none;stroke:#9aa7b5}.compensate{stroke-dasharray:5 4}"
    ".compensate{stroke:#b3261e}.edge{fill:none;stroke:#50606f}.title{fill:#5d6b79;font-size:11px}"
)


@dataclass
class _Block:
    """A node with its inner scopes, or a scope with its nodes: its size, then what is drawn relative to its corner."""

    width: float
    height: float
    node: Node | None = None
    title: str = ""
    kind: str = ""
    parts: list[tuple[float, float, _Block]] = field(default_factory=list)
    scope: Scope | None = None


def svg(plan: Plan) -> str:
    """An SVG document of a plan."""
    root = _scope_block(plan.root, plan.reference, "root")
    width, height = root.width + 2 * _PAD, root.height + 2 * _PAD
    shapes: list[str] = []
    _draw(root, _PAD, _PAD, shapes)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img"><title>{_text(plan.reference)}</title>'
        f"<style>{_STYLE}</style>"
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0L8 4L0 8z" fill="#50606f"/></marker></defs>{"".join(shapes)}</svg>\n'
    )


def _node_block(node: Node) -> _Block:
    text = label(node)
    width, height = max(90.0, len(text) * _CHAR + 20), float(_BOX_HEIGHT)
    inner = [_scope_block(scope, f"{node.name}: {part}", part) for part, scope in inner_scopes(node)]
    block = _Block(width, height, node, text)
    offset = 0.0
    for part in inner:
        block.parts.append((offset, _BOX_HEIGHT + 10, part))
        offset += part.width + _PAD
        block.height = max(block.height, _BOX_HEIGHT + 10 + part.height)
    block.width = max(width, offset - _PAD)
    return block


def _scope_block(scope: Scope, title: str, kind: str) -> _Block:
    block = _Block(0, _TITLE + _PAD, None, title, kind, [], scope)
    widest = len(title) * _CHAR
    for node in scope.nodes.values():
        part = _node_block(node)
        block.parts.append((_PAD, block.height, part))
        block.height += part.height + _GAP
        widest = max(widest, part.width)
    lanes = len(_jumps(scope))
    block.width = widest + 2 * _PAD + (lanes * _LANE + 40 if lanes else 0)
    return block


def _jumps(scope: Scope) -> list[tuple[str, str, str]]:
    """Edges that do not lead to the next box in line: (from, to, label)."""
    pointers = list(scope.nodes)
    following = dict(zip(pointers, [*pointers, EXIT][1:], strict=True))
    found: list[tuple[str, str, str]] = []
    for pointer, node in scope.nodes.items():
        names = {case.then: case.name for case in node.work.cases} if isinstance(node.work, Switch) else {}
        found += [
            (pointer, target, names.get(target, target if target in (END, EXIT) else ""))
            for target in dict.fromkeys(targets(node))
            if target != following[pointer]
        ]
    return found


def _draw(block: _Block, x: float, y: float, shapes: list[str]) -> None:
    if block.node is not None:
        classes = " ".join(["box", block.node.kind, *(["pivot"] if block.node.pivot else [])])
        width = max(90.0, len(block.title) * _CHAR + 20)
        shapes.append(
            f'<rect class="{classes}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{_BOX_HEIGHT}" rx="6"/>'
        )
        shapes.append(f'<text x="{x + 10:.1f}" y="{y + 21:.1f}">{_text(block.title)}</text>')
    else:
        shapes.append(
            f'<rect class="frame {block.kind}" x="{x:.1f}" y="{y:.1f}" width="{block.width:.1f}" '
            f'height="{block.height:.1f}" rx="8"/>'
            f'<text class="title" x="{x + 8:.1f}" y="{y + 14:.1f}">{_text(block.title)}</text>'
        )
    for left, top, part in block.parts:
        _draw(part, x + left, y + top, shapes)
    if block.scope is not None:
        _draw_edges(block, block.scope, x, y, shapes)


def _draw_edges(block: _Block, scope: Scope, x: float, y: float, shapes: list[str]) -> None:
    tops = {part.node.pointer: (y + top, part) for _, top, part in block.parts if part.node is not None}
    pointers = list(scope.nodes)
    for pointer, following in pairwise(pointers):
        if following in targets(scope.nodes[pointer]):
            top, part = tops[pointer]
            shapes.append(_line(f"M{x + _PAD + 20:.1f} {top + part.height:.1f}V{tops[following][0]:.1f}"))
    for number, (source, target, name) in enumerate(_jumps(scope)):
        top, part = tops[source]
        lane = x + block.width - 40 - (number + 1) * _LANE
        start, right = top + _BOX_HEIGHT / 2, x + _PAD + max(90.0, len(part.title) * _CHAR + 20)
        bottom = y + block.height - 6
        if target in tops:
            goal_top, goal = tops[target]
            end, goal_right = goal_top + 6, x + _PAD + max(90.0, len(goal.title) * _CHAR + 20)
            shapes.append(_line(f"M{right:.1f} {start:.1f}H{lane:.1f}V{end:.1f}H{goal_right:.1f}"))
        else:
            shapes.append(_line(f"M{right:.1f} {start:.1f}H{lane:.1f}V{bottom:.1f}"))
        if name:
            shapes.append(f'<text class="title" x="{lane + 3:.1f}" y="{start - 3:.1f}">{_text(name)}</text>')


def _line(path: str) -> str:
    return f'<path class="edge" marker-end="url(#tip)" d="{path}"/>'


def _text(text: str) -> str:
    return escape(_NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text))
