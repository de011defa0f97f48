"""What a measurement ran on, and whether the machine had nothing else to do."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

import psutil

_QUIET_CORES = 0.25
LOOK_S = 0.5
"""The shortest look at how busy the machine is."""


def describe() -> dict[str, str]:
    """The machine, for people."""
    memory_gib = psutil.virtual_memory().total / 2**30
    release = ".".join(platform.release().split(".")[:2])
    return {
        "processor": f"{os.cpu_count()} cores, {_model()}",
        "memory": f"{memory_gib:.0f} GiB",
        "system": f"{platform.system()} {release}",
        "python": f"Python {platform.python_version()}",
    }


def _model() -> str:
    """The processor's own name where Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def quiet(wait_s: float) -> float:
    """Wait, at most so long, until less than a quarter of a core is busy; the cores that were busy at the last look."""
    begun = time.monotonic()
    while True:
        busy: float = psutil.cpu_percent(LOOK_S) / 100 * (os.cpu_count() or 1)
        if busy < _QUIET_CORES or time.monotonic() - begun > wait_s:
            return busy
