"""Expressions as data: what a runtime expression is, which variables it reads, and the plain paths among them.

The domain never runs jq. A *plain path* (``.a.b``, ``$context.x[0]``, ``.``) is resolved here in process, with jq's
own meaning (a missing member and null give null, a path into anything else is an error); everything else is handed
out as an `Evaluation` and comes back as a fact. Which variables a program mentions is found once, at deployment, so
that only those travel to the jail.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

_WRAPPED = re.compile(r"^\s*\$\{(.*)\}\s*$", re.DOTALL)
_VARIABLE = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")
_OF_JQ = frozenset({"ENV", "__loc__"})
"""Variables that jq itself defines; nobody hands them in. ``$ENV`` is empty in the jail."""
_MEMBERS = r"(?:\.[A-Za-z_]\w*|\[\d{1,9}\])*"
_PLAIN = re.compile(rf"\.|\$(?P<root>[A-Za-z_]\w*)(?P<below>{_MEMBERS})|(?P<path>\.[A-Za-z_]\w*{_MEMBERS})", re.ASCII)
_STEP = re.compile(r"\.([A-Za-z_]\w*)|\[(\d+)\]", re.ASCII)


LATE: Final = frozenset({"secrets", "callback"})
"""Variables that only a sending knows."""


class Expression(msgspec.Struct, frozen=True):
    """A jq program, the variables (without ``$``) it mentions, and its plain path if it is one."""

    program: str
    variables: tuple[str, ...] = ()
    root: str | None = None
    path: tuple[str | int, ...] | None = None

    @property
    def reads_secrets(self) -> bool:
        return "secrets" in self.variables

    @property
    def late(self) -> bool:
        """Whether it is evaluated at each sending, because of what is recorded nowhere."""
        return not LATE.isdisjoint(self.variables)


class Evaluation(msgspec.Struct, frozen=True):
    """One program to run: ``values[0]`` is ``.``, ``values[1:]`` belong to ``names`` (variables without ``$``)."""

    program: str
    names: tuple[str, ...]
    values: tuple[Any, ...]


class Evaluated(msgspec.Struct, frozen=True):
    """The one result of a program (null when it gave none)."""

    value: Any


class EvaluationFailed(msgspec.Struct, frozen=True):
    """Why a program gave no value."""

    detail: str


Evaluand = Evaluated | EvaluationFailed


class NoValueError(Exception):
    """A plain path leads nowhere; `detail` says why."""

    def __init__(self, detail: str) -> None:
        self.detail = detail
        super().__init__(detail)


def parse(source: str) -> Expression:
    """Read an expression, with or without ``${ }`` around it."""
    wrapped = _WRAPPED.match(source)
    program = (wrapped.group(1) if wrapped else source).strip()
    plain = _PLAIN.fullmatch(program)
    if plain and plain["root"] not in _OF_JQ:
        steps = tuple(name or int(index) for name, index in _STEP.findall(plain["path"] or plain["below"] or ""))
        root = plain["root"]
        return Expression(program, (root,) if root else (), root, steps)
    return Expression(program, tuple(sorted(set(_VARIABLE.findall(program)) - _OF_JQ)))


def is_wrapped(source: str) -> bool:
    """Whether the whole string is ``${ ... }``, which makes it an expression everywhere."""
    return _WRAPPED.match(source) is not None


def resolve(expression: Expression, dot: Any, variables: dict[str, Any]) -> Evaluand | None:
    """The value of a plain path, or None when the expression needs jq."""
    if expression.path is None:
        return None
    try:
        return Evaluated(plain_value(expression, dot, variables))
    except NoValueError as why:
        return EvaluationFailed(why.detail)


def plain_value(expression: Expression, dot: Any, variables: dict[str, Any]) -> Any:
    """The value of an expression that is a plain path. Raises NoValueError."""
    value, root, path = dot, expression.root, expression.path
    assert path is not None
    if root is not None:
        if root not in variables:
            raise NoValueError(f"${root} is not defined here")
        value = variables[root]
    for step in path:
        if isinstance(value, dict) and isinstance(step, str):
            value = value.get(step)
        elif value is None:
            break
        elif isinstance(value, list) and isinstance(step, int):
            value = value[step] if step < len(value) else None
        else:
            raise NoValueError(_cannot_index(value, step))
    return value


def _cannot_index(value: Any, step: str | int) -> str:
    """The message that jq has for it."""
    with_what = f'string ("{step}")' if isinstance(step, str) else f"number ({step})"
    return f"Cannot index {_kind(value)} with {with_what}"


def _kind(value: Any) -> str:
    match value:
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"
