"""What is kept for a while and then forgotten: answers under idempotency keys, replies to other nodes, events that nobody
wanted, long-running operations, work of workers that has ended, and who read what where there is a retention.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

import structlog

from application.accesses import AccessStore
from application.inbox import Inbox
from application.operation_store import OperationStore
from application.ports import Clock
from application.registers import HeldEventStore, RequestStore
from application.task_store import TaskStore
from domain.errors import StorageError

_log = structlog.get_logger(__name__)
REQUESTS_KEPT: Final = timedelta(hours=48)
"""At least a day is promised to clients."""
REPLIES_KEPT: Final = timedelta(minutes=2)
"""Nobody waits longer for a reply that no client can ask for again."""
OPERATIONS_KEPT: Final = timedelta(days=7)
TASKS_KEPT: Final = timedelta(hours=1)
"""So long a worker may repeat a report and get the same answer."""
_EVERYTHING_S: Final = 3600.0
_REPLIES_S: Final = 60.0


class Housekeeping:
    """One loop per process."""

    def __init__(
        self,
        requests: RequestStore,
        held: HeldEventStore,
        inbox: Inbox,
        operations: OperationStore,
        accesses: AccessStore,
        tasks: TaskStore,
        clock: Clock,
        *,
        hold_s: float,
        retention_s: float | None = None,
    ) -> None:
        self._accesses = accesses
        self._tasks = tasks
        self._retention = None if retention_s is None else timedelta(seconds=retention_s)
        self._requests = requests
        self._inbox = inbox
        self._held = held
        self._operations = operations
        self._clock = clock
        self._hold = timedelta(seconds=hold_s)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="housekeeping")

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def clean(self) -> None:
        """Forget what is old enough."""
        now = self._clock.now()
        await self._requests.expire(now - REQUESTS_KEPT)
        await self._inbox.expire(now - REQUESTS_KEPT, kept=True)
        await self._held.expire(now - self._hold)
        if self._retention is not None:
            await self._accesses.expire(now - self._retention)
        await self._operations.expire(now - OPERATIONS_KEPT)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        all_at = loop.time()
        while True:
            try:
                await self._inbox.expire(self._clock.now() - REPLIES_KEPT, kept=False)
                await self._tasks.expire(self._clock.now() - TASKS_KEPT)
                if loop.time() >= all_at:
                    await self.clean()
                    all_at = loop.time() + _EVERYTHING_S
            except StorageError as error:
                _log.warning("housekeeping.failed", detail=error.detail)
            await asyncio.sleep(_REPLIES_S)
