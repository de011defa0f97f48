"""The quick check of schemas and the one that explains agree on every value, for every schema that the quick one takes."""

from __future__ import annotations

from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from adapters.expressions.quick_check import quick_check
from adapters.expressions.schemas import JsonSchemas

NAMES = st.sampled_from(["a", "b", "a/b", "~", ""])
NUMBERS = st.one_of(
    st.integers(-3, 3), st.integers(), st.floats(allow_nan=False), st.sampled_from([0.5, 1.0, -0.0, 2**53])
)
TEXTS = st.one_of(st.sampled_from(["", "a", "ab", "\U0001f600", "e\u0301"]), st.text(max_size=4))
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=8,
)
TYPES = ["null", "boolean", "integer", "number", "string", "array", "object"]
COUNTS = st.integers(0, 3)
KEYWORDS: dict[str, st.SearchStrategy[Any]] = {
    "type": st.one_of(st.sampled_from(TYPES), st.lists(st.sampled_from(TYPES), min_size=1, max_size=3, unique=True)),
    "required": st.lists(NAMES, max_size=2, unique=True),
    "enum": st.lists(TEXTS, min_size=1, max_size=3, unique=True),
    "const": TEXTS,
    "title": st.text(max_size=3),
    "format": st.sampled_from(["date", "email", "ipv4"]),
    **dict.fromkeys(
        ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), NUMBERS.filter(lambda n: abs(n) < 1e300)
    ),
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"), COUNTS),
}


def with_inner(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(inner, min_size=1, max_size=2)
    below = {
        "properties": st.dictionaries(NAMES, inner, max_size=3),
        "additionalProperties": inner,
        "items": inner,
        "allOf": several,
        "anyOf": several,
        "oneOf": several,
    }
    return st.fixed_dictionaries({}, optional={**KEYWORDS, **below})


SCHEMAS: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.booleans(), st.fixed_dictionaries({}, optional=KEYWORDS)), with_inner, max_leaves=4
)


@settings(max_examples=300, deadline=None)
@given(SCHEMAS, st.lists(VALUES, min_size=1, max_size=5))
def test_both_say_the_same(schema: Any, values: list[Any]) -> None:
    quick = quick_check(schema)
    assert quick is not None
    slow = JsonSchemas()
    slow._compiled.of(schema)._quick = None
    for value in values:
        valid = slow.violations(schema, value) == []
        event(f"valid: {valid}")
        assert quick(value) is valid
