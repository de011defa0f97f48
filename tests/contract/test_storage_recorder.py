"""The eventsourcing library reads our log: its event store, its notification log, and its recorder's own rules."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
import pytest
from eventsourcing.application import LocalNotificationLog
from eventsourcing.persistence import EventStore, Mapper, Notification, StoredEvent

from adapters.stored_events import EventMapper
from adapters.stored_recorder import PartitionRecorder
from application.storage import ArchiveRecord
from domain.errors import ArchivedError
from domain.events import NoteAdded
from tests.contract.storages import identity, minutes, written

pytestmark = pytest.mark.anyio

ONE, TWO = identity(1), identity(2)


class Untouched(Mapper[UUID]):
    """Leaves stored events as they are."""

    def __init__(self):
        """Needs nothing."""

    def to_domain_event(self, stored_event: StoredEvent) -> Any:
        return stored_event

    def to_stored_event(self, domain_event: Any) -> Any:
        return domain_event


@pytest.fixture
async def recorder(storage):
    """Partition 1 with five events of two orchestrations; partition 0 has others."""
    elsewhere, here = await storage.log.heads([0, 1])
    write = written(here, (ONE, 1), (TWO, 1), (ONE, 2), (ONE, 3), (TWO, 2), state=b"bytes\x00")
    write.records[2] = msgspec.structs.replace(write.records[2], topic="task.failed")
    await storage.log.write([written(elsewhere, (identity(3), 1)), write])
    return PartitionRecorder(storage.log, 1)


def versions(events) -> list[int]:
    return [each.originator_version for each in events]


async def test_the_event_store_reads_an_orchestration(recorder):
    events: list[Any] = list(EventStore(Untouched(), recorder).get(ONE))
    assert events[0] == StoredEvent(ONE, 1, "task.completed", b"bytes\x00")
    assert versions(events) == [1, 2, 3]
    assert events[1].topic == "task.failed"
    store = EventStore(Untouched(), recorder)
    assert versions(store.get(ONE, gt=1)) == [2, 3]
    assert versions(store.get(ONE, lte=2)) == [1, 2]
    assert versions(store.get(ONE, desc=True, limit=1)) == [3]
    assert versions(store.get(ONE, gt=1, lte=2, desc=True)) == [2]
    assert list(store.get(UUID(int=99))) == []


async def test_the_notification_log_reads_the_partition(recorder):
    log = LocalNotificationLog(recorder, section_size=3)
    section = log["1,3"]
    assert section.items[0] == Notification(ONE, 1, "task.completed", b"bytes\x00", 1)
    assert [each.id for each in section.items] == [1, 2, 3]
    assert section.next_id == "4,6"
    assert [each.id for each in log[section.next_id].items] == [4, 5]
    assert [each.id for each in recorder.select_notifications(2, 10, stop=4)] == [2, 3, 4]
    assert [each.id for each in recorder.select_notifications(2, 10, inclusive_of_start=False)] == [3, 4, 5]
    assert [each.id for each in recorder.select_notifications(1, 10, topics=["task.failed", "unknown"])] == [3]
    assert [each.id for each in log.select(None, 2)] == [1, 2]


async def test_the_last_notification_id_is_the_last_position(recorder, storage):
    assert recorder.max_notification_id() == 5
    assert PartitionRecorder(storage.log, 2).max_notification_id() is None


async def test_only_the_journal_writes(recorder):
    with pytest.raises(TypeError, match="journal"):
        recorder.insert_events([StoredEvent(ONE, 4, "task.completed", b"")])
    with pytest.raises(TypeError, match="position"):
        recorder.subscribe()


async def test_archived_events_keep_their_place_and_say_where_their_bytes_are(storage):
    mapper = EventMapper()
    state = mapper.encode(NoteAdded(at=minutes(0), text="hello"))
    head = (await storage.log.heads([1]))[0]
    write = written(head, (ONE, 1), (TWO, 1), state=state)
    write.records[:] = [msgspec.structs.replace(each, topic="note.added") for each in write.records]
    await storage.log.write([write])
    record = ArchiveRecord(ONE, "o", "d", "completed", minutes(0), minutes(0), 1, minutes(1), b"packed")
    assert await storage.archive.put((await storage.log.heads([1]))[0], record, [(1, bytes(32))])
    recorder = PartitionRecorder(storage.log, 1)
    archived, whole = recorder.select_notifications(1, 10)
    assert [archived.id, whole.id] == [1, 2]
    assert mapper.to_domain_event(whole).event.text == "hello"
    with pytest.raises(ArchivedError):
        mapper.to_domain_event(archived)
    with pytest.raises(ArchivedError):
        list(EventStore(mapper, recorder).get(ONE))
