"""JSON Schema: violations with their places, schemas that are refused, and nothing that hangs or fetches."""

from __future__ import annotations

import time

import pytest

from adapters.expressions.quick_check import quick_check
from adapters.expressions.schemas import KEPT, VIOLATIONS, JsonSchemas

DRAFT = "https://json-schema.org/draft/2020-12/schema"


@pytest.fixture
def schemas():
    return JsonSchemas(budget_s=0.2)


def test_violations_point_into_the_value(schemas):
    schema = {
        "properties": {"a/b": {"items": {"type": "integer"}}, "~": {"const": 1}},
        "required": ["z"],
        "additionalProperties": False,
    }
    assert sorted(schemas.violations(schema, {"a/b": [1, "x"], "~": 2, "q": 0})) == [
        ("", "'q' is not expected here"),
        ("", "'z' is a required property"),
        ("/a~1b/1", "'x' is not of type 'integer'"),
        ("/~0", "1 was expected"),
    ]


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({}, 1),
        (True, None),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}}, "x"),
        ({"$id": "https://x.test/s", "$ref": "#a", "$defs": {"a": {"$anchor": "a"}}}, 1),
        ({"$schema": DRAFT, "format": "date"}, "no date, but format is an annotation"),
        ({"$ref": DRAFT}, {"type": "object"}),
        ({"uniqueItems": True}, [1, True, "1", [1], [True], {"a": 1}, {"a": True}]),
        ({"patternProperties": {"^x-": True}, "additionalProperties": {"type": "integer"}}, {"x-a": "any", "b": 1}),
        ({"additionalProperties": {"type": "integer"}, "properties": {"a": True}}, {"a": "any", "b": 1}),
    ],
)
def test_valid_values_have_no_violations(schemas, schema, value):
    assert schemas.check(schema) is None
    assert schemas.violations(schema, value) == []


@pytest.mark.parametrize(
    ("schema", "value", "pointer"),
    [
        ({"uniqueItems": True}, [1, 1.0], ""),
        ({"uniqueItems": True}, [{"a": [1, 2]}, {"a": [1, 2]}], ""),
        ({"patternProperties": {"^x-": {"type": "integer"}}}, {"x-a": "no"}, "/x-a"),
        ({"properties": {"a": {"pattern": "^[A-Z]+$"}}}, {"a": "low"}, "/a"),
        ({"unevaluatedProperties": False, "allOf": [{"properties": {"a": True}}]}, {"a": 1, "b": 2}, ""),
        ({"additionalProperties": {"type": "integer"}}, {"b": "no"}, "/b"),
        (False, 1, ""),
    ],
)
def test_invalid_values_have_one(schemas, schema, value, pointer):
    assert [where for where, _ in schemas.violations(schema, value)] == [pointer]


@pytest.mark.parametrize(
    ("schema", "complaint"),
    [
        (5, "a schema is an object, true or false"),
        ({"properties": {"a": {"type": "objct"}}}, "/properties/a/type"),
        (
            {"$ref": "http://x.test/a.json"},
            "$ref 'http://x.test/a.json' is not in this schema; nothing is fetched for it",
        ),
        ({"items": {"$ref": "other.json"}}, "$ref 'other.json' is not in this schema"),
        ({"allOf": [{"$dynamicRef": "#x"}]}, "$dynamicRef '#x' is not in this schema"),
        ({"$ref": "#/$defs/absent"}, "is not in this schema"),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, "is not supported; use " + DRAFT),
        ({"pattern": "("}, "'('"),
        ({"patternProperties": {"[": True}}, "'['"),
    ],
)
def test_a_schema_that_cannot_work_is_refused(schemas, schema, complaint):
    assert complaint in (schemas.check(schema) or "")


def test_a_member_named_like_a_keyword_is_no_reference(schemas):
    assert schemas.check({"properties": {"$ref": {"type": "string"}, "pattern": True}, "const": {"$ref": "x"}}) is None


def doubling():
    levels = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)}
    return {"$ref": "#/$defs/d0", "$defs": {**levels, "d40": {}}}


