"""Whatever is sent as a definition compiles, or is refused with problems that have a place; nothing else happens."""

from __future__ import annotations

import copy
import json
from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from adapters.documents import compile_plan, digest, expressions_of, load, read_definition, schemas_of
from adapters.documents.mermaid import mermaid
from adapters.documents.svg import svg
from domain.errors import InvalidDefinitionError
from domain.plan import END, EXIT

HEAD = {"dsl": "1.0.3", "namespace": "n", "name": "d", "version": "1.0.0"}
CALL = {"call": "http", "with": {"method": "get", "endpoint": {"uri": "http://a/{b}", "authentication": {"use": "me"}}}}
DOCUMENT = {
    "document": HEAD,
    "input": {"schema": {"format": "json", "document": {"type": "object"}}, "from": ".x"},
    "use": {
        "secrets": ["s"],
        "authentications": {"me": {"oauth2": {"authority": "http://a", "grant": "password", "client": {"id": "x"}}}},
        "retries": {"often": {"delay": {"seconds": 1}, "backoff": {"exponential": {"factor": 2}},
                              "jitter": {"from": "PT1S", "to": "PT2S"}}},
        "timeouts": {"soon": {"after": "PT1S"}},
        "errors": {"gone": {"type": "http://a/gone", "status": 410}},
        "functions": {"f": {"call": "g", "with": {"a": "${ .b }"}}, "h": {"do": [{"x": {"call": "f"}}]}},
    },
    "timeout": "soon",
    "evaluate": {"language": "jq", "mode": "strict"},
    "resource": {"path": "things", "labels": {"running": "Busy"}},
    "compensation": {"order": "reverse", "retry": "often"},
    "do": [
        {"a": {**CALL, "retry": "often", "timeout": "soon", "if": ".x", "then": "c",
               "compensate": {"after": "completed", **CALL}}},
        {"b": {"call": "h", "with": {"a": 1}, "output": {"as": "."}, "export": {"as": {"x": "${ .y }"}}}},
        {"c": {"switch": [{"x": {"when": ".x", "then": "b"}}, {"y": {"then": "continue"}}]}},
        {"d": {"fork": {"compete": True, "branches": [{"p": {"wait": "PT1S"}}, {"q": {"raise": {"error": "gone"}}}]}}},
        {"k": {"for": {"in": ".x"}, "parallel": {"limit": 2, "completion": {"at_least": 2}, "tolerate": "all"}, "do": []}},
        {"e": {"for": {"in": ".x", "each": "y"}, "while": ".z", "do": [{"r": {"set": {"a": "${ $y }"}}}]}},
        {"g": {"try": [{"s": {"run": {"workflow": {"namespace": "n", "name": "d"}}}}],
               "catch": {"errors": {"with": {"status": 503}}, "as": "e", "retry": "often", "compensate": True,
                         "do": [{"t": {"emit": {"event": {"with": {"source": "http://a", "type": "t"}}}}}]}}},
        {"i": {"listen": {"to": {"any": [{"with": {"type": "t"}, "correlate": {"k": {"from": ".id"}}}], "until": ".x"}},
               "foreach": {"item": "e", "do": [{"u": {"set": "${ $e }"}}]}}},
        {"j": {"call": "openapi", "with": {"document": {"endpoint": "http://a"}, "operationId": "o"}, "pivot": True}},
    ],
}  # fmt: skip

WORDS = st.sampled_from([
    "do", "for", "call", "http", "with", "use", "then", "end", "exit", "continue", "a", "b", "f", "h", "compensate",
    "pivot", "if", "after", "retry", "often", "P1Y", "PT5S", "${ .x }", "${ }", "${", "$secrets.s", "${ $secrets.s }",
    "", "/", "~1", "catch", "schedule", "callback", "grpc", "container", "0", "-1", "\x00", "\ud800",
])  # fmt: skip
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.text(max_size=5)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)


