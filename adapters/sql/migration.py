"""Brings a database to the current schema: numbered plain SQL files, applied once each, in order, by yoyo.

Several processes may start at once: yoyo's lock row lets one of them migrate while the others wait, and each looks
again once it has the lock. Nothing is locked when there is nothing to do, so a lock row left behind by a process that
was killed in the middle only matters to the next migration, whose message says how to remove it.
"""

from __future__ import annotations

import contextlib
import getpass
import io
import os
from importlib.resources import as_file, files

import yoyo
from yoyo.exceptions import LockTimeout

from domain.errors import StorageError

_LOCK_TIMEOUT_S = 60


def migrate(uri: str, package: str, *, alone: bool = False) -> None:
    """Apply what is missing of `package`'s `migrations/*.sql`. `alone`: the caller holds the whole database, so a lock
    row can only be a dead process's. Idempotent. Raises StorageError when another process does not finish migrating;
    errors of the database's driver pass.
    """
    _name_this_user()
    with as_file(files(package).joinpath("migrations")) as folder, yoyo.get_backend(uri) as backend:
        migrations = yoyo.read_migrations(str(folder))
        if alone:
            backend.break_lock()
        if not backend.to_apply(migrations):
            return
        try:
            # yoyo prints whatever rows a statement gives; SQLite gives some of its own when it adds a column.
            with backend.lock(_LOCK_TIMEOUT_S), contextlib.redirect_stdout(io.StringIO()):
                backend.apply_migrations(backend.to_apply(migrations))
        except LockTimeout as error:
            raise StorageError(
                "Another process has been migrating the database for a minute, or was killed while it did. "
                "Once no process is migrating, empty the table yoyo_lock and start again."
            ) from error


def _name_this_user() -> None:
    # yoyo notes who migrated; a container's user often has no name, which getpass takes for an error.
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["LOGNAME"] = "retrace"
