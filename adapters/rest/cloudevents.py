"""CloudEvents 1.0 over HTTP: structured (`application/cloudevents+json`), binary (`ce-*` headers) and batches.

All become the JSON form that the use cases take. The SDK of the CloudEvents project checks the attributes; what it leaves
open is checked here: the types of extensions, control characters, lengths that an index can hold. Its parsers are not
used, since bodies are read strictly here.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from cloudevents.core.exceptions import CloudEventValidationError
from cloudevents.core.v1.event import CloudEvent
from starlette.datastructures import Headers

from adapters.rest.bodies import Content, canonical, escape, invalid, media_type, parse_json, read_bytes, unsupported
from adapters.rest.calls import Call
from adapters.rest.parameters import read_instant
from adapters.rest.problems import ProblemError, malformed
from domain.errors import Problem

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
MOST_IN_BATCH = 500
LONGEST_ATTRIBUTE_BYTES = 1024
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ufdd0-\ufdef\ufffe\uffff]")
_TEXTS = frozenset({"id", "source", "type", "subject", "dataschema", "datacontenttype"})
_JSON_MEDIA = re.compile(r"[^/]+/(?:json|[^;]+\+json)\Z")


def checked(given: Any) -> dict[str, Any]:
    """The event in its JSON form, attributes that are null left out. Raises ProblemError (422) with every violation."""
    if not isinstance(given, dict):
        raise invalid([Problem("", "A CloudEvent is an object.")])
    event: dict[str, Any] = {name: value for name, value in given.items() if value is not None or name == "data"}
    attributes = {name: value for name, value in event.items() if name not in {"data", "data_base64"}}
    problems = list(_violations(attributes))
    if "data" in event and "data_base64" in event:
        problems.append(Problem("/data_base64", "There is data already."))
    elif "data_base64" in event and not _is_base64(event["data_base64"]):
        problems.append(Problem("/data_base64", "This is not base64 (RFC 4648)."))
    if problems:
        raise invalid(problems, "This is not a CloudEvent 1.0.")
    return event


def _violations(attributes: dict[str, Any]) -> Iterator[Problem]:
    found = dict(_own_violations(attributes))
    # The SDK fills in what is missing; an event without an id or a version is refused here instead.
    required: dict[str, Any] = dict.fromkeys(("specversion", "id"))
    known = {**required, **attributes}
    known["time"] = _instant_or_none(attributes.get("time"))
    if known["time"] is None:
        known["time"] = read_instant("2000-01-01T00:00:00Z")
    try:
        CloudEvent(known)
    except CloudEventValidationError as error:
        for name, errors in error.errors.items():
            missing = name not in attributes
            text = f"The attribute {name} is required." if missing else _in_words(name, attributes[name], errors[0])
            found.setdefault(name, Problem(f"/{escape(name)}", text, "required" if missing else "invalid"))
    yield from found.values()


def _in_words(name: str, value: Any, complaint: Exception) -> str:
    """The SDK speaks of Python's types."""
    if name in _TEXTS and not isinstance(value, str):
        return f"The attribute {name} is a string."
    if value == "":
        return f"The attribute {name} is not empty."
    return f"{complaint}."


def _own_violations(attributes: dict[str, Any]) -> Iterator[tuple[str, Problem]]:
    for name, value in attributes.items():
        pointer = f"/{escape(name)}"
        if isinstance(value, str):
            if _CONTROL.search(value):
                yield name, Problem(pointer, "Control characters are not allowed.")
            elif len(value.encode()) > LONGEST_ATTRIBUTE_BYTES:
                yield name, Problem(pointer, f"An attribute has at most {LONGEST_ATTRIBUTE_BYTES} bytes.")
            elif name == "time" and _instant_or_none(value) is None:
                yield name, Problem(pointer, "The time is an RFC 3339 instant.")
        elif name == "time" or not isinstance(value, (bool, int)):
            yield name, Problem(pointer, "An attribute is a string, a number without fraction, or a boolean.")


