"""Several nodes that share one port, a process each: how one machine puts all of its cores to work.

The parent binds the port, forks, and serves nothing itself. Each child is a node like any other and accepts connections from
the same socket, so the one with the least to do takes the next. A signal to the parent stops all of them in order. A child
that ends by itself is replaced (the others take its partitions over at once), as often as it takes; one that cannot even
start at the beginning ends the whole, for the next would not fare better. Children notice the end of the parent, however
it ended, and stop.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, NoReturn

import structlog

Node = Callable[[int, Callable[[], None], int], int]
"""Runs a node to its end; gives the exit code. It gets a file descriptor that can be read when the parent has ended, what to
call as soon as it serves, and its number, from 1 on; one that replaces another has the number of that one.
"""

_log = structlog.get_logger("retrace")
_YOUNG_S: Final = 10.0
_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 30.0
_LOOK_S: Final = 0.1
_ENDING: Final = (signal.SIGTERM, signal.SIGINT)


class Processes:
    """So many nodes. The second and all after it begin when the first one serves: it makes what the others find."""

    def __init__(self, count: int, node: Node) -> None:
        self._count = count
        self._node = node
        self._born: dict[int, float] = {}
        self._numbers: dict[int, int] = {}
        self._stopping = False
        self._replaced = False
        """Whether all have run, and one has ended by itself since."""
        self._pause_s = _PAUSE_S
        self._parent = os.pipe()

    def run(self) -> int:
        """Returns when all have ended, with the exit code of the first that failed, else 0."""
        for each in _ENDING:
            signal.signal(each, self._stop)
        first = self._start(1)
        serves = os.read(first, 1)
        os.close(first)
        for number in range(2, self._count + 1 if serves else 0):
            os.close(self._start(number))
        code = 0
        while self._born:
            pid, status = os.wait()
            lived_s = time.monotonic() - self._born.pop(pid)
            ended = os.waitstatus_to_exitcode(status)
            if self._stopping:
                code = code or max(ended, 0)
            elif ended > 0 and lived_s < _YOUNG_S and not self._replaced:
                code = ended
                self._stop()
            else:
                self._replace(pid, ended, lived_s)
        return code

    def _replace(self, pid: int, ended: int, lived_s: float) -> None:
        """What once ran will run again, also where the database is away for a while."""
        self._replaced = True
        self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S) if lived_s < _YOUNG_S else _PAUSE_S
        _log.error("process.ended", pid=pid, code=ended, action="another one is started", in_s=self._pause_s)
        until = time.monotonic() + self._pause_s
        while time.monotonic() < until and not self._stopping:
            time.sleep(_LOOK_S)
        if not self._stopping:
            os.close(self._start(self._numbers[pid]))

    def _start(self, number: int) -> int:
        """A pipe from which one byte comes when the new process serves, and none when it ends before. Close it."""
        reads, writes = os.pipe()
        # A signal waits until the process that it is for has put our handler away, which would only swallow it there.
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        try:
            pid = os.fork()
            if pid == 0:
                os.close(reads)
                os.close(self._parent[1])
                self._live(writes, number)
            self._born[pid] = time.monotonic()
            self._numbers[pid] = number
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
        os.close(writes)
        if self._stopping:  # the signal came while this one was being born
            os.kill(pid, signal.SIGTERM)
        return reads

    def _live(self, writes: int, number: int) -> NoReturn:
        code = 1
        try:
            os.setpgid(0, 0)  # an interrupt from the terminal reaches the parent alone, which tells us once
            for each in _ENDING:
                signal.signal(each, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)

            def serves() -> None:
                with suppress(OSError):  # the parent has ended; that is noticed elsewhere
                    os.write(writes, b"!")

            code = self._node(self._parent[0], serves, number)
        finally:
            os._exit(code)

    def _stop(self, *_: Any) -> None:
        self._stopping = True
        for pid in list(self._born):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
