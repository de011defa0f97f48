"""The machine's clock and chance, and what it knows of other processes."""

from __future__ import annotations

import gc
import os
import platform
from datetime import UTC, datetime
from pathlib import Path

from application.leases import NodeIdentity


class SystemClock:
    """Implements `application.ports.Clock`."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class SystemChance:
    """Implements `application.identity.Chance` with the operating system's generator, asked for a page at a time."""

    _PAGE = 4096

    def __init__(self) -> None:
        self._page = b""
        self._used = 0

    def random_bytes(self, count: int) -> bytes:
        if self._used + count > len(self._page):
            self._page, self._used = os.urandom(max(self._PAGE, count)), 0
        start = self._used
        self._used += count
        return self._page[start : self._used]


class ProcessLiveness:
    """Implements `application.leases.Liveness` for processes of this machine, where /proc tells (Linux)."""

    def is_gone(self, other: NodeIdentity) -> bool:
        """Certain only where both live in the same boot of the same machine and see the same process ids."""
        here, there = process_mark(os.getpid()).split(), other.process.split()
        if other.host != platform.node() or len(here) != 3 or here[:2] != there[:2]:
            return False
        return process_mark(other.pid) != other.process


def process_mark(pid: int) -> str:
    """The boot, the pid namespace and the moment of birth of a process; "" when there is none or nobody can tell."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = str(Path("/proc/self/ns/pid").readlink())
        # The name of the program, which may hold anything, ends at the last parenthesis.
        facts = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except (OSError, ValueError):
        return ""
    state, born = facts[0], facts[19]
    return "" if state in ("Z", "X") else f"{boot} {namespace} {born}"


def calm_collector() -> None:
    """Let Python's cycle collector look rarely, and never again at what exists now. For a process that serves.

    What a node keeps (states, plans, modules) is large and free of cycles; looking at all of it after every 700 new
    objects costs a quarter of the throughput and shows in the slowest answers.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
