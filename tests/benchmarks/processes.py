"""The processes of a run: started, told what to do, asked what they used, and ended.

A measuring process gets its order as one argument (JSON) and prints its values as one line of JSON, the last of its output.
So a run of Retrace, in the project's environment, and one of a peer, in the peer's own, look alike from here.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import msgspec
import psutil

from tests.benchmarks.figures import Value

ROOT = Path(__file__).resolve().parents[2]
_COMES_WITHIN_S = 60.0


class RunFailedError(Exception):
    """A process of a run ended badly, or did not become what was waited for."""


def measure(command: Sequence[str], order: Mapping[str, Any], limit_s: float) -> list[Value]:
    """Run a measuring process to its end. Raises RunFailedError with the end of what it said."""
    process = subprocess.Popen(
        [*command, json.dumps(order)],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        said, complained = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        end(process)
        raise RunFailedError(f"not done after {limit_s:.0f} s\n{_end_of(process.communicate()[1])}") from None
    finally:
        end(process)
    if process.returncode:
        raise RunFailedError(f"exit code {process.returncode}\n{_end_of(said + complained)}")
    return msgspec.json.decode(said.strip().rpartition("\n")[2], type=list[Value])


def environment(**more: str) -> dict[str, str]:
    """This process's environment without settings of Retrace, which would change what is measured."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RETRACE_")} | more


def answer(values: Sequence[Value]) -> None:
    """What a measuring process says at its end."""
    print(msgspec.json.encode(values).decode(), flush=True)


@contextlib.contextmanager
def running(command: Sequence[str], **more: str) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """A server process while the block runs, and the file that gets what it says; its children end with it."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, cwd=ROOT, env=environment(**more), stdout=said, stderr=subprocess.STDOUT)
        try:
            yield process, said
        finally:
            end(process)


def end(process: subprocess.Popen[Any]) -> None:
    """SIGTERM, and SIGKILL for whoever of it and its children does not listen."""
    if process.poll() is not None:
        return
    everyone = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for child in everyone:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()


def until(holds: Callable[[], bool], what: str, limit_s: float, every_s: float = 0.05) -> float:
    """Ask until it holds; the seconds that took. Raises RunFailedError after `limit_s`."""
    begun = time.monotonic()
    while not holds():
        if time.monotonic() - begun > limit_s:
            raise RunFailedError(f"after {limit_s:.0f} s still not: {what}")
        time.sleep(every_s)
    return time.monotonic() - begun


def answering(process: subprocess.Popen[Any], said: IO[bytes], url: str) -> None:
    """Wait until a server answers over HTTP. Raises RunFailedError when it ends instead."""
    _come(process, said, url, lambda: asked("GET", url)[0] < 500)


def listening(process: subprocess.Popen[Any], said: IO[bytes], port: int) -> None:
    """Wait until a server takes connections, whatever it speaks. Raises RunFailedError when it ends instead."""

    def listens() -> bool:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True

    _come(process, said, f"port {port}", listens)


def _come(process: subprocess.Popen[Any], said: IO[bytes], what: str, there: Callable[[], bool]) -> None:
    def come() -> bool:
        if process.poll() is not None:
            said.seek(0)
            raise RunFailedError(f"{what} never came, exit code {process.returncode}\n{_end_of(said.read().decode())}")
        with contextlib.suppress(OSError):
            return there()
        return False

    until(come, f"{what} answers", _COMES_WITHIN_S)


def asked(method: str, url: str, body: Any = None) -> tuple[int, Any]:
    """Status and JSON (None where there is none) of one HTTP exchange with a server on this machine."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    request = urllib.request.Request(url, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            status, text = response.status, response.read()
    except urllib.error.HTTPError as refusal:
        with refusal:
            status, text = refusal.code, refusal.read()
    try:
        return status, json.loads(text)
    except ValueError:
        return status, None


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def resident_mb(*pids: int) -> float:
    """Resident memory of these processes and all their children."""
    return sum(each.memory_info().rss for each in _family(pids)) / 2**20


def processor_s(*pids: int) -> float:
    """Processor time that these processes and all their children, the ended ones too, have used so far."""
    times = [each.cpu_times() for each in _family(pids)]
    return sum(each.user + each.system + each.children_user + each.children_system for each in times)


def _family(pids: Sequence[int]) -> list[psutil.Process]:
    found: list[psutil.Process] = []
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            parent = psutil.Process(pid)
            found += [parent, *parent.children(recursive=True)]
    return found


def _end_of(text: str) -> str:
    return text.strip()[-2000:]
