"""Remote workers as processes (`retrace worker`), and what they did: one line for each hand-out, one file for each effect.

Their function applies its effect once per idempotency key, as a participant should (a file of that name), and then does what
the input of the task asks for: ``die`` ends its process without a report, ``stall`` stops it as SIGSTOP does, both in the
first attempt only.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections import Counter
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from tests.faults.node_main import run
from tests.faults.processes import PROCESSES

_PROGRAM = """
import os, signal
from pathlib import Path
from retrace import TaskContext, function

FOLDER = Path({folder!r})

def note(name, line):
    handle = os.open(FOLDER / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, (line + "\\n").encode())
    os.close(handle)

@function("pack")
def pack(item: int, mood: str, context: TaskContext) -> dict:
    note("handed_out", f"{{context.idempotency_key}} {{context.attempt}}")
    (FOLDER / "effects" / context.idempotency_key).touch()
    if mood == "die" and context.attempt == 1:
        os._exit(9)
    if mood == "stall" and context.attempt == 1:
        note("stalled", str(os.getpid()))
        os.kill(os.getpid(), signal.SIGSTOP)
    return {{"item": item}}
"""


class Ledger:
    """What all workers of a test noted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "effects").mkdir(parents=True)
        self.program = folder / "work.py"
        self.program.write_text(_PROGRAM.format(folder=str(folder)))

    def lines(self, name: str) -> list[str]:
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []

    @property
    def handed_out(self) -> Counter[tuple[str, str]]:
        """(idempotency key, attempt) -> how often."""
        return Counter((key, attempt) for key, attempt in map(str.split, self.lines("handed_out")))

    @property
    def applied(self) -> int:
        """How many effects there are: one for each key under which anything was done."""
        return len(list((self.folder / "effects").iterdir()))

    async def reached(self, count: int) -> None:
        """Return once so many tasks were handed out."""
        while len(self.lines("handed_out")) < count:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)


class Hand:
    """One place for a worker; while the block `kept` runs, one that has died is followed by another. `said`: its log."""

    def __init__(self, name: str, url: str, ledger: Ledger, *, lease_s: float) -> None:
        self.name = name
        self.lives = 0
        self.said: list[str] = []
        self._arguments = ["worker", str(ledger.program), "--server", url, "--name", name, "--lease", str(lease_s)]
        self._process: ForkServerProcess | None = None
        self._listening: list[asyncio.Task[None]] = []

    def _begin(self) -> ForkServerProcess:
        receiving, sending = PROCESSES.Pipe(duplex=False)
        process = PROCESSES.Process(target=run, args=(self._arguments, {}, sending), name=self.name, daemon=True)
        process.start()
        sending.close()
        self.lives += 1
        self._listening.append(asyncio.create_task(self._listen(receiving)))
        return process

    async def _listen(self, log: Connection) -> None:
        reader = asyncio.StreamReader()
        pipe = os.fdopen(os.dup(log.fileno()), "rb")
        log.close()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
        try:
            async for line in reader:
                self.said.append(line.decode(errors="replace").rstrip())
        finally:
            transport.close()

    async def keep(self) -> None:
        """Run it, over and over, until cancelled; then it has been asked to stop, and has."""
        try:
            while True:
                self._process = self._begin()
                await asyncio.to_thread(self._process.join)
        finally:
            await asyncio.shield(self._stop())

    async def _stop(self) -> None:
        process = self._process
        if process is None or process.pid is None:
            return
        if process.is_alive():
            for number in (signal.SIGCONT, signal.SIGTERM):
                os.kill(process.pid, number)
            await asyncio.to_thread(process.join, 15)
        if process.is_alive():
            process.kill()
            await asyncio.to_thread(process.join)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*self._listening), 5)
