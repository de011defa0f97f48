"""Redaction in a definition: where it has users' data, like data; elsewhere in its texts, but not in the words of the
language nor in names, by which the machine goes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

Hide = Callable[[Any], Any]

_GRAMMAR: Final = frozenset(
    {
        "then", "call", "type", "as", "at", "each", "item", "dsl", "method", "instance", "secrets",
        "namespace", "name", "version",
    }
)  # fmt: skip
"""Members whose values are words of the language or names."""
_DATA: Final = frozenset({"set", "metadata", "const", "enum", "default", "examples"})
"""Members that hold data, whatever it looks like."""
_MACHINERY: Final = frozenset({"due", "priority", "escalation"})
"""Members of what people are asked that the machine goes by: numbers there stay."""
_MADE_OF: Final = frozenset({"from", "as"})
"""Members of ``input``, ``output`` and ``export`` that make data."""


def redacted_document(document: Any, hide: Hide) -> Any:
    """A definition without the values that `hide` replaces."""
    return _masked(document, "", hide)


def _masked(value: Any, within: str, hide: Hide) -> Any:
    """`within`: the member that this is the value of."""
    match value:
        case dict():
            called = value.get("call")
            return {name: _member(name, each, within, hide, called=called) for name, each in value.items()}
        case list():
            return [_masked(each, within, hide) for each in value]
        case str():
            return hide(value)
    return value


def _member(name: str, value: Any, within: str, hide: Hide, *, called: Any) -> Any:
    if name == "with" and called == "human" and isinstance(value, dict):
        kept = {each: _masked(given, each, hide) for each, given in value.items() if each in _MACHINERY}
        return {each: kept[each] if each in kept else hide(given) for each, given in value.items()}
    if name == "with" and called is not None and isinstance(value, dict):
        return {hide(each): given if each == "method" else hide(given) for each, given in value.items()}
    made = name in _MADE_OF and within in ("input", "output", "export")
    if made or name in _DATA or (name == "with" and within == "event") or (name == "input" and within == "workflow"):
        return hide(value)
    return value if name in _GRAMMAR and not isinstance(value, dict) else _masked(value, name, hide)
