"""The child process of the jail: confines itself, then answers requests on its pipes until they close.

Started with an empty environment. It can open no file (its descriptors are used up, which also keeps ``~/.jq`` out),
write none, and owns a fixed amount of memory. Each program has a budget of processor time: the timer's signal ends the
process, so a loop neither outlives its deadline nor its parent, and a busy host is not mistaken for a slow program.
Standard output belongs to the protocol and is moved away from where a C library would print.

Imports nothing but the standard library and jq.
"""

from __future__ import annotations

import io
import os
import resource
import signal
import sys
from collections.abc import Callable
from typing import BinaryIO

from adapters.expressions import frames
from adapters.expressions.programs import ProgramError, compiled, run

OUT_OF_MEMORY = 70
"""Exit status of a child that Python, not jq, found short of memory. jq aborts."""


def main(arguments: list[str]) -> None:
    """Serve with the limits given as text: memory in bytes, deadline in seconds, largest result in bytes."""
    memory_bytes, deadline_s, result_bytes = int(arguments[0]), float(arguments[1]), int(arguments[2])
    # uvloop leaks descriptors into children: a sibling's pipe kept open here would hide its parent's end from it.
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    os.closerange(3, limit if limit != resource.RLIM_INFINITY else 1 << 16)
    requests = io.FileIO(0, "rb", closefd=False)
    answers = os.fdopen(os.dup(1), "wb")
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    os.close(silence)
    _confine(memory_bytes, highest_descriptor=answers.fileno())
    try:
        _serve(io.BufferedReader(requests), answers, deadline_s, result_bytes)
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    except (BrokenPipeError, KeyboardInterrupt):
        os._exit(0)


def _confine(memory_bytes: int, highest_descriptor: int) -> None:
    limits = [
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, highest_descriptor + 1),
        (resource.RLIMIT_AS, memory_bytes),
    ]
    for what, amount in limits:
        hard = resource.getrlimit(what)[1]
        allowed = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
        # A platform that cannot limit its address space (macOS) still has the deadline and the parent's care.
        try:
            resource.setrlimit(what, (allowed, allowed))
        except (ValueError, OSError):
            if sys.platform == "linux":
                raise
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is the parent's to handle
    _answer(".", (), "[null]", 1 << 10)  # loads what jq loads late, within the limits


def _serve(requests: io.BufferedReader, answers: BinaryIO, deadline_s: float, result_bytes: int) -> None:
    arm: Callable[..., object] = signal.setitimer
    while header := requests.read(frames.LENGTH.size):
        body = requests.read(frames.LENGTH.unpack(header)[0])
        for program, names, text in frames.requests_in(body):
            arm(signal.ITIMER_PROF, deadline_s)
            answer = _answer(program, names, text, result_bytes)
            arm(signal.ITIMER_PROF, 0)
            answers.write(answer)
            answers.flush()


def _answer(program: str, names: tuple[str, ...], text: str | None, result_bytes: int) -> bytes:
    try:
        ready = compiled(program, names)
        result = b"" if text is None else run(ready, text).encode()
    except ProgramError as error:
        return frames.answer(frames.FAILED, str(error).encode(errors="replace"))
    if len(result) > result_bytes:
        return frames.answer(frames.FAILED, f"the result is larger than {result_bytes >> 20} MB".encode())
    return frames.answer(frames.VALUE, result)