SLOW = "^(a|aa)+$"


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"pattern": SLOW}, "a" * 80 + "b"),
        ({"items": {"pattern": SLOW}}, ["a" * 80 + "b"] * 50),
        ({"patternProperties": {SLOW: True}}, {"a" * 80 + "b": 1}),
        ({"unevaluatedProperties": False, "patternProperties": {SLOW: True}}, {"a" * 80 + "b": 1}),
        (doubling(), 1),
    ],
)
def test_what_would_take_for_ever_ends_with_the_budget(schemas, schema, value):
    started = time.monotonic()
    assert schemas.violations(schema, value)[-1] == ("", "could not be validated within 0.2 s")
    assert time.monotonic() - started < 5


def test_a_deep_value_or_a_schema_that_refers_to_itself_is_a_violation(schemas):
    deep: list[object] = []
    for _ in range(5000):
        deep = [deep]
    told = ("", "is nested too deeply to be validated, or its schema is")
    assert schemas.violations({"items": {"$ref": "#"}}, deep) == [told]
    assert schemas.violations({"$ref": "#"}, 1) == [told]


def test_a_reference_elsewhere_is_never_followed(schemas, monkeypatch):
    monkeypatch.setattr("urllib.request.urlopen", lambda *_: pytest.fail("fetched"))
    [(where, detail)] = schemas.violations({"$ref": "http://x.test/a"}, 1)
    assert (where, "'http://x.test/a'" in detail) == ("", True)


def test_arithmetic_beyond_floats_is_a_violation(schemas):
    [(where, detail)] = schemas.violations({"multipleOf": 0.5}, 10**400)
    assert (where, detail.startswith("could not be validated")) == ("", True)


def test_reports_are_bounded(schemas):
    found = schemas.violations({"items": {"type": "string"}}, [{"a": "x" * 5000}] * 1000)
    assert len(found) == VIOLATIONS
    assert max(len(detail) for _, detail in found) < 320


def test_a_schema_is_compiled_once_and_not_for_ever(schemas):
    kept = [{"const": number, "type": "integer"} for number in range(KEPT + 100)]
    for number, schema in enumerate(kept):
        assert schemas.check(schema) is None
        assert schemas.violations(schema, number) == []
        assert schemas.violations(schema, number + 1) == [("", f"{number} was expected")]
    compiled = schemas._compiled.of(kept[-1])
    assert schemas._compiled.of(kept[-1]) is compiled
    assert schemas._compiled.of(dict(kept[-1])) is not compiled
    assert len(schemas._compiled._kept) == len(schemas._checked._kept) == KEPT


def test_equal_schemas_of_other_objects_are_not_mixed_up(schemas):
    for limit in range(2000):  # objects that come and go may get the identity of one before
        assert (schemas.violations({"maximum": limit}, 1000) == []) is (limit >= 1000)


def test_a_dollar_does_not_match_before_a_final_newline() -> None:
    schemas = JsonSchemas()
    schema = {"type": "string", "pattern": r"^[a$]+\$?b$"}
    assert schemas.violations(schema, "a$$b") == []
    assert schemas.violations(schema, "a$$b\n") != []


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"properties": {"a": {"$ref": "http://x.test/a"}}},
        {"pattern": "^(a+)+$"},
        {"patternProperties": {"^a": True}},
        {"uniqueItems": True},
        {"multipleOf": 0.1},
        {"enum": [1]},
        {"const": True},
        {"$id": "http://x.test/a"},
        {"$schema": "http://json-schema.org/draft-07/schema#"},
        {"$defs": {"a": True}},
        {"items": {"not": {}}},
        {"allOf": [{"unevaluatedProperties": False}]},
        {"type": "no type"},
    ],
)
def test_what_leaves_room_for_doubt_or_endless_work_is_not_checked_quickly(schema):
    assert quick_check(schema) is None


def test_a_schema_deeper_than_the_quick_check_looks_is_checked_all_the_same(schemas):
    schema: dict[str, object] = {"type": "string"}
    value: object = 1
    for _ in range(60):
        schema, value = {"items": schema}, [value]
    assert quick_check(schema) is None
    assert schemas.violations(schema, value) != []
