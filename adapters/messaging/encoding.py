"""CloudEvents as messages: structured (the whole event as JSON in the body) or binary (attributes beside the data).

Both are made from the JSON form of an event, attribute by attribute and unchanged, so that a repeat has the same bytes. The
names of the attributes (``ce-<name>``) are those of the bindings for HTTP and NATS and of the CloudEvents SDK for RabbitMQ.
"""

from __future__ import annotations

import base64
import re
from typing import Any, Final, Literal
from urllib.parse import quote

import msgspec

STRUCTURED: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"
Mode = Literal["structured", "binary", "batch"]
_JSON_MEDIA = re.compile(r"[^/]+/(?:json|[^;]+\+json)\s*(?:;|\Z)", re.IGNORECASE)
_SAFE: Final = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')


class Encoded(msgspec.Struct, frozen=True):
    """`attributes`: headers of the message, by name. Without data there may be no type of it."""

    content_type: str | None
    attributes: dict[str, str]
    body: bytes


def encoded(event: dict[str, Any], mode: Mode) -> Encoded:
    """One event; ``batch`` is an affair of the transport, and structured here."""
    if mode == "binary":
        return _binary(event)
    return Encoded(STRUCTURED, {}, msgspec.json.encode(event))


def header_safe(value: str) -> str:
    """A value as HTTP headers carry it (CloudEvents HTTP binding 1.0.2, section 3.1.3.2)."""
    return quote(value, safe=_SAFE)


def _binary(event: dict[str, Any]) -> Encoded:
    attributes = {
        f"ce-{name}": _text(value)
        for name, value in event.items()
        if name not in {"data", "data_base64", "datacontenttype"} and value is not None
    }
    if "data" not in event and "data_base64" not in event:
        return Encoded(event.get("datacontenttype"), attributes, b"")
    content_type = event.get("datacontenttype") or "application/json"
    if "data_base64" in event:
        body = base64.b64decode(event["data_base64"])
    elif isinstance(event["data"], str) and not _JSON_MEDIA.match(content_type):
        body = event["data"].encode()
    else:
        body = msgspec.json.encode(event["data"])
    return Encoded(content_type, attributes, body)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
