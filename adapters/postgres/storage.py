"""`PostgresStorage`: the storage ports over one PostgreSQL database."""

from __future__ import annotations

from typing import Literal

from adapters.postgres.database import PostgresDatabase
from adapters.postgres.signals import PostgresSignals
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
from application.projection_store import KINDS
from domain.errors import StorageError

_ARRAYS = {
    "text": "text",
    "integer": "bigint",
    "number": "float8",
    "boolean": "boolean",
    "instant": "timestamptz",
    "json": "json",
}
DIALECT = Dialect(
    "adapters.postgres",
    types={kind: _ARRAYS[kind] for kind in KINDS},
    values={kind: f"%b::{_ARRAYS[kind]}[]" for kind in KINDS},
    read={**dict.fromkeys(KINDS, "{}"), "json": "{}::text"},
    encode={},
    decode={},
)
"""How projections' columns are kept here."""


class PostgresStorage:
    """`Storage` over the database at `url`, which must exist; its tables are made when missing."""

    kind: Literal["postgresql"] = "postgresql"

    def __init__(self, url: str) -> None:
        self._database = PostgresDatabase(url)
        self.log = SqlLog(self._database)
        self.leases = SqlLeases(self._database, alone=False)
        self.signals = PostgresSignals(self._database.sessions, self._database)
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
        self.tasks = SqlTasks(self._database, lists=True)
        self.human_tasks = SqlHumanTasks(self._database)
        self.checkpoints = SqlCheckpoints(self._database)

    async def ready(self) -> bool:
        """Whether the database answers and is set up."""
        try:
            return bool(await self._database.read("stored_partitions", {}))
        except StorageError:
            return False
