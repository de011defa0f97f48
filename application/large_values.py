"""Large values of an event, kept beside it: what is stored of the event refers to them by their digest.

A stored event that has such references begins with a byte that no msgpack begins with (0xC1), then the number of this form,
the length of a header (4 bytes, big-endian), the header, and the event in msgpack, where an extension of type 66 holds the
index into the header in the place of each value. The header is msgpack: ``[[digest (SHA-256), bytes, kind], ...]``; it can be
read without knowing what the event is. The chain of the log is over these bytes, so it fixes the values by their digests.

A value goes as deep as it is large: a member of 5 MB in an object of small members goes alone, a list of many small items as
a whole. So what passes through many events unchanged has one digest, and is kept once for an orchestration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Final, Literal

import msgspec

from domain.errors import ContentMissingError

Kind = Literal["text", "json", "bytes", "msgpack"]

MEDIA_TYPES: Final[Mapping[Kind, str]] = {
    "text": "text/plain; charset=utf-8",
    "json": "application/json",
    "bytes": "application/octet-stream",
    "msgpack": "application/vnd.msgpack",
}
MARK: Final = 0xC1
"""The first byte of an event with references; msgpack never uses it."""
_FORM: Final = 1
_EXTENSION: Final = 66
_LENGTH_BYTES: Final = 4
_START: Final = 2 + _LENGTH_BYTES
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder().decode


class Reference(msgspec.Struct, frozen=True, array_like=True):
    """What stands for a value: the digest of its content, how long that is, and how it is to be read."""

    digest: bytes
    size: int
    kind: Kind

    def shown(self) -> dict[str, Any]:
        """The reference as clients see it."""
        return {"digest": named(self.digest), "bytes": self.size, "media_type": MEDIA_TYPES[self.kind]}


class Blob(msgspec.Struct, frozen=True):
    """Bytes under their digest (SHA-256). `content` None: they are kept elsewhere already. `size` in bytes."""

    digest: bytes
    media_type: str
    size: int
    content: bytes | None


class Contents(dict[bytes, bytes]):
    """Contents by digest. `of`: the public id of the orchestration, where one is missing."""

    of: str = ""


_headers: Final = msgspec.msgpack.Decoder(list[Reference]).decode


def named(digest: bytes) -> str:
    """A digest as it is written: sha256:hexadecimal."""
    return f"sha256:{digest.hex()}"


def blob_of(content: bytes, media_type: str) -> Blob:
    """Bytes with their digest."""
    return Blob(sha256(content).digest(), media_type, len(content), content)


def has_references(state: bytes) -> bool:
    """Whether the stored bytes of an event refer to values beside it. One look at the first byte."""
    return bool(state) and state[0] == MARK


def references(state: bytes) -> list[Reference]:
    """What the stored bytes of an event refer to. Raises ValueError for a form that is not known, or for damage."""
    return _split(state)[0] if has_references(state) else []


def public_id_in(state: bytes) -> str:
    """The id in the first event of an orchestration; "" where it cannot be read."""
    try:
        body = _split(state)[1] if has_references(state) else state
        return str(_decode(body).get("id", ""))
    except (ValueError, IndexError, AttributeError):
        return ""


def take_out(state: bytes, threshold_bytes: int) -> tuple[bytes, list[Blob]]:
    """The bytes to store and the values that go beside them, none longer than the threshold staying inside as far as that
    can be. `state`: an event in msgpack.
    """
    taken = _Taken(threshold_bytes)
    body = _encode(taken.without_large(_decode(state)))
    if not taken.references:
        return state, []
    header = _encode(taken.references)
    return b"".join((bytes((MARK, _FORM)), len(header).to_bytes(_LENGTH_BYTES), header, body)), taken.blobs


def put_back(state: bytes, value_of: Callable[[Reference], Any]) -> bytes:
    """The event in msgpack, whole. `value_of` gives what takes the place of a reference. Raises ValueError."""
    header, body = _split(state)

    def found(code: int, data: memoryview) -> Any:
        if code != _EXTENSION:
            raise ValueError("an extension that no event has")
        return value_of(header[int.from_bytes(data)])

    return _encode(msgspec.msgpack.decode(body, ext_hook=found))


def value_in(contents: Contents) -> Callable[[Reference], Any]:
    """The values themselves, from their contents. What is not there raises ContentMissingError."""

    def value(reference: Reference) -> Any:
        content = contents.get(reference.digest)
        if content is None:
            raise ContentMissingError(contents.of, named(reference.digest))
        return read(content, reference.kind)

    return value


def shown_in(contents: Contents) -> Callable[[Reference], Any]:
    """References as clients see them; bytes inside an event, which clients never see as such, are put back."""
    value = value_in(contents)
    return lambda reference: value(reference) if reference.kind == "bytes" else reference.shown()


def read(content: bytes, kind: Kind) -> Any:
    """A value from its content."""
    if kind == "text":
        return content.decode()
    if kind == "json":
        return msgspec.json.decode(content)
    return content if kind == "bytes" else _decode(content)


class _Taken:
    """Values that were taken out, in their order."""

    def __init__(self, threshold_bytes: int) -> None:
        self.references: list[Reference] = []
        self.blobs: list[Blob] = []
        self._most = threshold_bytes
        self._known: dict[bytes, int] = {}

    def without_large(self, event: Any) -> Any:
        """The event, each of its members at most so long."""
        return {name: self._smaller(value)[0] for name, value in event.items()}

    def _smaller(self, value: Any) -> tuple[Any, int]:
        """What is to be stored of a value, and about how many bytes that is."""
        if isinstance(value, (dict, list)):
            whole = len(_encode(value))
            if whole <= self._most:
                return value, whole
            before = len(self.references)
            if isinstance(value, dict):
                pairs = {name: self._smaller(each) for name, each in value.items()}
                smaller: Any = {name: each for name, (each, _) in pairs.items()}
                size = sum(size + len(name) + 3 for name, (_, size) in pairs.items())
            else:
                items = [self._smaller(each) for each in value]
                smaller, size = [each for each, _ in items], sum(size for _, size in items)
            if size <= self._most:
                return smaller, size
            for each in self.references[before:]:
                self._known.pop(each.digest, None)  # a text and the value that it spells have one digest
            del self.references[before:], self.blobs[before:]
        elif isinstance(value, (str, bytes)) and len(value) * 4 > self._most:
            if (size := len(_encode(value))) <= self._most:
                return value, size
        else:
            return value, 9
        return self._referred(value)

    def _referred(self, value: Any) -> tuple[Any, int]:
        content, kind = _written(value)
        blob = blob_of(content, MEDIA_TYPES[kind])
        index = self._known.get(blob.digest)
        if index is None or self.references[index].kind != kind:
            index = self._known[blob.digest] = len(self.references)
            self.references.append(Reference(blob.digest, blob.size, kind))
            self.blobs.append(blob)
        return msgspec.msgpack.Ext(_EXTENSION, index.to_bytes(_LENGTH_BYTES)), 6


def _written(value: Any) -> tuple[bytes, Kind]:
    if isinstance(value, str):
        return value.encode(), "text"
    if isinstance(value, bytes):
        return value, "bytes"
    packed = _encode(value)
    try:
        content = msgspec.json.encode(value)
        if _encode(msgspec.json.decode(content)) == packed:
            return content, "json"
    except (TypeError, ValueError):
        pass  # it has something that JSON has not
    return packed, "msgpack"


def _split(state: bytes) -> tuple[list[Reference], memoryview]:
    if len(state) < _START:
        raise ValueError("large values are kept in a form that ends too early")
    if state[1] != _FORM:
        raise ValueError("large values are kept in a form that this version does not know")
    end = _START + int.from_bytes(state[2:_START])
    return _headers(state[_START:end]), memoryview(state)[end:]
