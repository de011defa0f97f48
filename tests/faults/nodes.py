"""Nodes as processes that can be killed, paused and stopped, and that may come back under another address."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections import deque
from collections.abc import Mapping
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from typing import Any

from adapters.settings import Settings
from tests.faults.node_main import serve
from tests.faults.processes import PROCESSES

_STARTS_WITHIN_S = 60.0
_ENDS_WITHIN_S = 40.0


def _expected(entry: dict[str, Any]) -> bool:
    """Whether an error in the log is what faults may lead to: a database that is away, a partition that is lost."""
    if entry["event"] == "request.failed":
        return "StorageError" in entry.get("exception", "")
    return bool(entry["event"] == "database.taken_over")


class Node:
    """One place for a node: at most one process at a time. `complaints`: what its processes logged and never should."""

    def __init__(self, name: str, settings: Mapping[str, Any], *, port: int = 0) -> None:
        """`port`: where it serves in each of its lives; 0: each time somewhere else."""
        self.name = name
        self._port = port
        self.url: str | None = None
        """None while nobody serves."""
        self.lives = 0
        self.complaints: list[str] = []
        self.said: deque[str] = deque(maxlen=200)
        known = {field: value for field, value in settings.items() if field in Settings.model_fields}
        self._environment = {f"RETRACE_{field.upper()}": str(value) for field, value in known.items()}
        self._process: ForkServerProcess | None = None
        self._listening: asyncio.Task[None] | None = None
        self._serving = asyncio.Event()
        self._heard = asyncio.Condition()

    async def start(self) -> None:
        """Return once it serves. A process that ends before that (its database may be away) is followed by another."""
        async with asyncio.timeout(_STARTS_WITHIN_S):
            while not await self._begin():
                await self._clear()

    async def _begin(self) -> bool:
        receiving, sending = PROCESSES.Pipe(duplex=False)
        self._serving.clear()
        self._process = PROCESSES.Process(
            target=serve, args=(self._environment, sending, self._port), name=self.name, daemon=True
        )
        self._process.start()
        sending.close()
        self.lives += 1
        self._listening = asyncio.create_task(self._listen(receiving))
        serving = asyncio.create_task(self._serving.wait())
        await asyncio.wait((serving, self._listening), return_when=asyncio.FIRST_COMPLETED)
        serving.cancel()
        return self._serving.is_set()

    async def _listen(self, log: Connection) -> None:
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        pipe = os.fdopen(os.dup(log.fileno()), "rb")
        log.close()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
        try:
            async for line in reader:
                self._hear(line.decode(errors="replace").rstrip())
                async with self._heard:
                    self._heard.notify_all()
        finally:
            transport.close()

    def _hear(self, line: str) -> None:
        self.said.append(line)
        try:
            entry: dict[str, Any] = json.loads(line)
        except ValueError:
            if self._serving.is_set():  # one that cannot start, for its database is away, says so and is followed
                self.complaints.append(f"{self.name} said: {line}")
            return
        if entry["event"] == "serving":
            self.url = entry["url"]
            self._serving.set()
        elif entry["level"] in ("error", "critical") and not _expected(entry):
            self.complaints.append(f"{self.name} logged: {line}")

    async def says(self, words: str) -> None:
        """Return once its log has these words in a line from now on."""
        self.said.clear()
        async with self._heard:
            await self._heard.wait_for(lambda: any(words in line for line in self.said))

    def signal(self, number: int) -> None:
        assert self._process is not None
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    @property
    def pid(self) -> int:
        assert self._process is not None
        assert self._process.pid is not None
        return self._process.pid

    def pause(self) -> None:
        """Its clock goes on, and it does not."""
        self.signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.signal(signal.SIGCONT)

    async def kill(self) -> None:
        """End it wherever it is."""
        self.url = None
        self.signal(signal.SIGKILL)
        await self._clear()

    async def stop(self) -> None:
        """End it in good order."""
        self.signal(signal.SIGTERM)
        code = await self._clear()
        self.url = None
        if code != 0:
            self.complaints.append(f"{self.name} stopped with exit code {code}; it said last: {list(self.said)[-5:]}")

    async def _clear(self) -> int | None:
        """Wait for the end of the process; its exit code."""
        assert self._process is not None
        await asyncio.to_thread(self._process.join, _ENDS_WITHIN_S)
        code = self._process.exitcode
        if code is None:
            self.complaints.append(f"{self.name} did not end")
            self._process.kill()
            await asyncio.to_thread(self._process.join)
        if self._listening is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._listening, 5)  # children may hold the pipe a little longer
        self._process.close()
        self._process = None
        self.url = None
        return code

    async def close(self) -> None:
        """Nothing of it is left."""
        if self._process is not None and self._process.is_alive():
            self.go_on()
            await self.kill()
