"""Storage in memory: for tests that need no database and for simulated worlds, with failures made to order.

No threads, no clock, no chance: what happens depends only on the order of calls. Every call passes `step` before it
takes effect and again before it returns, so a simulation may delay it, fail it, or kill the caller at either point.
What was stored lives in a `MemoryData`: a second `MemoryStorage` over the same data is the same database after a
restart, or a second node of it. The contract suite holds it to the behaviour of the databases.
"""

from __future__ import annotations

import asyncio
from typing import Literal

from tests.simulation.memory_accesses import MemoryAccesses
from tests.simulation.memory_audit import MemoryAuditLog, MemoryCheckpoints
from tests.simulation.memory_blobs import MemoryBlobs
from tests.simulation.memory_data import Calls, MemoryData, Step
from tests.simulation.memory_followers import MemoryFollowers
from tests.simulation.memory_human import MemoryHumanTasks
from tests.simulation.memory_log import MemoryLog
from tests.simulation.memory_nodes import MemoryInbox, MemoryLeases, MemorySignals
from tests.simulation.memory_operations import MemoryOperations
from tests.simulation.memory_projections import MemoryProjections
from tests.simulation.memory_schedules import MemorySchedules
from tests.simulation.memory_space import MemoryArchive, MemorySnapshots
from tests.simulation.memory_tasks import MemoryTasks
from tests.simulation.memory_views import (
    MemoryDefinitions,
    MemoryHeldEvents,
    MemoryKeys,
    MemoryRequests,
    MemoryStatusView,
)

__all__ = ["MemoryData", "MemoryStorage", "Step"]


async def _at_once(_operation: str) -> None:
    # A call to a database always gives others a turn; one to memory should not be kinder.
    await asyncio.sleep(0)


class MemoryStorage:
    """`Storage` in memory."""

    kind: Literal["memory"] = "memory"

    def __init__(self, data: MemoryData | None = None, *, step: Step = _at_once, alone: bool = True) -> None:
        """`alone`: whoever opens it takes everything over, as with a file that one process has."""
        self.data = data or MemoryData()
        calls = Calls(step)
        self.log = MemoryLog(self.data, calls)
        self.leases = MemoryLeases(self.data, calls, alone=alone)
        self.signals = MemorySignals(self.data)
        self.inbox = MemoryInbox(self.data, calls, self.signals)
        self.snapshots = MemorySnapshots(self.data, calls)
        self.blobs = MemoryBlobs(self.data, calls)
        self.archive = MemoryArchive(self.data, calls)
        self.definitions = MemoryDefinitions(self.data, calls)
        self.view = MemoryStatusView(self.data, calls)
        self.projections = MemoryProjections(self.data, calls)
        self.requests = MemoryRequests(self.data, calls)
        self.keys = MemoryKeys(self.data, calls)
        self.held = MemoryHeldEvents(self.data, calls)
        self.accesses = MemoryAccesses(self.data, calls)
        self.operations = MemoryOperations(self.data, calls)
        self.schedules = MemorySchedules(self.data, calls)
        self.followers = MemoryFollowers(self.data, calls)
        self.audit_log = MemoryAuditLog(self.data, calls)
        self.tasks = MemoryTasks(self.data, calls)
        self.human_tasks = MemoryHumanTasks(self.data, calls)
        self.checkpoints = MemoryCheckpoints(self.data, calls)

    def fail_next_write(self, mode: Literal["before", "after"]) -> None:
        """The next write of the log raises StorageError: `before` with nothing written, `after` with all of it."""
        self.log.fail_next_write(mode)

    async def ready(self) -> bool:
        return bool(self.data.partitions)
