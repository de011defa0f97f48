"""Values made up from a JSON Schema: small, the same every time, and valid as far as that can be had without search.

What the author wrote comes first (``const``, ``examples``, ``default``, ``enum``); then what each keyword asks for at least:
the required members, the fewest items, the least number, the shortest text. A ``pattern`` is not solved; a few texts
that patterns of practice often allow are tried. Where nothing fits, the value is near, and whoever uses it is told so by the
validator, not by this.
"""

from __future__ import annotations

import re
from typing import Any

_DEEPEST = 8
_MOST_PARTS = 1_000
_LONGEST_TEXT = 10_000
_FORMATS = {
    "date-time": "2026-01-01T00:00:00Z",
    "date": "2026-01-01",
    "time": "00:00:00Z",
    "duration": "PT1S",
    "email": "someone@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uri-reference": "/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
_TEXTS = (
    "text",
    "1",
    "a",
    "A",
    "AA",
    "AAA",
    "a-1",
    "2026-01-01",
    "someone@example.com",
    "PT1S",
    "https://example.com/",
)
_HINTS: dict[str, tuple[str, ...]] = {
    "object": ("properties", "required"),
    "array": ("items", "minItems"),
    "string": ("pattern", "minLength"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "multipleOf"),
}


def sample(schema: Any) -> Any:
    """A value for a JSON Schema (draft 2020-12); null where the schema says nothing of its type, or far too much."""
    return _Maker(schema).made(schema, 0)


class _Maker:
    """Makes one value. `_left` bounds the work: schemas may refer to themselves more than once."""

    def __init__(self, whole: Any) -> None:
        self._whole = whole
        self._left = _MOST_PARTS

    def made(self, schema: Any, depth: int) -> Any:
        self._left -= 1
        if not isinstance(schema, dict) or depth > _DEEPEST or self._left < 0:
            return None
        schema = self._merged(schema, depth)
        if "const" in schema:
            return schema["const"]
        for name in ("examples", "enum"):
            if isinstance(schema.get(name), list) and schema[name]:
                return schema[name][0]
        if "default" in schema:
            return schema["default"]
        match _kind(schema):
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, depth)
            case "string":
                return _text(schema)
            case "integer" | "number" as kind:
                return _number(schema, whole_number=kind == "integer")
            case "boolean":
                return True
        return None

    def _merged(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        """The schema with what ``$ref``, ``allOf``, and the first of ``anyOf`` and ``oneOf`` add."""
        parts: list[Any] = [_referred(schema["$ref"], self._whole)] if isinstance(schema.get("$ref"), str) else []
        parts += _listed(schema, "allOf") + _listed(schema, "anyOf")[:1] + _listed(schema, "oneOf")[:1]
        merged = dict(schema)
        for part in parts if depth < _DEEPEST else ():
            self._left -= 1
            if isinstance(part, dict) and self._left > 0:
                added = self._merged(part, depth + 1)
                properties = {**_objects(added, "properties"), **_objects(merged, "properties")}
                required = [*_listed(merged, "required"), *_listed(added, "required")][:_MOST_PARTS]
                merged = {**added, **merged, "properties": properties, "required": required}
        return merged

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        properties = _objects(schema, "properties")
        names = dict.fromkeys(name for name in _listed(schema, "required") if isinstance(name, str))
        return {name: self.made(properties.get(name, {}), depth + 1) for name in names}

    def _array(self, schema: dict[str, Any], depth: int) -> list[Any]:
        """One item where the schema says what items are: an empty list would show nothing of what is done with them."""
        items = [self.made(each, depth + 1) for each in _listed(schema, "prefixItems")]
        least = schema.get("minItems", 1 if "items" in schema else 0)
        while isinstance(least, int) and len(items) < least and self._left > 0:
            items.append(self.made(schema.get("items"), depth + 1))
        return items


def _referred(reference: str, whole: Any) -> Any:
    """What a reference inside the document points to; references to elsewhere lead nowhere."""
    if not reference.startswith("#"):
        return None
    found = whole
    for token in reference[1:].split("/")[1:]:
        found = found.get(token.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
    return found


def _objects(schema: dict[str, Any], name: str) -> dict[str, Any]:
    return schema[name] if isinstance(schema.get(name), dict) else {}


def _listed(schema: dict[str, Any], name: str) -> list[Any]:
    return schema[name] if isinstance(schema.get(name), list) else []


def _kind(schema: dict[str, Any]) -> str | None:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((each for each in kind if each != "null"), "null")
    if isinstance(kind, str):
        return kind
    return next((kind for kind, names in _HINTS.items() if any(schema.get(name) for name in names)), None)


def _text(schema: dict[str, Any]) -> str:
    least, most = schema.get("minLength", 0), schema.get("maxLength")
    known = _FORMATS.get(schema.get("format", "")) if isinstance(schema.get("format"), str) else None
    candidates = [known] if known else list(_TEXTS)
    pattern = schema.get("pattern")
    if isinstance(pattern, str):
        candidates += [f"PT1{unit}" for unit in "SMH"] + ["0" * count for count in range(1, 11)]
        candidates = [text for text in candidates if _matches(pattern, text)] or candidates
    text = candidates[0]
    if isinstance(least, int) and len(text) < least:
        text = text.ljust(min(least, _LONGEST_TEXT), "x")
    return text[:most] if isinstance(most, int) else text


def _matches(pattern: str, text: str) -> bool:
    """Candidates are short, so that no pattern takes long; one that Python does not know is left alone."""
    try:
        return re.search(pattern, text) is not None
    except re.error:
        return True


def _number(schema: dict[str, Any], *, whole_number: bool) -> int | float:
    least, most, step = (_numeric(schema, name) for name in ("minimum", "maximum", "multipleOf"))
    above, below = _numeric(schema, "exclusiveMinimum"), _numeric(schema, "exclusiveMaximum")
    value: float = 1
    if least is not None:
        value = max(value, least)
    if above is not None and value <= above:
        value = above + 1
    if most is not None:
        value = min(value, most)
    if below is not None and value >= below:
        low = above if above is not None else least
        value = (low + below) / 2 if low is not None and below - 1 <= low else below - 1
    if step is not None and step > 0:
        value = -(-value // step) * step
    return int(value) if whole_number or float(value).is_integer() else value


def _numeric(schema: dict[str, Any], name: str) -> float | None:
    value = schema.get(name)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
