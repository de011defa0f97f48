"""Lets the `eventsourcing` library read our log: its event store, repository and notification log work on a partition.

Positions of the partition are its notification ids and versions its originator versions. Only the journal writes, since
it alone knows the fence; so inserting is refused. There is nothing to subscribe to here either: wake-ups are the
engine's. Calls run on the calling thread and may be made from any thread.

Archived events keep their place here but not their bytes: `state` is empty, and whoever decodes it is told so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn, Protocol
from uuid import UUID

from eventsourcing.persistence import ApplicationRecorder, Notification, StoredEvent

from application.storage import StoredRecord

__all__ = ["PartitionReader", "PartitionRecorder"]


class PartitionReader(Protocol):
    """What every `LogStore` of ours offers to readers without an event loop."""

    def read_stream(
        self,
        partition: int,
        orchestration: UUID,
        *,
        after: int = 0,
        until: int | None = None,
        newest_first: bool = False,
        limit: int | None = None,
    ) -> list[StoredRecord]:
        """Versions > after and <= until."""
        ...

    def read_log(
        self, partition: int, *, after: int, until: int | None, topics: Sequence[str], limit: int
    ) -> list[StoredRecord]:
        """Positions > after and <= until; only these topics, unless there are none."""
        ...

    def read_head(self, partition: int) -> int:
        """The position of the last committed event; 0 when there is none."""
        ...


class PartitionRecorder(ApplicationRecorder):
    """The read side of `ApplicationRecorder` over one partition."""

    def __init__(self, log: PartitionReader, partition: int) -> None:
        self._log = log
        self._partition = partition

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> NoReturn:
        """Always raises: see the module."""
        raise TypeError("The journal writes the log (application/journal.py); this recorder only reads it.")

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> list[StoredEvent]:
        """Events of one orchestration, in order of version or, `desc`, newest first."""
        identity = originator_id if isinstance(originator_id, UUID) else UUID(originator_id)
        records = self._log.read_stream(
            self._partition, identity, after=gt or 0, until=lte, newest_first=desc, limit=limit
        )
        return [StoredEvent(each.orchestration, each.version, each.topic, each.state) for each in records]

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> list[Notification]:
        """Events of the partition in order of position, from `start` to `stop` inclusive."""
        after = 0 if start is None else start - inclusive_of_start
        records = self._log.read_log(self._partition, after=after, until=stop, topics=topics, limit=limit)
        return [
            Notification(each.orchestration, each.version, each.topic, each.state, each.position) for each in records
        ]

    def max_notification_id(self) -> int | None:
        """The partition's last position, or None when it is empty."""
        return self._log.read_head(self._partition) or None

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> NoReturn:
        """Always raises: see the module."""
        raise TypeError("Wake-ups are the engine's; read the log by position instead.")
