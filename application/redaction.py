"""Redaction: values that must not leave, replaced everywhere alike, so that what is left still replays.

The values that stand at the named places are collected, down to the leaves. Each gets a placeholder of its own, of its kind:
a text ``[redacted 1]``, a number one from 900,000,001 on. Wherever a text or number of the data is equal to such a value it
is replaced; also inside longer texts, if the value has at least four characters. Since what was asked and what was answered
change alike, every decision still follows. true, false, null and what the machine itself goes by (names of tasks, ids,
instants) stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from application.redaction_documents import redacted_document
from application.redaction_texts import SHORTEST, Texts, spellings
from domain.errors import RetraceError
from domain.events import TOPICS, Event, OrchestrationForked, TaskEscalated
from domain.prefix import packed, unpacked

_FIRST_NUMBER: Final = 900_000_001
_DATA: Final = frozenset(
    {
        "input", "output", "data", "context", "arguments", "items", "event", "value", "variables", "correlated", "expected",
        "tags", "business_key", "actor", "source", "text", "detail", "title", "response", "why", "condition_fault", "per",
        "description", "form", "candidates", "assignee", "user", "users", "groups",
    }
)  # fmt: skip
"""Members of events, and of commands in a basis, that hold what users said."""
_NESTED: Final = frozenset({"fault", "error", "reason", "result"})
"""Members of which only some parts are data; a reason that is a text is data."""
_NAMED: Final = ("input", "output", "data", "context", "arguments", "items", "value", "variables", "correlated", "tags")
"""Members of events in which names are looked for."""
_OF_FAULTS: Final = frozenset({"type", "status", "instance"})
"""What is decided by in an error is not redacted."""
_DIGESTS: Final = frozenset({"request", "digest"})
"""Members that are digests of what users sent: a short value could be found by trying all."""
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


class RedactionError(RetraceError):
    """What is to be redacted cannot be read: write the name of a member, or a JSON Pointer such as /status/input/card."""

    code = "malformed-request"


class Redaction:
    """Places: names of members, or JSON Pointers into a bundle."""

    def __init__(self, named: Sequence[str]) -> None:
        self.named = tuple(dict.fromkeys(named))
        self._names = frozenset(name for name in self.named if not name.startswith("/"))

    def values(self, bundle: dict[str, Any], more: Sequence[dict[str, Any]] = ()) -> Values:
        """What stands at the places of this bundle; names are looked for in `more` items too. Raises RedactionError for a
        pointer that leads nowhere.
        """
        found: dict[str | int | float, None] = {}
        met: set[str] = set()
        for name in self.named:
            if name.startswith("/"):
                found |= dict.fromkeys(_leaves(_at(bundle, name)))
        # Names count where users' data is, not among the members of the bundle itself, nor in schemas.
        for item in (*bundle["history"], *more):
            found |= dict.fromkeys(self._below(list(_said(item["data"])), met))
        family = [bundle["id"], bundle["status"]["parent"], *(child["id"] for child in bundle["children"])]
        values = [value for value in found if value not in family]  # those are in the bundle anyway
        return Values(values, [name for name in self.named if name in self._names - met])

    def _below(self, value: Any, met: set[str]) -> Iterator[str | int | float]:
        if isinstance(value, dict):
            for name, each in value.items():
                if name in self._names:
                    met.add(name)
                    yield from _leaves(each)
                else:
                    yield from self._below(each, met)
        elif isinstance(value, list | tuple):
            for each in value:
                yield from self._below(each, met)


def _said(data: dict[str, Any]) -> Iterator[Any]:
    """The parts of an event in which names are looked for: also the body of an answer that was an error."""
    for name in _NAMED:
        if name in data:
            yield data[name]
    yield data.get("event", {}).get("data")
    for name in _NESTED:
        nested = data.get(name)
        if isinstance(nested, dict):
            yield (nested.get("response") or {}).get("content")
            yield from _said(nested)


def read_places(named: Sequence[str]) -> Redaction | None:
    """The places, or None where none is named. Raises RedactionError."""
    for name in named:
        if not name or name == "/" or re.search(r"~(?![01])", name):
            raise RedactionError(
                f"{name!r} is neither the name of a member nor a JSON Pointer such as /status/input/card."
            )
    return Redaction(named) if named else None


class Values:
    """Values and their placeholders; the length is how many."""

    def __init__(self, values: Sequence[str | int | float], nowhere: Sequence[str] = ()) -> None:
        """`nowhere`: the names that stand nowhere."""
        self.nowhere = tuple(nowhere)
        self._whole: dict[tuple[type, Any], Any] = {}
        self._digests: dict[bytes, bytes] = {}
        parts: dict[str, str] = {}
        for number, value in enumerate(values, 1):
            placeholder: Any = f"[redacted {number}]" if isinstance(value, str) else _FIRST_NUMBER + number - 1
            self._whole[_key(value)] = placeholder
            if len(str(value)) >= SHORTEST:
                for spelling in spellings(str(value)):
                    parts.setdefault(spelling, str(placeholder))
        self._parts = Texts(parts)

    def __len__(self) -> int:
        return len(self._whole)

    def hide(self, value: Any) -> Any:
        """The JSON value with every occurrence replaced, in names of members too: data may be keyed by it."""
        match value:
            case dict():
                kept = _OF_FAULTS if _is_fault(value) else ()
                return {self.hide(name): each if name in kept else self.hide(each) for name, each in value.items()}
            case list() | tuple():
                return [self.hide(each) for each in value]
            case str():
                whole = self._whole.get(_key(value))
                return self._parts.replaced(value) if whole is None else whole
            case bool():
                return value
            case int() | float():
                return self._whole.get(_key(value), value)
        return value

    def event(self, event: Event) -> Event:
        """An event without the values."""
        told: dict[str, Any] = _decode(_encode(event))
        if event.topic.startswith("event.") and "id" in told:
            told["id"] = self.hide(told["id"])
        hidden = self._members(told)
        if isinstance(event, OrchestrationForked):
            hidden["prefix"] = packed(map(self.event, unpacked(event.prefix)))
        if isinstance(event, TaskEscalated) and event.event is not None:
            data = {**event.event["data"], "priority": None}
            # The priority is what the machine goes by, as it is beside the reminder.
            hidden["event"] |= {"data": {**self.hide(data), "priority": event.event["data"]["priority"]}}
        if "basis" in told:
            hidden["basis"] = self._basis(told["basis"])
        return msgspec.msgpack.decode(_encode(hidden), type=TOPICS[event.topic])

    def document(self, value: Any) -> Any:
        """A definition without the values."""
        return redacted_document(value, self.hide)

    def _digest(self, value: Any) -> Any:
        """Another one, equal for equal ones."""
        if not isinstance(value, bytes) or not value:
            return value
        return self._digests.setdefault(value, len(self._digests).to_bytes(len(value)))

    def _members(self, told: dict[str, Any]) -> dict[str, Any]:
        hidden = dict(told)
        for name, value in told.items():
            if name in _DATA or (name in _NESTED and isinstance(value, str)):
                hidden[name] = self.hide(value)
            elif name in _DIGESTS:
                hidden[name] = self._digest(value)
            elif name in _NESTED and isinstance(value, dict):
                hidden[name] = self._members(value)
            elif name in ("left_behind", "escalations"):
                hidden[name] = [self._members(each) for each in value]
            elif name == "deferred":
                hidden[name] = [[path, self.hide(program), names, self.hide(v)] for path, program, names, v in value]
        return hidden

    def _basis(self, basis: dict[str, Any]) -> dict[str, Any]:
        hidden = dict(basis)
        hidden["facts"] = [self._fact(fact) for fact in basis.get("facts", ())]
        if basis.get("command"):
            members = basis["command"]
            hidden["command"] = {name: self._member(name, placed) for name, placed in members.items()}
        return hidden

    def _member(self, name: str, placed: Any) -> Any:
        if len(placed) == 1 and isinstance(placed, list):
            return [self._members({name: placed[0]})[name]]
        return placed

    def _fact(self, fact: Any) -> Any:
        """A recorded answer; a place among the events, and the choice of a child, stay."""
        if isinstance(fact, list) and len(fact) == 2 and isinstance(fact[0], int):
            return fact
        if isinstance(fact, list) and len(fact) == 3 and all(isinstance(each, str) for each in fact):
            return fact
        return self.hide(fact)


def _key(value: Any) -> tuple[type, Any]:
    return (str if isinstance(value, str) else float), value


def _is_fault(value: dict[str, Any]) -> bool:
    """Whether it is an error (RFC 9457), and not a user's own thing with a type and a status."""
    type_, status = value.get("type"), value.get("status")
    return isinstance(type_, str) and ":" in type_ and isinstance(status, int) and not isinstance(status, bool)


def _leaves(value: Any) -> Iterator[str | int | float]:
    if isinstance(value, dict):
        kept = _OF_FAULTS if _is_fault(value) else ()
        for name, each in value.items():
            yield from () if name in kept else _leaves(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _leaves(each)
    elif isinstance(value, str | int | float) and not isinstance(value, bool) and value != "":
        yield value


def _at(bundle: dict[str, Any], pointer: str) -> Any:
    found: Any = bundle
    for step in pointer[1:].split("/"):
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict) and name in found:
            found = found[name]
        elif isinstance(found, list) and name.isdecimal() and int(name) < len(found):
            found = found[int(name)]
        else:
            raise RedactionError(f"{pointer} leads nowhere in the bundle; see it without redaction first.")
    return found
