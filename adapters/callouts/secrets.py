"""Secrets of definitions, by name: from the environment, from files, from a folder of files.

========================================  ===========================================================
``RETRACE_SECRET_<NAME>``                 the value itself; read once
``RETRACE_SECRET_<NAME>_FILE``            a file that holds it
``RETRACE_SECRETS_DIR``                   a folder with one file for each secret, named like it, as
                                          Kubernetes and Docker mount them
========================================  ===========================================================

The first of these that has the name wins. A name is looked up in upper case with dashes as underscores, so ``my-secret``
is ``RETRACE_SECRET_MY_SECRET``. A value that is a JSON object is one; everything else is text. A file is looked at each time
its secret is asked for, and read again when it has changed; while it cannot be read, the last value stands. What is hidden
includes the values of before, which an answer may still bring (`redaction`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import structlog

from adapters.callouts.redaction import Redaction

PREFIX = "RETRACE_SECRET_"
FILE = "_FILE"
_LARGEST_BYTES = 1 << 20
_log = structlog.get_logger(__name__)


class EnvironmentSecrets:
    """Implements application.ports.Secrets."""

    def __init__(
        self, environment: Mapping[str, str] | None = None, *, folder: Path | None = None, hidden: Iterable[str] = ()
    ) -> None:
        """`hidden`: more texts to be redacted, which have no name here (passwords of connections)."""
        source = os.environ if environment is None else environment
        self._values: dict[str, Any] = {}
        self._files: dict[str, _File] = {}
        self._folder = folder
        self._redaction = Redaction(hidden)
        for name, value in source.items():
            upper = name.upper()
            if not upper.startswith(PREFIX):
                continue
            key = upper.removeprefix(PREFIX)
            if key.endswith(FILE):
                self._files[key.removesuffix(FILE)] = _File(Path(value))
            else:
                self._values[key] = _parse(value)
        for secret in self._values.values():
            self._redaction.add(_texts(secret))
        for name in [*self._files, *(path.name for path in self._in_folder())]:
            self.get(name)

    def get(self, name: str) -> Any | None:
        """The secret of this name, an object or a text; None if there is none."""
        key = key_of(name)
        if key in self._values:
            return self._values[key]
        file = self._files.get(key) or self._found(key)
        if file is None:
            return None
        if file.changed():
            self._redaction.add(_texts(file.value))
        return file.value

    def redact(self, value: Any) -> Any:
        """The JSON value with every secret's text replaced by ``***``, in members' names too."""
        return self._redaction.apply(value)

    def _found(self, key: str) -> _File | None:
        """A file that has come into the folder."""
        for path in self._in_folder():
            if key_of(path.name) == key:
                return self._files.setdefault(key, _File(path))
        return None

    def _in_folder(self) -> list[Path]:
        """Files of the folder; those with a dot in front are how Kubernetes exchanges the others."""
        if self._folder is None:
            return []
        try:
            return sorted(path for path in self._folder.iterdir() if not path.name.startswith(".") and path.is_file())
        except OSError as problem:
            _log.warning("secrets.folder_unreadable", detail=problem.strerror)
            return []


class _File:
    """A file with a secret, and the value that was read from it last."""

    __slots__ = ("_path", "_seen", "value")

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, ...] | None = None
        self.value: Any | None = None

    def changed(self) -> bool:
        """Read it if it is another one than before. True when `value` is new."""
        try:
            found = self._path.stat()
            seen = (found.st_mtime_ns, found.st_ino, found.st_size)
            if seen == self._seen:
                return False
            text = read_secret_file(self._path)
        except (OSError, ValueError) as problem:
            self._seen = None
            _log.warning("secrets.file_unreadable", file=self._path.name, detail=type(problem).__name__)
            return False
        self._seen, self.value = seen, _parse(text)
        return True


def key_of(name: str) -> str:
    """The name of a secret as tables have it."""
    return name.upper().replace("-", "_")


def read_secret_file(path: Path) -> str:
    """The text of a file without the end of its last line. Raises OSError; ValueError when it is no text or too large."""
    with path.open("rb") as file:
        content = file.read(_LARGEST_BYTES + 1)
    if len(content) > _LARGEST_BYTES:
        raise ValueError("larger than a secret may be")
    return content.decode().removesuffix("\n").removesuffix("\r")


def complaints(environment: Mapping[str, str]) -> list[str]:
    """What is wrong with the secrets of an environment, one sentence each; values are not shown."""
    told: list[str] = []
    names = {name.upper() for name in environment}
    for name, value in sorted(environment.items()):
        upper = name.upper()
        if not upper.startswith(PREFIX) or not upper.endswith(FILE):
            continue
        if upper.removesuffix(FILE) in names:
            told.append(f"{name} and {upper.removesuffix(FILE)} exclude each other; remove one of them.")
        try:
            read_secret_file(Path(value))
        except OSError as problem:
            told.append(f"{name} names a file that cannot be read: {problem.strerror}.")
        except ValueError:
            told.append(f"{name} names a file that is no text in UTF-8, or larger than 1 MiB.")
    return told


def _parse(value: str) -> Any:
    if value.lstrip().startswith("{"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _texts(secret: Any) -> Iterator[str]:
    if isinstance(secret, str):
        yield secret
    elif isinstance(secret, dict):
        for each in secret.values():
            yield from _texts(each)
    elif isinstance(secret, list):
        for each in secret:
            yield from _texts(each)
    elif isinstance(secret, (int, float)) and not isinstance(secret, bool):
        yield str(secret)
