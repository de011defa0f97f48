"""JSON Schema (draft 2020-12) for inputs, outputs and events, in process.

Schemas come with definitions and values come from clients, so nothing here may be made to fetch, to hang or to
overflow:

- a ``$ref`` finds what is inside its document and the standard's own metaschemas, never the network;
- regular expressions run with a time budget that all matches of one validation share; so do ``$ref`` and
  ``uniqueItems``, which the library would let grow exponentially and quadratically;
- ``format`` is an annotation, as the draft has it by default.

A schema is compiled once, and a value that surely fits (`quick_check`) is not looked at any further.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any, Generic, TypeVar

import regex
from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema_specifications import REGISTRY as SPECIFICATIONS
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012, ObjectSchema

from adapters.expressions.quick_check import DRAFT, quick_check

BUDGET_S = 1.0
VIOLATIONS = 50
"""As many are reported; a document with more is not worth reading on."""
MESSAGE_CHARACTERS = 300
KEPT = 512

_CONSTANTS = ((None, "null"), (True, "true"), (False, "false"))

T = TypeVar("T")
_until: ContextVar[float] = ContextVar("_until")


class JsonSchemas:
    """`application.ports.Schemas` by the jsonschema library."""

    def __init__(self, budget_s: float = BUDGET_S) -> None:
        self._budget_s = budget_s
        self._compiled = _Remembered(_Compiled)
        self._checked = _Remembered(_complaint)

    def violations(self, schema: Any, value: Any) -> list[tuple[str, str]]:
        compiled = self._compiled.of(schema)
        if compiled.fits_for_certain(value):
            return []
        validator = compiled.validator
        _until.set(time.monotonic() + self._budget_s)
        found: list[tuple[str, str]] = []
        try:
            for error in validator.iter_errors(value):
                found.append((_pointer(error.absolute_path), _message(error)))
                if len(found) == VIOLATIONS:
                    break
        except _BudgetSpentError:
            found.append(("", f"could not be validated within {self._budget_s:g} s"))
        except RecursionError:
            found.append(("", "is nested too deeply to be validated, or its schema is"))
        except Unresolvable as error:
            found.append(("", f"could not be validated: the schema refers to {error.ref!r}, which is not in it"))
        except (ArithmeticError, regex.error) as error:
            found.append(("", f"could not be validated: {error}"))
        return found

    def check(self, schema: Any) -> str | None:
        return self._checked.of(schema)


class _Remembered(Generic[T]):
    """What was made of a schema object, which is never changed: definitions and fetched documents hold on to theirs, so
    nearly every one that comes was here before. An entry keeps its schema, so no other object can get its identity.
    """

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make = make
        self._kept: OrderedDict[int, tuple[Any, T]] = OrderedDict()

    def of(self, schema: Any) -> T:
        known = self._kept.get(id(schema))
        if known is not None:
            self._kept.move_to_end(id(schema))
            return known[1]
        made = self._make(schema)
        if len(self._kept) >= KEPT:
            self._kept.popitem(last=False)
        self._kept[id(schema)] = schema, made
        return made


def _complaint(schema: Any) -> str | None:
    """What is wrong with a schema, None if nothing is."""
    if not isinstance(schema, (dict, bool)):
        return "a schema is an object, true or false"
    try:
        _Validator.check_schema(schema)
        return next(_troubles(schema), None)
    except SchemaError as error:
        place = _pointer(error.absolute_path)
        return f"{_message(error)} at {place}" if place else _message(error)
    except RecursionError:
        return "the schema is nested too deeply"


class _Compiled:
    """A schema ready for use."""

    def __init__(self, schema: Any) -> None:
        self.validator = _Validator(schema, registry=SPECIFICATIONS)
        self._quick = quick_check(schema)

    def fits_for_certain(self, value: Any) -> bool:
        """False says nothing."""
        try:
            return self._quick is not None and self._quick(value)
        except (ValueError, RecursionError):  # a value that is not JSON
            return False


class _BudgetSpentError(Exception):
    """The time for this validation is over."""


def _left_s() -> float:
    left_s = _until.get() - time.monotonic()
    if left_s <= 0:
        raise _BudgetSpentError
    return left_s


def _troubles(schema: Any) -> Iterator[str]:
    """What the metaschema does not see: references to elsewhere, other drafts, patterns that are none."""
    root = DRAFT202012.create_resource(schema)
    registry: Registry[Any] = SPECIFICATIONS.with_resource(root.id() or "", root)
    pending = [(root, registry.resolver_with_root(root))]
    while pending:
        resource, resolver = pending.pop()
        here = resource.contents
        if isinstance(here, dict):
            yield from _troubles_at(here, resolver)
        pending += [(below, resolver.in_subresource(below)) for below in resource.subresources()]


def _troubles_at(schema: ObjectSchema, resolver: Any) -> Iterator[str]:
    dialect = schema.get("$schema", DRAFT)
    if dialect.rstrip("#") != DRAFT:
        yield f"$schema {dialect!r} is not supported; use {DRAFT}"
    for keyword in ("$ref", "$dynamicRef"):
        if keyword in schema:
            try:
                resolver.lookup(schema[keyword])
            except Unresolvable:
                yield f"{keyword} {schema[keyword]!r} is not in this schema; nothing is fetched for it"
    for pattern in (*([schema["pattern"]] if "pattern" in schema else ()), *schema.get("patternProperties", ())):
        try:
            regex.compile(pattern)
        except regex.error as error:
            yield f"{pattern!r} is not a regular expression: {error}"


_DOLLAR = regex.compile(r"(\\.|\[(?:\\.|[^\]\\])*\])|\$", regex.DOTALL)


def _anchored(pattern: str) -> str:
    """In ECMA-262, and so in JSON Schema, ``$`` does not match before a final newline."""
    return _DOLLAR.sub(lambda found: found[1] or r"\Z", pattern)


def _matches(pattern: str, text: str) -> bool:
    try:
        return regex.search(_anchored(pattern), text, timeout=_left_s()) is not None
    except TimeoutError:
        raise _BudgetSpentError from None


def _pattern(validator: Any, pattern: str, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    if validator.is_type(instance, "string") and not _matches(pattern, instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: Any, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    if validator.is_type(instance, "object"):
        for pattern, below in patterns.items():
            for name, value in instance.items():
                if _matches(pattern, name):
                    yield from validator.descend(value, below, path=name, schema_path=pattern)


def _additional_properties(validator: Any, below: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if validator.is_type(instance, "object"):
        known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
        for name, value in instance.items():
            if name in known or any(_matches(pattern, name) for pattern in patterns):
                continue
            if below is False:
                yield ValidationError(f"{name!r} is not expected here")
            else:
                yield from validator.descend(value, below, path=name)


def _unique_items(validator: Any, wanted: bool, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    if not wanted or not validator.is_type(instance, "array"):
        return
    if len({_hashable(item) for item in instance}) < len(instance):
        yield ValidationError("has items that are equal")


def _hashable(value: Any) -> Any:
    """Equal for what JSON Schema calls equal: 1 and 1.0 are, 1 and true are not."""
    match value:
        case dict():
            return frozenset((name, _hashable(below)) for name, below in value.items())
        case list():
            return tuple(_hashable(item) for item in value)
        case bool():
            return (bool, value)
        case _:
            return value


def _budgeted(keyword: str) -> Any:
    follow: Any = Draft202012Validator.VALIDATORS[keyword]

    def check(validator: Any, target: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        _left_s()
        yield from follow(validator, target, instance, schema) or ()

    return check


def _in_order(schema: Any) -> list[tuple[str, Any]]:
    """``unevaluated...`` last: it matches patterns without a budget, after ours have shown that they are harmless."""
    return sorted(schema.items(), key=lambda keyword: keyword[0].startswith("unevaluated"))


_Validator: Any = validators.create(
    meta_schema=Draft202012Validator.META_SCHEMA,
    validators={
        **Draft202012Validator.VALIDATORS,
        **{keyword: _budgeted(keyword) for keyword in ("$ref", "$dynamicRef", "items", "contains")},
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
        "uniqueItems": _unique_items,
    },
    type_checker=Draft202012Validator.TYPE_CHECKER,
    applicable_validators=_in_order,
)


def _pointer(path: Iterable[str | int]) -> str:
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


def _message(error: ValidationError | SchemaError) -> str:
    """The library quotes whole documents; a reader needs the start and the end. It names values as Python does."""
    text = error.message
    for constant, name in _CONSTANTS:
        if error.instance is constant and text.startswith(f"{constant} "):
            text = name + text.removeprefix(str(constant))
    if len(text) <= MESSAGE_CHARACTERS:
        return text
    half = MESSAGE_CHARACTERS // 2
    return f"{text[:half]} ... {text[-half:]}"
