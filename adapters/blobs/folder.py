"""A folder for contents: one file each, ``<partition>/<orchestration>/<digest>``.

A file appears under its name only when it is whole and on the disk: it is written under another name, synced, renamed, and
the folder is synced too. So a crash leaves at most a file that nobody looks for, which the next writing of the same replaces.
All nodes of a database need the same folder.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final, ParamSpec, TypeVar

from domain.errors import BlobStorageError

P = ParamSpec("P")
Result = TypeVar("Result")
_UNFINISHED: Final = ".part"


class FolderVault:
    """Implements `application.outside_blobs.Vault`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def put(self, name: str, content: bytes, media_type: str) -> None:
        await _done(self._put, name, content)

    async def get(self, name: str) -> bytes | None:
        return await _done(self._get, name)

    async def drop(self, name: str) -> None:
        await _done(self._drop, name)

    async def check(self) -> None:
        await _done(self._check)

    def _put(self, name: str, content: bytes) -> None:
        path = self._folder / name
        unfinished = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}{_UNFINISHED}")
        with self._opened(unfinished) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        _sync(path.parent)

    def _opened(self, path: Path) -> BinaryIO:
        self._make(path.parent)
        try:
            return path.open("wb")
        except FileNotFoundError:  # who dropped the last of its contents has removed the folder in between
            self._make(path.parent)
            return path.open("wb")

    def _make(self, folder: Path) -> None:
        if folder.is_dir():
            return
        self._make(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync(folder.parent)

    def _get(self, name: str) -> bytes | None:
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None

    def _drop(self, name: str) -> None:
        path = self._folder / name
        path.unlink(missing_ok=True)
        with suppress(OSError):  # others are in it
            path.parent.rmdir()

    def _check(self) -> None:
        if not self._folder.is_dir() or not os.access(self._folder, os.W_OK | os.X_OK):
            raise NotADirectoryError("it is no folder that can be written to")


async def _done(work: Callable[P, Result], *arguments: P.args, **named: P.kwargs) -> Result:
    try:
        return await asyncio.to_thread(work, *arguments, **named)
    except OSError as error:
        raise BlobStorageError(f"the folder of large values (RETRACE_BLOBS) cannot be used: {error}") from error


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
