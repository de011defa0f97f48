"""Attempts that wait until their receiver is there: their pauses, what ends those early, and whether they are still wanted.

`attempt.started` says that an attempt counts as sent, and an undo may begin on that ground, while this one was not. So what
happens in its orchestration ends the pause, and before each try it is looked up whether it may still be sent.
"""

from __future__ import annotations

import asyncio
from typing import Final
from uuid import UUID

import structlog

from application.live import LiveCache
from domain import events as e
from domain.errors import NotFoundError, OwnershipLostError, StorageError
from domain.remote import unwanted
from domain.state import State

STOPS: Final = (
    e.RollbackStarted,
    e.ScopeFailing,
    e.TaskFailing,
    e.ForkWon,
    e.EndingStarted,
    e.CancelRequested,
    e.OrchestrationTerminated,
)
"""After these an attempt may be unwanted that was not before."""
_AGAIN_S: Final = 0.2
_log = structlog.get_logger(__name__)


class Pauses:
    """Of one node; how many there are is its length."""

    def __init__(self) -> None:
        self._ends: dict[str, set[asyncio.Event]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._ends.values()))

    async def rest(self, orchestration: str, seconds: float) -> None:
        """Returns when the time is over, or something ended the pause."""
        end = asyncio.Event()
        self._ends.setdefault(orchestration, set()).add(end)
        try:
            async with asyncio.timeout(seconds):
                await end.wait()
        except TimeoutError:
            return
        finally:
            self._ends[orchestration].discard(end)
            if not self._ends[orchestration]:
                del self._ends[orchestration]

    def committed(self, orchestration: str, events: list[e.Event]) -> None:
        """This happened in an orchestration."""
        if self._ends and any(isinstance(event, STOPS) for event in events):
            for end in self._ends.get(orchestration, ()):
                end.set()

    def end(self) -> None:
        """All of them."""
        for ends in self._ends.values():
            for each in ends:
                each.set()


async def is_wanted(cache: LiveCache, partition: int, orchestration: UUID, started: e.AttemptStarted) -> bool:
    """Whether an attempt that was not sent may still be. Waits for a database that is away."""
    state: State | None = None
    while state is None:
        try:
            state = (await cache.load_at(partition, orchestration)).state
        except (OwnershipLostError, NotFoundError):
            return False
        except StorageError as error:
            _log.warning("postponed.not_read", detail=error.detail)
            await asyncio.sleep(_AGAIN_S)
    run = state.runs[started.run]
    waits = run.open and run.flying and run.attempts == started.number
    return waits and not state.final and unwanted(state, run) is None
