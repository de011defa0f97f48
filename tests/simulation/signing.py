"""A key for worlds without cryptography: a keyed hash, which only those who hold the key can make or check."""

from __future__ import annotations

import hmac
from typing import Any


class SimulatedKey:
    """`Signer` and `PublicKeys` of one key."""

    key_id = "simulated"

    def __init__(self, key: bytes = b"the key of every simulated world") -> None:
        self._key = key

    def sign(self, message: bytes) -> bytes:
        return hmac.digest(self._key, message, "sha256")

    def listed(self) -> list[dict[str, Any]]:
        return [{"key_id": self.key_id, "current": True}]

    def holds(self, key_id: str, message: bytes, signature: bytes) -> bool | None:
        return hmac.compare_digest(self.sign(message), signature) if key_id == self.key_id else None
