"""Cursors: where a list goes on, sealed so that clients cannot make them up or change them.

A seal is the beginning of an HMAC over the content, under a key of the database; the content is not secret.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Any, Final, TypeVar

import msgspec

from domain.errors import RetraceError

T = TypeVar("T")
_SEAL_BYTES: Final = 12


class MalformedCursorError(RetraceError):
    """This cursor is not one that this service gave; start again without it."""

    code = "malformed-request"


class Seal:
    """Makes cursors of one kind, and reads them again. `kind` keeps those of different lists apart."""

    def __init__(self, key: bytes, kind: str) -> None:
        self._key = hmac.digest(key, kind.encode(), "sha256")

    def sealed(self, content: Any) -> str:
        """The text of a cursor."""
        body = msgspec.msgpack.encode(content)
        return base64.urlsafe_b64encode(self._mark(body) + body).decode().rstrip("=")

    def opened(self, cursor: str, type_: type[T]) -> T:
        """What was sealed. Raises MalformedCursorError."""
        try:
            raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
            body = raw[_SEAL_BYTES:]
            if not hmac.compare_digest(raw[:_SEAL_BYTES], self._mark(body)):
                raise MalformedCursorError
            return msgspec.msgpack.decode(body, type=type_)
        except (ValueError, binascii.Error):
            raise MalformedCursorError from None

    def _mark(self, body: bytes) -> bytes:
        return hmac.new(self._key, body, hashlib.sha256).digest()[:_SEAL_BYTES]
