"""Values made up from schemas are valid, small, and always the same; no schema takes long."""

from __future__ import annotations

import pytest

from adapters.expressions.schemas import JsonSchemas
from application.samples import sample

SCHEMAS = [
    {"type": "string"},
    {"type": "string", "minLength": 9, "maxLength": 12},
    {"type": "string", "maxLength": 2},
    {"type": "string", "format": "date-time"},
    {"type": "string", "pattern": r"^PT[0-9]+[SMH]$"},
    {"type": "string", "pattern": r"^[^@\s]+@[^@\s.]+(\.[^@\s.]+)+$"},
    {"type": "string", "pattern": "^[0-9]{5}$"},
    {"type": "string", "pattern": "^[A-Z]{3}$"},
    {"type": "integer", "minimum": 5},
    {"type": "integer", "maximum": -3},
    {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.5, "multipleOf": 0.25},
    {"type": "integer", "minimum": 7, "multipleOf": 5},
    {"type": "boolean"},
    {"type": "null"},
    {"type": ["null", "integer"]},
    {"const": {"a": 1}},
    {"enum": ["x", "y"]},
    {"type": "string", "default": "d"},
    {"type": "string", "examples": ["e"]},
    {"type": "array", "items": {"type": "integer"}, "minItems": 3},
    {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "minItems": 2},
    {
        "type": "object",
        "required": ["a"],
        "properties": {"a": {"type": "object", "required": ["b"], "properties": {"b": {"enum": [3]}}}},
    },
    {"allOf": [{"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}, {"required": ["b"]}]},
    {"oneOf": [{"type": "string"}, {"type": "integer"}]},
    {"$ref": "#/$defs/city", "$defs": {"city": {"type": "string", "minLength": 1}}},
    {"properties": {"a": {"type": "string"}}},
    {},
]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_a_sample_is_valid(schema):
    assert JsonSchemas().violations(schema, sample(schema)) == []
    assert sample(schema) == sample(schema)


@pytest.mark.parametrize(
    "schema",
    [
        {
            "type": "object",
            "required": [*map(str, range(50))],
            "properties": {str(n): {"$ref": "#"} for n in range(50)},
        },
        {"allOf": [{"$ref": "#"}] * 30},
        {
            "type": "array",
            "minItems": 10**9,
            "items": {"type": "array", "minItems": 10**9, "items": {"type": "string"}},
        },
        {"type": "string", "minLength": 10**12},
        {"type": "string", "pattern": "(a+)+$("},
        {"type": "object", "required": 5, "properties": []},
        {"$ref": "https://elsewhere.test/x"},
        {"$ref": "#/nowhere"},
        True,
        None,
    ],
)
def test_a_schema_that_asks_for_too_much_is_no_danger(schema):
    sample(schema)
