"""Ed25519 keys: for signing checkpoints, and for those who check them.

A key's id is the first 32 hex digits of the SHA-256 of its 32 public bytes, so it follows from the key and cannot be
claimed by another. Keys come as PEM (PKCS 8 or SubjectPublicKeyInfo, as OpenSSL writes them), as base64 of their 32 bytes,
or as the path of a file with either.
"""

from __future__ import annotations

import base64
import binascii
import os
import tempfile
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

_HOW = "Write the path of a PEM file (retrace audit keygen makes one), its text, or base64 of 32 bytes."


class KeyUnusableError(ValueError):
    """What was given is not a key of the kind that is needed. The text does not contain it."""


class Ed25519Signer:
    """`application.checkpoint_store.Signer` with one private key."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = key.public_key()
        self.key_id = key_id(self.public)

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)


class Ed25519Keys:
    """`application.checkpoint_store.PublicKeys`; the first is the current one, if `current` says so."""

    def __init__(self, keys: Iterable[Ed25519PublicKey], *, current: Ed25519PublicKey | None = None) -> None:
        everything = [*([] if current is None else [current]), *keys]
        self._keys = {key_id(each): each for each in everything}
        self._current = None if current is None else key_id(current)

    def listed(self) -> list[dict[str, Any]]:
        return [
            {
                "key_id": name,
                "algorithm": "Ed25519",
                "public_key": base64.b64encode(each.public_bytes_raw()).decode(),
                "pem": public_pem(each),
                "current": name == self._current,
            }
            for name, each in self._keys.items()
        ]

    def holds(self, key_id: str, message: bytes, signature: bytes) -> bool | None:
        key = self._keys.get(key_id)
        if key is None:
            return None
        try:
            key.verify(signature, message)
        except InvalidSignature:
            return False
        return True


def key_id(key: Ed25519PublicKey) -> str:
    """The id of a key, which follows from it."""
    return sha256(key.public_bytes_raw()).hexdigest()[:32]


def public_pem(key: Ed25519PublicKey) -> str:
    """The public key as PEM."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def read_private(given: str) -> Ed25519PrivateKey:
    """The private key that a setting names. Raises KeyUnusableError."""
    text = _text(given)
    try:
        key = (
            load_pem_private_key(text, None)
            if b"-----BEGIN" in text
            else Ed25519PrivateKey.from_private_bytes(_raw(text))
        )
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyUnusableError(f"is not an Ed25519 private key without a passphrase. {_HOW}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyUnusableError(f"is a key of another kind than Ed25519. {_HOW}")
    return key


def read_public(given: str) -> Ed25519PublicKey:
    """The public key that a setting or an option names; of a private key its public one. Raises KeyUnusableError."""
    text = _text(given)
    try:
        if b"PRIVATE KEY" in text:
            return read_private(text.decode()).public_key()
        key = load_pem_public_key(text) if b"-----BEGIN" in text else Ed25519PublicKey.from_public_bytes(_raw(text))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyUnusableError(f"is not an Ed25519 public key. {_HOW}") from None
    if not isinstance(key, Ed25519PublicKey):
        raise KeyUnusableError(f"is a key of another kind than Ed25519. {_HOW}")
    return key


def make_key(path: Path) -> Ed25519PrivateKey:
    """A new private key in a new file that only its owner may read. Raises FileExistsError, OSError."""
    key = Ed25519PrivateKey.generate()
    # Written under another name first, so that nobody finds half a key; a link does not replace what is there.
    descriptor, name = tempfile.mkstemp(dir=path.absolute().parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            file.flush()
            os.fsync(file.fileno())
        os.link(name, path)
    finally:
        Path(name).unlink()
    return key


def _text(given: str) -> bytes:
    given = given.strip()
    if "-----BEGIN" in given:
        return given.replace("\\n", "\n").encode()  # one line in an environment file
    if _is_raw(given):
        return given.encode()
    try:
        return Path(given).read_bytes().strip()
    except (OSError, ValueError):
        raise KeyUnusableError(f"names no file that can be read, and is no key. {_HOW}") from None


def _is_raw(given: str) -> bool:
    try:
        return len(_raw(given.encode())) == 32
    except ValueError:
        return False


def _raw(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("not base64") from None
