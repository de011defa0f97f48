"""The machine's clock and chance."""

from __future__ import annotations

import os
from datetime import UTC, datetime


class SystemClock:
    """Implements `application.ports.Clock`."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class SystemChance:
    """Implements `application.identity.Chance` with the operating system's generator."""

    def random_bytes(self, count: int) -> bytes:
        return os.urandom(count)
