"""What the REST API needs from the rest of the service, in one frozen value.

Made by the composition root, which also owns the lifespan: nothing here is opened or closed by the API. `closing` is set
when the process begins to stop; long polls and streams then end, and `/readyz` says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from adapters.callouts.circuit_desk import CircuitDesk
from adapters.rest.admission import Admission
from adapters.rest.metering import Meter
from application.auditing import Audit
from application.claims import TaskClaims
from application.files import Files
from application.function_controls import FunctionControls
from application.held_events import HeldEvents
from application.human_tasks import HumanTasks
from application.projection_catalog import ProjectionCatalog
from application.registers import RequestStore
from application.schedule_catalog import ScheduleCatalog
from application.service import Commands, Definitions, Operations, Queries, WhatIf
from application.verification import Verification


@dataclass(frozen=True, kw_only=True)
class Services:
    """The use cases and settings behind the API.

    `ready` gives details of readiness; ``{"ready": False, ...}`` or an exception mean that it is not. `tokens` maps a
    name to the SHA-256 (hex) of its bearer token; None turns authentication off, and everyone is `actor`.
    """

    commands: Commands
    queries: Queries
    definitions: Definitions
    operations: Operations
    what_if: WhatIf
    verification: Verification
    projections: ProjectionCatalog
    schedules: ScheduleCatalog
    requests: RequestStore
    clock: Callable[[], datetime]
    ready: Callable[[], Awaitable[Mapping[str, Any]]]
    audit: Audit | None = None
    """None: there is no audit log, and nobody notes down who reads what."""
    tasks: TaskClaims | None = None
    human_tasks: HumanTasks | None = None
    functions: FunctionControls | None = None
    """None: nothing is handed out to remote workers."""
    held_events: HeldEvents | None = None
    files: Files | None = None
    tokens: Mapping[str, str] | None = None
    actor: str = "anonymous"
    version: str = "0"
    max_body_bytes: int = 1_048_576
    longest_wait_s: int = 60
    idempotency_wait_s: float = 5.0
    """How long a repeat waits for the first request with its key."""
    idempotency_stale_s: float = 60.0
    """After this an answer that never came is no longer expected: the request died with its process."""
    idempotency_start_stale_s: float = 4.0
    """The same for starts: two of one key do no harm, for the key makes the public id, so nobody need wait long."""
    patience_s: float = 60.0
    """How long a client may take to send a body, and to take a piece of an answer."""
    admission: Admission = field(default_factory=Admission)
    meter: Meter = field(default_factory=Meter)
    """Counts the requests."""
    circuits: CircuitDesk | None = None
    """None: nothing is sent from here."""
    exposition: Callable[[], Awaitable[bytes]] | None = None
    """What `/metrics` answers; None: nobody measures."""
    metrics_open: bool = False
    """Whether `/metrics` needs no token."""
    closing: asyncio.Event = field(default_factory=asyncio.Event)
