"""Processes of one machine that share a port: whichever takes a request about the processes themselves asks the others.

Each listens on a Unix socket in a folder that only this user can enter, named by its number; a process that takes the place
of one that ended takes its number, too. A question is a name and an argument, one message of msgpack; so is the answer.
Nothing durable depends on it: who does not answer within two seconds is left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import structlog

Answer = Callable[[Any], Any]
"""From the argument of a question to what answers it, both of plain JSON types."""

_PATIENCE_S: Final = 2.0
_MOST_BYTES: Final = 1 << 20
_encode = msgspec.msgpack.encode
_decode = msgspec.msgpack.decode
_log = structlog.get_logger(__name__)


class Place(NamedTuple):
    """Where the sockets are, and the number of this process, of so many."""

    folder: Path
    number: int
    of: int


class Neighbours:
    """Asks all processes, this one included. Without a `place` this one is alone."""

    def __init__(self, place: Place | None, answers: Mapping[str, Answer]) -> None:
        self._place = place
        self._answers = answers
        self._server: asyncio.Server | None = None
        self._silent: set[int] = set()

    @property
    def count(self) -> int:
        """Processes that there should be."""
        return 1 if self._place is None else self._place.of

    async def open(self) -> None:
        """Answer the others from now on."""
        if self._place is not None:
            path = self._socket(self._place.number)
            await asyncio.to_thread(path.unlink, missing_ok=True)
            try:
                self._server = await asyncio.start_unix_server(self._serve, str(path))
            except OSError as error:  # its path is too long, say: work goes on, and the others do without its answers
                _log.warning("neighbour.not_reachable", error=str(error), way_out="set TMPDIR to a shorter path")

    async def close(self) -> None:
        """Answer no longer."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def ask(self, name: str, argument: Any = None) -> dict[int, Any]:
        """The answers by the numbers of those who gave one; our own always."""
        if self._place is None:
            return {1: self._answers[name](argument)}
        own = self._place.number
        others = [number for number in range(1, self._place.of + 1) if number != own]
        found = await asyncio.gather(*(self._ask(number, [name, argument]) for number in others))
        answers = {number: answer for number, answer in zip(others, found, strict=True) if answer is not None}
        return dict(sorted((answers | {own: self._answers[name](argument)}).items()))

    async def _ask(self, number: int, question: list[Any]) -> Any:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                reader, writer = await asyncio.open_unix_connection(str(self._socket(number)))
                try:
                    writer.write(_encode(question))
                    writer.write_eof()
                    answer = _decode(await reader.read(-1))
                    self._silent.discard(number)
                    return answer
                finally:
                    writer.close()
        except (OSError, TimeoutError, msgspec.MsgspecError) as error:
            if number not in self._silent:
                self._silent.add(number)
                _log.warning("neighbour.silent", process=number, error=type(error).__name__)
            return None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                question = await reader.read(_MOST_BYTES)
                while not reader.at_eof():
                    question += await reader.read(_MOST_BYTES)
                name, argument = _decode(question)
                writer.write(_encode(self._answers[name](argument)))
                await writer.drain()
        except Exception:  # noqa: BLE001 - the one who asks does without
            _log.exception("neighbour.not_answered")
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    def _socket(self, number: int) -> Path:
        assert self._place is not None
        return self._place.folder / f"{number}.sock"
