"""Warnings about plans: what is reported, where, and what is not."""

from __future__ import annotations

import textwrap

import pytest

from adapters.documents import read_definition

HEAD = "document: {dsl: 1.0.3, namespace: n, name: d, version: 1.0.0}\ndo:\n"


def warnings_of(text):
    definition = read_definition(HEAD + textwrap.dedent(text).strip("\n") + "\n", "application/yaml")
    return [(warning.code, warning.pointer, warning.line) for warning in definition.warnings]


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        ("- a: {set: {x: 1}, then: end}\n- b: {set: {x: 1}}", [("unreachable", "/do/1/b", 4)]),
        ("- a: {raise: {error: {type: 'http://a', status: 400}}}\n- b: {set: {x: 1}}", [("unreachable", "/do/1/b", 4)]),
        ("- a: {if: .x, raise: {error: {type: 'http://a', status: 400}}}\n- b: {set: {x: 1}}", []),
        ("- a: {if: .x, set: {x: 1}, then: end}\n- b: {set: {x: 1}}", []),
        ("- a: {switch: [{x: {when: .x, then: end}}]}\n- b: {set: {x: 1}}", []),
        ("- a: {switch: [{x: {then: end}}]}\n- b: {set: {x: 1}}", [("unreachable", "/do/1/b", 4)]),
        (
            "- a: {try: [], catch: {then: c}, then: end}\n- b: {wait: PT1S}\n- c: {wait: PT1S}",
            [("unreachable", "/do/1/b", 4)],
        ),
        ("- a: {do: [{b: {set: {x: 1}, then: exit}}, {c: {set: {x: 1}}}]}", [("unreachable", "/do/0/a/do/1/c", 3)]),
    ],
)
def test_unreachable_tasks(text, warnings):
    assert warnings_of(text) == warnings


@pytest.mark.parametrize(
    ("filter_", "warned"),
    [
        ("{type: paper}", False),
        ("{type: other}", True),
        ("{source: s}", False),
        ("{type: '${ . == \"paper\" }'}", False),
    ],
)
@pytest.mark.parametrize(
    "form", ["{to: {one: {with: F}}}", "{to: {any: [{with: {type: x}}], until: {one: {with: F}}}}"]
)
def test_a_stream_that_nobody_listens_to(filter_, warned, form):
    text = f"- a: {{listen: {form.replace('F', filter_)}}}\nstreams: {{papers: {{with: {{type: paper}}}}}}"
    assert warnings_of(text) == ([("unheard-stream", "/streams/papers", 4)] if warned else [])


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        ("- a: {set: {x: 1}, then: a}", [("endless-loop", "/do/0/a", 3)]),
        ("- z: {set: {x: 1}}\n- a: {set: {x: 1}}\n- b: {set: {x: 1}, then: a}", [("endless-loop", "/do/0/z", 3)]),
        ("- a: {do: [{b: {set: {x: 1}, then: b}}]}", [("endless-loop", "/do/0/a/do/0/b", 3)]),
        ("- a: {set: {x: 1}, then: a, if: .x}", []),
        ("- a: {switch: [{x: {when: .x, then: exit}}], then: a}", []),
        ("- a: {wait: PT1S, then: a}", []),
        ("- a: {call: f, then: a}", []),
        ("- a: {do: [{b: {wait: PT1S}}], then: a}", []),
        ("- a: {do: [{b: {set: {x: 1}}}], then: a}", [("endless-loop", "/do/0/a", 3)]),
    ],
)
def test_endless_loops(text, warnings):
    assert warnings_of(text) == warnings


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        ("- a: {call: f}\n- p: {call: g, pivot: true}", [("left-behind", "/do/0/a", 3)]),
        ("- a: {call: f, compensate: {call: u}}\n- p: {call: g, pivot: true}", []),
        ("- a: {call: http, with: {method: get, endpoint: 'http://a'}}\n- p: {call: g, pivot: true}", []),
        ("- p: {call: g, pivot: true}\n- a: {call: f}", []),
        ("- a: {do: [{b: {call: f}}]}\n- p: {call: g, pivot: true}", [("left-behind", "/do/0/a/do/0/b", 3)]),
        ("- a: {do: [{b: {call: f}}], compensate: {call: u}}\n- p: {call: g, pivot: true}", []),
        ("- a: {call: f}\n- b: {do: [{c: {call: f}}, {p: {call: g, pivot: true}}, {d: {call: f}}]}", [
            ("left-behind", "/do/0/a", 3), ("left-behind", "/do/1/b/do/0/c", 4)]),
        ("- a: {call: f}", []),
    ],
)  # fmt: skip
def test_effects_before_a_pivot(text, warnings):
    assert warnings_of(text) == warnings


def test_a_definition_that_starts_itself():
    text = """
        - a: {run: {workflow: {namespace: n, name: d, version: latest}}}
        - b: {run: {workflow: {namespace: m, name: d}}}
    """
    assert warnings_of(text) == [("own-child", "/do/0/a/run/workflow", 3)]
