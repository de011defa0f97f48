"""What is stored, folded without the engine: the truth that tests compare with."""

from __future__ import annotations

from uuid import UUID

import msgspec

from adapters.stored_events import EventMapper
from domain import events as e
from domain.evolve import evolve
from domain.state import State
from tests.simulation.memory_data import MemoryData

_CODEC = EventMapper()


class Folded(msgspec.Struct):
    """One orchestration, folded from what is stored."""

    partition: int
    orchestration: UUID
    state: State
    events: list[e.Event]


def folded(data: MemoryData) -> list[Folded]:
    found = []
    for partition in data.partitions:
        for orchestration, records in partition.streams.items():
            state, events = State(), []
            for record in records:
                event = _CODEC.decode(record.topic, record.state)
                evolve(state, event)
                events.append(event)
            found.append(Folded(partition.head.partition, orchestration, state, events))
    return found
