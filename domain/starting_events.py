"""Which events start a definition: those that have the attributes that one of the filters of ``schedule.on`` names."""

from __future__ import annotations

from typing import Any

from domain.data import same
from domain.schedule import Schedule


def wanted(schedule: Schedule, event: dict[str, Any]) -> bool:
    """Whether this CloudEvent starts it. A filter without attributes wants every event."""
    return schedule.on is not None and any(
        all(same(event.get(name), value) for name, value in each.items()) for each in schedule.on
    )