def places(value, path=()):
    yield path
    if isinstance(value, dict):
        for name, member in value.items():
            yield from places(member, (*path, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from places(item, (*path, index))


PLACES = [path for path in places(DOCUMENT) if path]


def at(value, path):
    for step in path:
        value = value[step]
    return value


@st.composite
def mutated(draw):
    """The document with one to three changes: a value replaced, removed, added, or moved from elsewhere."""
    document = copy.deepcopy(DOCUMENT)
    for _ in range(draw(st.integers(1, 3))):
        paths = [path for path in places(document) if path]
        if not paths:
            break
        *parents, last = draw(st.sampled_from(paths))
        parent = at(document, parents)
        match draw(st.sampled_from(["replace", "remove", "add", "move", "rename"])):
            case "replace":
                parent[last] = draw(VALUES)
            case "remove":
                del parent[last]
            case "move":
                parent[last] = copy.deepcopy(at(DOCUMENT, draw(st.sampled_from(PLACES))))
            case "add" if isinstance(parent, dict):
                parent[draw(WORDS)] = draw(VALUES)
            case "rename" if isinstance(parent, dict):
                parent[draw(WORDS)] = parent.pop(last)
            case _:
                parent[last] = draw(SCALARS)
    return document


def problems_of(work, *arguments):
    """The problems of a refusal, or None."""
    try:
        work(*arguments)
    except InvalidDefinitionError as error:
        return error.problems
    return None


def check_plan(plan):
    for node in plan.nodes.values():
        assert node.then in (EXIT, END) or node.then in plan.nodes
    for pointer, expression, names in expressions_of(plan):
        assert pointer.startswith("/")
        assert expression.program
        assert len(names) >= 7
    schemas_of(plan)
    assert mermaid(plan).startswith("flowchart")
    ET.fromstring(svg(plan))


def test_the_document_that_is_mutated_compiles():
    plan, warnings = compile_plan(DOCUMENT, digest(DOCUMENT))
    check_plan(plan)
    assert {warning.code for warning in warnings} == {"own-child", "left-behind"}


@given(mutated())
def test_a_mutated_document_compiles_or_is_refused(document):
    problems = problems_of(lambda: check_plan(compile_plan(document, "sha256:0")[0]))
    assert problems is None or problems
    assert all(problem.pointer == "" or problem.pointer.startswith("/") for problem in problems or ())


@given(mutated(), st.sampled_from(["application/json", "application/yaml"]))
def test_a_mutated_text_compiles_or_is_refused_with_line_and_column(document, media_type):
    problems = problems_of(read_definition, json.dumps(document, indent=1), media_type)
    assert problems is None or problems
    assert all(problem.line >= 1 and problem.column >= 1 for problem in problems or ())


@given(st.data(), st.sampled_from(["application/json", "application/yaml"]))
def test_a_damaged_text_compiles_or_is_refused(data, media_type):
    text = json.dumps(DOCUMENT)
    start = data.draw(st.integers(0, len(text)))
    damage = data.draw(st.text(alphabet='{}[],:"\\&*!<-#\n\t 1aé\x00', max_size=4))
    damaged = text[:start] + damage + text[start + data.draw(st.integers(0, 3)) :]
    problems = problems_of(read_definition, damaged, media_type)
    assert problems is None or problems
    assert all(problem.line >= 1 and problem.column >= 1 for problem in problems or ())


@given(st.binary(max_size=60) | st.text(max_size=60), st.sampled_from(["application/json", "application/yaml"]))
def test_any_text_is_data_or_refused(content, media_type):
    problems = problems_of(load, content, media_type)
    assert problems is None or problems


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON, st.sampled_from([None, 0, 1, "\t"]), st.booleans())
def test_json_means_what_the_standard_library_says(value, indent, ascii_only):
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    source = load(text, "application/json")
    assert source.value == json.loads(text)
    lines = text.split("\n")
    for path in places(source.value):
        line, column = source.position("".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path))
        assert 1 <= line <= len(lines)
        assert 1 <= column <= len(lines[line - 1])
