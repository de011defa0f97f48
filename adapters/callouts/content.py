"""Bodies: JSON values to bytes, and bytes back to JSON values.

Out: JSON, unless a content type says otherwise. In: JSON and text are read, everything else stays base64, as the
standard has it. What is read must be storable: NaN, lone surrogates, integers beyond 64 bits and values that nest too deeply
are refused, not bent.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from email.message import Message
from typing import Any
from urllib.parse import urlencode

import msgspec

from adapters.callouts.exchange import FAULT_BODY_BYTES, Reply, UnsentError
from adapters.callouts.uris import json_kind, pairs, scalar_text
from adapters.nesting import DEEPEST, is_deeper
from domain.errors import fault

FORM = "application/x-www-form-urlencoded"


class UnreadableError(Exception):
    """The bytes are not what their content type says."""


def encode_body(body: Any, content_type: str | None) -> tuple[bytes | None, str | None]:
    """The bytes of a body and their content type; null is no body. Raises UnsentError (configuration)."""
    if body is None:
        return None, content_type
    media, charset = media_type(content_type)
    try:
        if content_type is None or is_json(media):
            return _json_bytes(body), content_type or "application/json"
        if media == FORM and isinstance(body, dict):
            return urlencode(list(pairs(body, "form field"))).encode(), content_type
        if isinstance(body, (dict, list)):
            raise UnsentError(
                fault("configuration", f"{json_kind(body)} cannot be sent as {media}; send text, or application/json")
            )
        return scalar_text(body).encode(charset or "utf-8"), content_type
    except (ValueError, LookupError, RecursionError) as problem:
        raise UnsentError(fault("configuration", f"the body cannot be written as {media}: {problem}")) from problem


def _json_bytes(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def decode_body(reply: Reply) -> Any:
    """JSON for JSON types, text for ``text/*``, base64 text for the rest, null for nothing. Raises UnreadableError."""
    if not reply.body:
        return None
    media, charset = media_type(reply.headers.get("content-type"))
    if is_json(media):
        return read_json(_as_utf8(reply.body, charset))
    if media.startswith("text/"):
        return _read_text(reply.body, charset)
    return b64encode(reply.body).decode()


def keep_some(reply: Reply) -> Any:
    """What can be kept of an answer that is an error or cannot be used: never fails, at most 64 kB of it."""
    if len(reply.body) <= FAULT_BODY_BYTES and reply.damage is None:
        try:
            return decode_body(reply)
        except UnreadableError:
            pass
    media, _ = media_type(reply.headers.get("content-type"))
    some = reply.body[:FAULT_BODY_BYTES]
    if not some:
        return None
    return some.decode("utf-8", "replace") if is_json(media) or media.startswith("text/") else b64encode(some).decode()


def read_json(body: bytes) -> Any:
    """A JSON text that can be stored again. Raises UnreadableError."""
    if is_deeper(body):
        raise UnreadableError(f"not usable JSON: nested deeper than {DEEPEST} levels")
    try:
        value = msgspec.json.decode(body.removeprefix(b"\xef\xbb\xbf"))
        # Values are stored as MessagePack, which has no integers beyond 64 bits.
        msgspec.msgpack.encode(value)
    except (msgspec.MsgspecError, UnicodeError, OverflowError) as problem:
        raise UnreadableError(f"not usable JSON: {problem}") from problem
    return value


def _as_utf8(body: bytes, charset: str | None) -> bytes:
    if charset is None or charset.lower() in ("utf-8", "utf8"):
        return body
    return _read_text(body, charset).encode()


def _read_text(body: bytes, charset: str | None) -> str:
    try:
        text = body.decode(charset or "utf-8")
        text.encode()  # some codecs give lone surrogates
    except (ValueError, LookupError) as problem:
        raise UnreadableError(f"not text in {charset or 'utf-8'}: {problem}") from problem
    return text


def media_type(content_type: str | None) -> tuple[str, str | None]:
    """Media type in lower case and charset of a Content-Type header; ("", None) without one."""
    if not content_type:
        return "", None
    header = Message()
    header["content-type"] = content_type.replace("\r", " ").replace("\n", " ")
    charset = header.get_param("charset")
    return content_type.partition(";")[0].strip().lower(), charset if isinstance(charset, str) else None


def is_json(media: str) -> bool:
    return media == "application/json" or media.endswith("+json")


def visible_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers of a request as outputs may show them: credentials replaced."""
    hidden = {"authorization", "proxy-authorization", "cookie"}
    return {name: "***" if name.lower() in hidden else value for name, value in headers.items()}


def is_field_value(text: str) -> bool:
    """Whether a header can carry this text: one line, and encodable."""
    return not any((c < " " and c != "\t") or c == "\x7f" or "\ud800" <= c <= "\udfff" for c in text)
