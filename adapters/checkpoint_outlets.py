"""Places outside the database that checkpoints are sent to: a file, or an HTTP receiver."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from adapters.callouts.http import user_agent
from application.ports import DeliveryError

_TIMEOUT_S = 30.0
_TOGETHER = 500


class CheckpointFile:
    """Appends a line of JSON for each, and waits for the disk. Several processes may share the file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def put(self, checkpoints: Sequence[Mapping[str, Any]]) -> None:
        """Raises DeliveryError."""
        lines = "".join(json.dumps(each, separators=(",", ":")) + "\n" for each in checkpoints)
        try:
            await asyncio.to_thread(self._append, lines.encode())
        except OSError as error:
            raise DeliveryError(f"{self._path} cannot be written: {error.strerror}") from error

    def _append(self, lines: bytes) -> None:
        with self._path.open("ab+") as file:
            end = file.seek(0, os.SEEK_END)
            if end:
                file.seek(end - 1)
                if file.read(1) != b"\n":  # a process died while it wrote
                    lines = b"\n" + lines
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())


class CheckpointReceiver:
    """Posts ``{"checkpoints": [...]}`` to one address; any 2xx is a receipt. Closes nothing."""

    def __init__(self, url: str, session: aiohttp.ClientSession, *, timeout_s: float = _TIMEOUT_S) -> None:
        self._url = url
        self._session = session
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._headers = {"Content-Type": "application/json", "User-Agent": user_agent()}

    async def put(self, checkpoints: Sequence[Mapping[str, Any]]) -> None:
        """Raises DeliveryError."""
        for first in range(0, len(checkpoints), _TOGETHER):
            await self._post(checkpoints[first : first + _TOGETHER])

    async def _post(self, checkpoints: Sequence[Mapping[str, Any]]) -> None:
        body = json.dumps({"checkpoints": list(checkpoints)}, separators=(",", ":")).encode()
        try:
            async with self._session.post(
                self._url, data=body, headers=self._headers, timeout=self._timeout, allow_redirects=False
            ) as response:
                status = response.status
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as problem:
            detail = str(problem) or type(problem).__name__
            raise DeliveryError(f"the receiver could not be reached: {detail}") from problem
        if not 200 <= status < 300:
            raise DeliveryError(f"the receiver answered {status}")
