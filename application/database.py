"""One database: all storage ports over the same connections."""

from __future__ import annotations

from typing import Literal, Protocol

from application.inbox import Inbox, Signals
from application.leases import Leases
from application.projection_store import ProjectionStore
from application.registers import HeldEventStore, KeyStore, RequestStore
from application.storage import ArchiveStore, DefinitionStore, LogStore, SnapshotStore
from application.views import StatusView


class Storage(Protocol):
    """What a node keeps its data in. `kind` is for people."""

    @property
    def kind(self) -> Literal["sqlite", "postgresql", "memory"]: ...
    @property
    def log(self) -> LogStore: ...
    @property
    def leases(self) -> Leases: ...
    @property
    def inbox(self) -> Inbox: ...
    @property
    def signals(self) -> Signals: ...
    @property
    def snapshots(self) -> SnapshotStore: ...
    @property
    def archive(self) -> ArchiveStore: ...
    @property
    def definitions(self) -> DefinitionStore: ...
    @property
    def view(self) -> StatusView: ...
    @property
    def projections(self) -> ProjectionStore: ...
    @property
    def requests(self) -> RequestStore: ...
    @property
    def keys(self) -> KeyStore: ...
    @property
    def held(self) -> HeldEventStore: ...

    async def ready(self) -> bool:
        """Whether the database answers."""
        ...
