"""One process holds a SQLite database: a lock on `<path>.lock`, with the holder's process id inside.

The lock belongs to the open file, so it ends with the process however it dies; the file stays and means nothing.
Without it a second process would take the partitions over, and both would go on answering from memory until they next
wrote.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from domain.errors import RetraceError


class DatabaseInUseError(RetraceError):
    """Another process holds the database."""

    def __init__(self, path: Path, pid: str) -> None:
        self.path = path
        self.pid = pid
        super().__init__(
            f"The database {path} is in use by process {pid or 'unknown'}. Stop that process first, or give this one "
            "another database file (--database, RETRACE_DATABASE)."
        )


class DatabaseLock:
    """Held from `acquire` to `release`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Idempotent. Raises DatabaseInUseError, or OSError when the lock file cannot be made."""
        if self._descriptor is not None:
            return
        # Python opens it close-on-exec: a child process that outlives us does not inherit the lock.
        descriptor = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.read(descriptor, 32).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise DatabaseInUseError(self._path, pid) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._descriptor = descriptor

    def release(self) -> None:
        """Idempotent."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
