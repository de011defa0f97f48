"""What a node is put together from: the ports to the outside, and what may be chosen; made by the composition root."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from application.checkpoint_store import CheckpointOutlet, NoKeys, PublicKeys, Signer
from application.database import Storage
from application.definitions import Documents
from application.identity import IDS_IN_A_ROW, Chance
from application.intake import EventSource
from application.journal import BLOB_THRESHOLD, Codec
from application.leases import Liveness
from application.outside_blobs import Vault
from application.ports import (
    AnyConnection,
    Callouts,
    Clock,
    Connections,
    Crons,
    EventSink,
    Expressions,
    Resources,
    Schemas,
    Secrets,
)
from application.projections import Folds, NoFolds
from domain.decision import Limits


class World(msgspec.Struct, frozen=True, kw_only=True):
    """What a node knows the outside by."""

    storage: Storage
    codec: Codec
    documents: Documents
    expressions: Expressions
    schemas: Schemas
    resources: Resources
    callouts: Callouts
    sink: EventSink
    secrets: Secrets
    clock: Clock
    chance: Chance
    liveness: Liveness
    signer: Signer | None = None
    crons: Crons
    connections: Connections = AnyConnection()
    keys: PublicKeys = NoKeys()
    outlet: CheckpointOutlet | None = None
    folds: Folds = NoFolds()
    vault: Vault | None = None
    """Where contents of large values and files go; None: into the database."""
    lifecycle: EventSink | None = None
    """Where lifecycle events go; None: there are none."""
    sources: tuple[EventSource, ...] = ()
    """Queues that events come from."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers that the settings choose; and where a node runs, for others on the same machine."""

    host: str = "node"
    pid: int = 0
    process: str = ""
    version: str = "0"
    partitions: int = 16
    lease_s: float = 10.0
    drain_s: float = 10.0
    limits: Limits = Limits()
    held_events_for_s: float = 7 * 86_400.0
    revise: bool = False
    live_orchestrations: int = 10_000
    most_waiting_commits: int = 5_000
    most_in_progress: int = 10_000
    retention_s: float | None = None
    """How long after their end orchestrations stay where they are; then they are archived. None: for ever."""
    checkpoint_every_s: float = 60.0
    public_url: str = "http://127.0.0.1:8080"
    """Where others reach the service; callbacks are told it."""
    groups: Mapping[str, Collection[str]] = {}
    """Group -> the people in it."""
    on_behalf: Collection[str] | None = None
    """Callers that may act for others where tasks for people are concerned; None: all may."""
    snapshot_after: int = 1000
    """Events after which a history is long enough for a snapshot."""
    blob_threshold: int = BLOB_THRESHOLD
    """Bytes of an event from which its large values are kept beside it."""
    live_large_bytes: int = 256 * 1_048_576
    """Of large values that orchestrations in memory may hold, about."""
    ids_in_a_row: int = IDS_IN_A_ROW
    """How many fresh orchestrations, about, are begun in one partition after the other."""
