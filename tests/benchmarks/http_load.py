"""Load over HTTP: wrk, the same for every system. What it found comes back as JSON from `starts.lua`."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec

MISSING = "W4 needs wrk: apt-get install wrk (or brew install wrk), or choose other workloads with --workload."
_SCRIPT = Path(__file__).with_name("starts.lua")


class Starts(msgspec.Struct, frozen=True):
    """The request that starts one instance. `keyed`: the word KEY in the URL becomes a new key every time."""

    url: str
    body: str
    keyed: bool = False


class Load(msgspec.Struct, frozen=True):
    """What became of the requests. `refused`: answers of 400 and above; `broken`: no answer."""

    answers: int
    refused: int
    broken: int
    seconds: float
    p50_ms: float
    p99_ms: float


Generator = Callable[[Starts, int, float], Load]


def wrk_is_here() -> bool:
    return shutil.which("wrk") is not None


def wrk(starts: Starts, connections: int, load_s: float) -> Load:
    """One thread, so many connections, each with one request at a time."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{load_s:.0f}s", "--timeout", "20s", "-s", str(_SCRIPT), starts.url]
    arguments = ["--", starts.body, "keyed" if starts.keyed else "plain"]
    said = subprocess.run([*command, *arguments], check=True, capture_output=True, text=True).stdout
    return msgspec.convert(json.loads(said.strip().rpartition("\n")[2]), Load)
