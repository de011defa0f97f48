"""The header fields of a request, indexed once.

Starlette looks through all fields for each one it is asked for, and most are asked for in vain.
"""

from __future__ import annotations

from typing import Any

from starlette.datastructures import Headers
from starlette.types import Scope


class Fields(Headers):
    """Headers whose first value of a name is at hand. Names are asked for in lower case."""

    def __init__(self, scope: Scope) -> None:
        raw = list(scope["headers"])
        super().__init__(raw=raw)
        self._first: dict[bytes, bytes] = dict(reversed(raw))

    def get(self, key: str, default: Any = None) -> Any:
        """The first value, or the default."""
        value = self._first.get(key.encode())
        return default if value is None else value.decode("latin-1")

    def getlist(self, key: str) -> list[str]:
        """All values."""
        return super().getlist(key) if key.encode() in self._first else []
