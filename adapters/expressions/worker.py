"""The parent's end of one child process: writes a frame, collects its answers, and sees to its end.

Speaks to the pipes through an asyncio protocol rather than streams: half the cost per round trip. One exchange at a
time; whoever gives up on an exchange must `kill` the worker, because answers still on their way would be taken for
those of the next.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import signal
import sys
from pathlib import Path
from typing import cast

import msgspec

from adapters.expressions import frames
from adapters.expressions.child import OUT_OF_MEMORY

_BOOT = (
    "import sys; sys.path += sys.argv[1:3]; del sys.argv[1:3]; "
    "from adapters.expressions.child import main; main(sys.argv[1:])"
)
_PATIENCE = 5
"""A child without an answer for this many deadlines of wall time is stuck, however little processor time it used."""


class Limits(msgspec.Struct, frozen=True):
    """What one program may use: processor time (s), memory of its process and size of its result (bytes)."""

    deadline_s: float
    memory_bytes: int
    result_bytes: int


class Worker(asyncio.SubprocessProtocol):
    """A running child. Made by `start`; usable until `ended`."""

    def __init__(self, limits: Limits) -> None:
        self.served = 0
        """Answers given so far."""
        self._limits = limits
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.SubprocessTransport | None = None
        self._received = bytearray()
        self._answers: list[frames.Answer] = []
        self._expected = 0
        self._done: asyncio.Future[None] | None = None
        self._stuck = False
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    async def start(cls, limits: Limits) -> Worker:
        """Start a child with an empty environment and only what it needs on its path."""
        jq = importlib.util.find_spec("jq")
        if jq is None or jq.origin is None:
            raise RuntimeError("the jq library is not installed")
        command = [sys.executable, "-I", "-S", "-B", "-c", _BOOT]
        paths = [str(Path(__file__).parents[2]), str(Path(jq.origin).parent)]
        arguments = [str(limits.memory_bytes), str(limits.deadline_s), str(limits.result_bytes)]
        _, worker = await asyncio.get_running_loop().subprocess_exec(
            lambda: cls(limits),
            *command,
            *paths,
            *arguments,
            env={},
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in a terminal is for the service, which ends them itself
        )
        return worker

    @property
    def ended(self) -> bool:
        return self._ended.done()

    async def exchange(self, requests: list[bytes]) -> list[frames.Answer]:
        """The answers to the requests, in order; fewer than asked when the child died, which `ended` then tells."""
        if self.ended:
            return []
        loop = asyncio.get_running_loop()
        self._answers, self._expected, self._done = [], len(requests), loop.create_future()
        stdin = cast("asyncio.WriteTransport", self._running.get_pipe_transport(0))
        stdin.write(frames.frame(requests))
        self._watch(self.served)
        try:
            await self._done
        finally:
            self._done = None
            if self._timer is not None:
                self._timer.cancel()
        return self._answers

    @property
    def overran(self) -> bool:
        """Whether it died of a program that used up its time."""
        return self._stuck or self._running.get_returncode() == -signal.SIGPROF

    def verdict(self) -> str:
        """Why a child that died did so, said of the program it was running."""
        status = self._running.get_returncode()
        if self.overran:
            return f"took longer than {self._limits.deadline_s:g} s"
        if status in (OUT_OF_MEMORY, -signal.SIGABRT, -signal.SIGSEGV, -signal.SIGBUS):
            return f"needed more than {self._limits.memory_bytes >> 20} MB of memory, or recursed too deeply"
        return f"its evaluation was ended from outside (status {status})"

    def kill(self) -> None:
        """End the child now; an exchange under way returns with what has arrived."""
        if self._running.get_returncode() is None:
            with contextlib.suppress(ProcessLookupError):
                self._running.kill()

    async def gone(self) -> None:
        """Wait until the child has ended and was reaped."""
        await asyncio.shield(self._ended)

    # -- asyncio.SubprocessProtocol --

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.SubprocessTransport", transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self._received += data
        arrived = frames.take_answers(self._received)
        self.served += len(arrived)
        self._answers += arrived
        if len(self._answers) >= self._expected:
            self._release()

    def connection_lost(self, exc: Exception | None) -> None:
        # Comes after the pipes are drained and the process is reaped: nothing that it answered is lost.
        if not self._ended.done():
            self._ended.set_result(None)
        self._running.close()
        self._release()

    def _release(self) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_result(None)

    def _watch(self, served: int) -> None:
        """Look again in a while whether more was answered than `served`; the child's own timer is usually first."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._limits.deadline_s * _PATIENCE, self._look, served)

    def _look(self, served: int) -> None:
        if self.served > served:
            self._watch(self.served)
        else:
            self._stuck = True
            self.kill()

    @property
    def _running(self) -> asyncio.SubprocessTransport:
        assert self._transport is not None, "used before it was started"
        return self._transport
