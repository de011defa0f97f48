"""Messages of brokers as CloudEvents, in the JSON form that the use cases take.

A message with attributes (``ce-<name>``; also ``cloudEvents:<name>`` and ``cloudEvents_<name>``, as bridges from AMQP 1.0
name them) is in binary mode, unless its content type says that it is structured; every other is an event as JSON. It is
read as strictly as what comes over HTTP.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from adapters.messaging.encoding import STRUCTURED
from adapters.rest.bodies import parse_json
from adapters.rest.cloudevents import checked, from_attributes
from adapters.rest.problems import ProblemError
from application.intake import UnreadableMessageError

_PREFIXES: Final = ("ce-", "cloudevents:", "cloudevents_")


def read_event(content_type: str | None, headers: Mapping[str, Any], body: bytes, most_bytes: int) -> dict[str, Any]:
    """Raises UnreadableMessageError."""
    if len(body) > most_bytes:
        raise UnreadableMessageError(f"it is longer than {most_bytes} bytes")
    media = (content_type or "").partition(";")[0].strip().lower()
    attributes = list(_attributes(headers))
    try:
        if attributes and media != STRUCTURED:
            return checked(from_attributes(attributes, content_type or None, body))
        if media.startswith("application/cloudevents") and media != STRUCTURED:
            raise UnreadableMessageError("it is not one event in JSON")
        return checked(parse_json(body))
    except ProblemError as error:
        places = "; ".join(f"{each.pointer or '/'}: {each.detail}" for each in error.errors[:3])
        raise UnreadableMessageError(f"it is no CloudEvent: {error.detail} {places}".rstrip()) from None


def _attributes(headers: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in headers.items():
        lower = name.lower()
        for prefix in _PREFIXES:
            if lower.startswith(prefix):
                yield lower.removeprefix(prefix), _as_text(value)


def _as_text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat().replace("+00:00", "Z") if hasattr(value, "isoformat") else str(value)
