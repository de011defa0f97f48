"""Diagrams: valid, complete, and safe with any name."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

from adapters.documents import compile_plan, read_definition
from adapters.documents.mermaid import mermaid
from adapters.documents.svg import svg

TEXT = """
document: {dsl: 1.0.3, namespace: n, name: d, version: 1.0.0}
do:
- a: {call: f, compensate: {call: u}}
- s: {switch: [{yes: {when: .x, then: p}}, {no: {then: end}}]}
- t: {try: [{i: {fork: {branches: [{b1: {wait: PT1S}}, {b2: {set: {x: 1}}}]}}}], catch: {do: [{h: {call: f}}], then: a}}
- p: {call: g, pivot: true, then: a}
"""
SVG = "{http://www.w3.org/2000/svg}"


def plan_named(name):
    document = {"dsl": "1.0.3", "namespace": "n", "name": "d", "version": "1.0.0"}
    return compile_plan({"document": document, "do": [{name: {"wait": "PT1S"}}]}, "sha256:0")[0]


def test_the_mermaid_text_of_a_plan():
    plan = read_definition(TEXT, "application/yaml").plan
    assert mermaid(plan).splitlines() == [
        "flowchart TD",
        "  start((start))",
        "  finish((end))",
        '  n0["a (call)"]',
        '  subgraph n0_0["a: compensate"]',
        '    n1["compensate (call)"]',
        "  end",
        '  n2{"s (switch)"}',
        '  n4["t (try)"]',
        '  subgraph n4_0["t: try"]',
        '    n5["i (fork)"]',
        '    subgraph n5_0["i: branch"]',
        '      n6(["b1 (wait)"])',
        "    end",
        '    subgraph n5_1["i: branch"]',
        '      n7["b2 (set)"]',
        "    end",
        "  end",
        '  subgraph n4_1["t: catch"]',
        '    n8["h (call)"]',
        "  end",
        '  n3["p (call, pivot)"]',
        "  start --> n0",
        "  n0 -. compensate .-> n1",
        "  n0 --> n2",
        '  n2 -->|"yes"| n3',
        '  n2 -->|"no"| finish',
        "  n5 --o|branch| n6",
        "  n5 --o|branch| n7",
        "  n4 --o|try| n5",
        "  n4 -. catch .-> n8",
        "  n4 -->|caught| n0",
        "  n4 --> n3",
        "  n3 --> n0",
        "  classDef pivot stroke-width:4px",
        "  class n3 pivot",
    ]


def test_names_cannot_break_out_of_mermaid():
    text = mermaid(plan_named('x"]\n  y["<b>#'))
    assert '  n0(["x#34;]#10;  y[#34;#60;b#62;#35; (wait)"])' in text.splitlines()


def test_the_svg_shows_every_task_and_scope():
    plan = read_definition(TEXT, "application/yaml").plan
    root: Any = ET.fromstring(svg(plan))
    texts = [element.text for element in root.iter(SVG + "text")]
    assert {"a (call)", "p (call, pivot)", "b1 (wait)", "i: branch", "a: compensate", "n/d@1.0.0"} <= set(texts)
    boxes = [element for element in root.iter(SVG + "rect") if element.get("class").startswith("box")]
    assert len(boxes) == len(plan.nodes)
    assert sum("pivot" in box.get("class").split() for box in boxes) == 1
    assert sum("compensate" in frame.get("class") for frame in root.iter(SVG + "rect")) == 1


def test_boxes_lie_inside_the_picture_and_do_not_overlap():
    root: Any = ET.fromstring(svg(read_definition(TEXT, "application/yaml").plan))
    width, height = float(root.get("width")), float(root.get("height"))
    boxes = [
        tuple(float(element.get(name)) for name in ("x", "y", "width", "height"))
        for element in root.iter(SVG + "rect")
        if element.get("class").startswith("box")
    ]
    for x, y, w, h in boxes:
        assert x >= 0
        assert y >= 0
        assert x + w <= width
        assert y + h <= height
    for number, (x, y, w, h) in enumerate(boxes):
        for x2, y2, w2, h2 in boxes[number + 1 :]:
            assert x + w <= x2 or x2 + w2 <= x or y + h <= y2 or y2 + h2 <= y


def test_names_are_escaped_in_svg():
    root: Any = ET.fromstring(svg(plan_named("<script>&\x00\"'")))
    texts = [element.text for element in root.iter(SVG + "text")]
    assert "<script>&\N{REPLACEMENT CHARACTER}\"' (wait)" in texts


def test_an_empty_plan_can_be_drawn():
    document = {"dsl": "1.0.3", "namespace": "n", "name": "d", "version": "1.0.0"}
    plan = compile_plan({"document": document, "do": []}, "sha256:0")[0]
    assert "  start --> finish" in mermaid(plan).splitlines()
    assert ET.fromstring(svg(plan)).tag == SVG + "svg"


def test_what_runs_side_by_side_says_how():
    fork = {"fork": {"branches": [{"b": {"wait": "PT1S"}}, {"c": {"wait": "PT1S"}}]}}
    turns = {"for": {"in": ".x"}, "do": []}
    tasks = [
        {"e": {**turns, "parallel": {"limit": 5, "completion": {"at_least": 3}, "tolerate": 1}}},
        {"f": {**turns, "parallel": {"tolerate": "all"}}},
        {"g": {**fork, "parallel": {"completion": "first"}}},
    ]
    document = {"dsl": "1.0.3", "namespace": "n", "name": "d", "version": "1.0.0"}
    plan = compile_plan({"document": document, "do": tasks}, "sha256:0")[0]
    for label in (
        "e (for, 5 at once, at least 3, 1 may fail)",
        "f (for, parallel, all may fail)",
        "g (fork, parallel, first)",
    ):
        assert label in mermaid(plan)
        assert label in svg(plan)
