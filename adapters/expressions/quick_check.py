"""A quick yes for values that fit their schema, which nearly all do.

The library that tells what is wrong, and where, takes tens of microseconds for a small object; one that only tells whether
anything is wrong takes less than one. It is asked first, and a no counts for nothing: the slow one then decides and explains.
So the two need to agree on what is valid, and the quick one gets only schemas whose keywords leave no room for doubt or
for endless work: no references, no regular expressions, nothing that is compared pairwise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jsonschema_rs import Draft202012Validator

DRAFT = "https://json-schema.org/draft/2020-12/schema"
"""The one dialect there is here."""

_ANNOTATIONS = frozenset(
    {"$comment", "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "format"}
)
_PLAIN = frozenset(
    {
        "type",
        "required",
        "minLength",
        "maxLength",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "minItems",
        "maxItems",
        "minProperties",
        "maxProperties",
    }
)
_WITH_ONE_SCHEMA = frozenset({"items", "additionalProperties"})
_WITH_SCHEMAS = frozenset({"allOf", "anyOf", "oneOf"})
_DEEPEST = 50

Fits = Callable[[Any], bool]


def quick_check(schema: Any) -> Fits | None:
    """Whether a value fits for certain; None where this schema has to be checked by the slow way alone."""
    if not _harmless(schema, _DEEPEST):
        return None
    try:
        return Draft202012Validator(schema).is_valid
    except ValueError:  # no schema, as a deployment would have said
        return None


def _harmless(schema: Any, levels: int) -> bool:
    if isinstance(schema, bool):
        return True
    if not isinstance(schema, dict) or not levels:
        return False
    return all(_harmless_keyword(keyword, value, levels - 1) for keyword, value in schema.items())


def _harmless_keyword(keyword: str, value: Any, levels: int) -> bool:
    if keyword in _PLAIN or keyword in _ANNOTATIONS:
        return True
    if keyword in _WITH_ONE_SCHEMA:
        return _harmless(value, levels)
    if keyword in _WITH_SCHEMAS:
        return isinstance(value, list) and all(_harmless(each, levels) for each in value)
    if keyword == "properties":
        return isinstance(value, dict) and all(_harmless(each, levels) for each in value.values())
    if keyword in {"enum", "const"}:
        # Texts alone: what else is equal to what (1 and 1.0, 1 and true) is not left to two opinions.
        return all(isinstance(each, str) for each in (value if keyword == "enum" else [value]))
    return keyword == "$schema" and value == DRAFT