def _instant_or_none(value: Any) -> Any:
    try:
        return read_instant(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _is_base64(value: Any) -> bool:
    try:
        return isinstance(value, str) and base64.b64decode(value, validate=True) is not None
    except (ValueError, binascii.Error):
        return False


def from_binary(headers: Headers, raw: bytes) -> dict[str, Any]:
    """The JSON form of an event in binary mode."""
    attributes = [(name[3:], _unescaped(name, value)) for name, value in headers.items() if name.startswith("ce-")]
    return from_attributes(attributes, headers.get("content-type"), raw)


def from_attributes(attributes: Iterable[tuple[str, str]], content_type: str | None, raw: bytes) -> dict[str, Any]:
    """The JSON form of an event whose attributes stand beside its data. Raises ProblemError (400)."""
    event: dict[str, Any] = {}
    for name, value in attributes:
        if name in event:
            raise malformed(f"The header ce-{name} is given twice.")
        event[name] = value
    if content_type is not None:
        event["datacontenttype"] = content_type
    if not raw:
        return event
    kind = (content_type or "application/json").partition(";")[0].strip().lower()
    if _JSON_MEDIA.match(kind):
        event["data"] = parse_json(raw)
        return event
    text = _text(raw) if kind.startswith("text/") else None
    if text is not None:
        event["data"] = text
    else:
        event["data_base64"] = base64.b64encode(raw).decode()
    return event


def _text(raw: bytes) -> str | None:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None


def _unescaped(name: str, value: str) -> str:
    try:
        return unquote_to_bytes(value.encode("latin-1")).decode()
    except UnicodeError:
        raise malformed(f"The header {name} is not UTF-8.") from None


@dataclass(frozen=True)
class Batch:
    """What was sent together, in order: events in their JSON form, and why those are none that are none."""

    events: tuple[dict[str, Any] | ProblemError, ...]


def read_batch(raw: bytes) -> tuple[Batch, Any]:
    """The batch and its JSON value. Raises ProblemError when it is no array, or too long."""
    given = parse_json(raw)
    if not isinstance(given, list):
        raise invalid([Problem("", "A batch is an array of CloudEvents.")])
    if len(given) > MOST_IN_BATCH:
        raise invalid([Problem("", f"A batch has at most {MOST_IN_BATCH} events.")])
    return Batch(tuple(map(_checked_or_not, given))), given


def _checked_or_not(given: Any) -> dict[str, Any] | ProblemError:
    try:
        return checked(given)
    except ProblemError as error:
        return error


@dataclass(frozen=True)
class EventBody:
    """How an operation reads one CloudEvent, or a batch of them."""

    async def read(self, call: Call) -> Content:
        """The event in its JSON form, or a `Batch`. Raises ProblemError (400, 413, 415, 422)."""
        raw = await read_bytes(call)
        kind = (call.headers.get("content-type") or "").partition(";")[0].strip().lower()
        if kind == STRUCTURED:
            media_type(call.headers.get("content-type"))
            event = checked(parse_json(raw))
        elif kind == BATCH:
            media_type(call.headers.get("content-type"))
            batch, given = read_batch(raw)
            return Content(batch, lambda: canonical(given))
        elif kind.startswith("application/cloudevents") or not any(n.startswith("ce-") for n in call.headers):
            raise unsupported(
                f"An event comes as {STRUCTURED}, in binary mode with ce-* headers, or several as {BATCH}."
            )
        else:
            event = checked(from_binary(call.headers, raw))
        return Content(event, lambda: canonical(event))

    def described(self) -> dict[str, Any]:
        """The request body of the OpenAPI document."""
        return {
            "required": True,
            "description": "Structured mode. In binary mode the attributes are ce-* headers and the body is the data. Or a "
            "batch, whose events are taken one by one, in order.",
            "content": {
                STRUCTURED: {"schema": {"$ref": "#/components/schemas/CloudEventBody"}},
                BATCH: {
                    "schema": {
                        "type": "array",
                        "maxItems": MOST_IN_BATCH,
                        "items": {"$ref": "#/components/schemas/CloudEventBody"},
                    }
                },
            },
        }
