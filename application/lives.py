"""How many orchestrations have begun and ended on this node, told by the commits of the engine.

What was decided but not committed does not count. An orchestration that another one started counts like any other; one that
had completed and was undone with its parent ends a second time, as `compensated`.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from application.engine import Engine
from application.live import Live
from domain import events as e

_ENDS: Final[dict[type[e.Event], str]] = {
    e.OrchestrationCompleted: "completed",
    e.OrchestrationFaulted: "faulted",
    e.OrchestrationCompensated: "compensated",
    e.OrchestrationCancelled: "cancelled",
    e.OrchestrationTerminated: "terminated",
}


class Lives:
    """Counts from zero at the start of the process."""

    def __init__(self, engine: Engine) -> None:
        self.started = 0
        self.ended: Counter[str] = Counter(dict.fromkeys(_ENDS.values(), 0))
        engine.follow(self, e.OrchestrationStarted, e.OrchestrationForked, *_ENDS)

    def committed(self, live: Live, events: list[e.Event]) -> None:
        for event in events:
            kind = type(event)
            if kind is e.OrchestrationStarted or kind is e.OrchestrationForked:
                self.started += 1
            elif kind in _ENDS:
                self.ended[_ENDS[kind]] += 1
