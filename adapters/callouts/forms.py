"""Bodies that are made of parts or of files: ``multipart/form-data``, and a file as the whole body.

With a content type of ``multipart/form-data`` the body is an object, each of whose members becomes a part, or several where
it is a list. A part is a scalar, the reference of a file, or ``{content, content_base64, content_type, filename}``, where
`content` is text, the reference of a file, or, as ``application/json``, any value. With another content type that is neither
JSON nor a form, the reference of a file is sent as the bytes of that file. Parts are written as browsers do (WHATWG), by
httpx2.
"""

from __future__ import annotations

import re
from base64 import b64decode
from typing import Any, Final

import httpx2
import msgspec

from adapters.callouts.content import FORM, encode_body, is_field_value, is_json, media_type
from adapters.callouts.exchange import UnsentError
from adapters.callouts.uris import json_kind, scalar_text
from application.ports import OrchestrationFiles
from domain.errors import RetraceError, StorageError, fault

MULTIPART: Final = "multipart/form-data"
MOST_BYTES: Final = 64 * 1_048_576
"""Of one body."""
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}\Z")
_MEMBERS: Final = frozenset({"content", "content_base64", "content_type", "filename"})
_BINARY: Final = "application/octet-stream"


class Encoded(msgspec.Struct, frozen=True):
    """A body as it is sent; null is no body."""

    data: bytes | None
    content_type: str | None


class _Part(msgspec.Struct, frozen=True):
    content: bytes
    content_type: str | None = None
    filename: str | None = None


async def encoded(body: Any, content_type: str | None, files: OrchestrationFiles | None) -> Encoded:
    """The bytes of a body. Raises UnsentError (configuration; communication where a file cannot be read now)."""
    media, _ = media_type(content_type)
    if media == MULTIPART and body is not None:
        return await _multipart(body, files)
    if content_type is not None and not is_json(media) and media != FORM and is_reference(body):
        return Encoded((await _file(body, files)).content, content_type)
    return Encoded(*encode_body(body, content_type))


def is_reference(value: Any) -> bool:
    """Whether a JSON value is the reference of a file."""
    if not isinstance(value, dict) or "bytes" not in value:
        return False
    digest = value.get("digest")
    return isinstance(digest, str) and _DIGEST.match(digest) is not None


async def _multipart(body: Any, files: OrchestrationFiles | None) -> Encoded:
    if not isinstance(body, dict):
        raise _problem(f"a body as {MULTIPART} is an object whose members are its parts, not {json_kind(body)}")
    parts: list[tuple[str, tuple[str | None, bytes, str | None]]] = []
    size = 0
    for name, value in body.items():
        for each in value if isinstance(value, list) else [value]:
            if each is None:
                continue
            part = await _part(name, each, files)
            size += len(part.content)
            if size > MOST_BYTES:
                raise _problem(f"the body is larger than {MOST_BYTES} bytes")
            parts.append((name, (part.filename, part.content, part.content_type)))
    if not parts:
        raise _problem(f"a body as {MULTIPART} has at least one part")
    made = httpx2.Request("POST", "http://form.invalid", files=parts)
    return Encoded(made.read(), made.headers["content-type"])


async def _part(name: str, value: Any, files: OrchestrationFiles | None) -> _Part:
    if is_reference(value):
        return await _file(value, files)
    if isinstance(value, list):
        raise _problem(f"the part {name!r} is a list within a list")
    if not isinstance(value, dict):
        return _Part(scalar_text(value).encode())
    unknown = value.keys() - _MEMBERS
    if unknown or ("content" in value) == ("content_base64" in value):
        raise _problem(
            f"the part {name!r} is neither text, nor a file: write content (or content_base64), content_type and filename, "
            "or a value as text with tojson"
        )
    filename = _text(name, "filename", value.get("filename"))
    kind = _text(name, "content_type", value.get("content_type"))
    if "content_base64" in value:
        return _Part(_from_base64(name, value["content_base64"]), kind or _BINARY, filename)
    content = value["content"]
    if is_reference(content):
        file = await _file(content, files)
        return _Part(file.content, kind or file.content_type, filename or file.filename)
    if isinstance(content, (dict, list)) and not is_json(media_type(kind)[0]):
        raise _problem(f"the content of the part {name!r} is {json_kind(content)}; say content_type: application/json")
    data, _ = encode_body(content, kind or "text/plain")
    return _Part(data or b"", kind, filename)


async def _file(reference: dict[str, Any], files: OrchestrationFiles | None) -> _Part:
    digest = reference["digest"]
    if files is None:
        raise _problem(f"the file {digest} cannot be had here")
    try:
        blob = await files.read(digest)
    except StorageError as error:
        raise UnsentError(fault("communication", f"the file {digest} could not be read: {error.detail}")) from error
    except RetraceError as error:
        raise _problem(f"the file {digest} cannot be sent: {error.detail}") from error
    if blob.size > MOST_BYTES:
        raise _problem(f"the file {digest} is larger than {MOST_BYTES} bytes")
    filename = reference.get("filename")
    named = filename if isinstance(filename, str) and filename else digest.removeprefix("sha256:")[:16]
    return _Part(blob.content or b"", blob.media_type, named)


def _text(part: str, member: str, value: Any) -> str | None:
    if value is None or (isinstance(value, str) and value and is_field_value(value)):
        return value
    raise _problem(f"the {member} of the part {part!r} is not one line of text")


def _from_base64(name: str, value: Any) -> bytes:
    try:
        return b64decode(value, validate=True)
    except (ValueError, TypeError) as problem:
        raise _problem(f"the content_base64 of the part {name!r} is not base64") from problem


def _problem(why: str) -> UnsentError:
    return UnsentError(fault("configuration", why))
