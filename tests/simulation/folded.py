"""What a simulated database holds, in the form that every check looks at."""

from __future__ import annotations

from uuid import UUID

from application.large_values import Contents
from tests.simulation.memory_data import MemoryData
from tests.support.stored import Folded, Stored, StoredPartition, fold_all

__all__ = ["Folded", "folded", "stored_of"]


def stored_of(data: MemoryData) -> Stored:
    """The rows of a database in memory."""
    partitions = [
        StoredPartition(
            partition.head,
            partition.log,
            {each: (row.in_flight, row.due_at) for each, row in partition.agenda.items()},
            {(orchestration, run) for orchestration, run, _ in partition.subscriptions},
            len(partition.emitted),
        )
        for partition in data.partitions
    ]
    archive = {place: record.content for place, record in data.archive.items()}
    definitions = {record.digest: record.value for record in data.definitions}
    contents: dict[tuple[int, UUID], Contents] = {}
    for (number, orchestration, digest), (blob, _) in data.blobs.items():
        contents.setdefault((number, orchestration), Contents())[digest] = blob.content or b""
    return Stored(partitions, data.status, archive, contents, definitions)


def folded(data: MemoryData) -> list[Folded]:
    """Every orchestration, folded without the engine: the truth that tests compare with."""
    return fold_all(stored_of(data))
