"""`SqliteStorage`: the storage ports over one SQLite file."""

from __future__ import annotations

from datetime import datetime
from os import PathLike
from pathlib import Path
from typing import Literal

from adapters.sql.accesses import SqlAccesses
from adapters.sql.archive import SqlArchive
from adapters.sql.audit import SqlAuditLog, SqlCheckpoints
from adapters.sql.blobs import SqlBlobs
from adapters.sql.definitions import SqlDefinitions
from adapters.sql.followers import SqlFollowers
from adapters.sql.held import SqlHeldEvents
from adapters.sql.human import SqlHumanTasks
from adapters.sql.inbox import SqlInbox
from adapters.sql.leases import SqlLeases
from adapters.sql.log import SqlLog
from adapters.sql.operations import SqlOperations
from adapters.sql.projection_tables import Dialect
from adapters.sql.projections import SqlProjections
from adapters.sql.registers import SqlKeys, SqlRequests
from adapters.sql.schedules import SqlSchedules
from adapters.sql.snapshots import SqlSnapshots
from adapters.sql.status import SqlStatusView
from adapters.sql.tasks import SqlTasks
from adapters.sqlite.database import SqliteDatabase
from adapters.sqlite.signals import LocalSignals
from application.projection_store import KINDS
from application.status import instant
from domain.errors import StorageError

DIALECT = Dialect(
    "adapters.sqlite",
    types={
        "text": "TEXT",
        "integer": "INTEGER",
        "number": "REAL",
        "boolean": "INTEGER",
        "instant": "TEXT",
        "json": "TEXT",
    },
    values=dict.fromkeys(KINDS, "?"),
    read=dict.fromkeys(KINDS, "{}"),
    encode={"instant": instant},
    decode={"boolean": bool, "instant": datetime.fromisoformat},
)
"""How projections' columns are kept here."""


class SqliteStorage:
    """`Storage` over the file at `path`, which is made when missing; its folder must exist."""

    kind: Literal["sqlite"] = "sqlite"

    def __init__(self, path: str | PathLike[str]) -> None:
        self._database = SqliteDatabase(Path(path))
        self.log = SqlLog(self._database)
        # Whoever has the file's lock is the only one at work on it.
        self.leases = SqlLeases(self._database, alone=True)
        self.signals = LocalSignals()
        self.inbox = SqlInbox(self._database, self.signals)
        self.snapshots = SqlSnapshots(self._database)
        self.blobs = SqlBlobs(self._database)
        self.archive = SqlArchive(self._database)
        self.definitions = SqlDefinitions(self._database)
        self.view = SqlStatusView(self._database)
        self.projections = SqlProjections(self._database, DIALECT)
        self.requests = SqlRequests(self._database)
        self.keys = SqlKeys(self._database)
        self.held = SqlHeldEvents(self._database)
        self.accesses = SqlAccesses(self._database)
        self.operations = SqlOperations(self._database)
        self.schedules = SqlSchedules(self._database)
        self.followers = SqlFollowers(self._database)
        self.audit_log = SqlAuditLog(self._database)
        self.tasks = SqlTasks(self._database, lists=False)
        self.human_tasks = SqlHumanTasks(self._database)
        self.checkpoints = SqlCheckpoints(self._database)

    async def ready(self) -> bool:
        """Whether the database answers and is set up."""
        try:
            return bool(await self._database.read("stored_partitions", {}))
        except StorageError:
            return False
