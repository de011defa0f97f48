"""What a database holds, whichever kind it is, as plain rows: what `soundness` looks at after whatever went wrong.

`read_stored` takes one consistent look through a driver of its own, never through the code that wrote the rows, so it
may look while nodes are at work and no mistake of theirs is made twice.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from typing import Any, cast
from uuid import UUID

import msgspec
import psycopg

from adapters.sql.rows import as_head, as_instant, as_record, as_uuid
from adapters.stored_events import EventMapper
from application.archive import unpacked
from application.large_values import Contents
from application.projector import PROJECTION
from application.storage import Head, StoredRecord
from application.views import StatusRow
from domain import events as e
from domain.evolve import evolve
from domain.state import State

_CODEC = EventMapper()
_Rows = Callable[[str], list[tuple[Any, ...]]]


class StoredPartition(msgspec.Struct):
    """One partition: its fence, its log in order of position, and its work."""

    head: Head
    log: list[StoredRecord] = []
    agenda: dict[UUID, tuple[bool, datetime | None]] = {}
    """Orchestration -> (whether a callout is in flight, when it is due)."""
    subscriptions: set[tuple[UUID, str]] = set()
    """(orchestration, run) that wait for events."""
    emitted: int = 0
    """Emitted events that were not published."""
    commands: int = 0
    """Commands of other nodes that were not carried out."""
    seen: int = 0
    """Up to which position the status view has seen the log."""


class Stored(msgspec.Struct):
    """A database: its partitions by number, and its status view."""

    partitions: list[StoredPartition]
    status: dict[tuple[int, UUID], StatusRow]
    archive: dict[tuple[int, UUID], bytes] = {}
    """What is archived: its content."""
    blobs: dict[tuple[int, UUID], Contents] = {}
    """Contents of large values by digest."""
    definitions: dict[str, bytes] = {}
    """Digest -> the parsed document as JSON."""

    def bytes_of(self, partition: int, record: StoredRecord) -> bytes:
        """What was once stored of an event, wherever it is now."""
        if record.state_hash is None:
            return record.state
        return unpacked(self.archive[partition, record.orchestration])[record.version - 1]


class Folded(msgspec.Struct):
    """One orchestration, folded from what is stored."""

    partition: int
    orchestration: UUID
    state: State
    events: list[e.Event]
    archived: bool = False


def fold_all(stored: Stored) -> list[Folded]:
    """Every orchestration, folded without the engine."""
    found: dict[tuple[int, UUID], Folded] = {}
    for partition in stored.partitions:
        number = partition.head.partition
        for record in partition.log:
            each = found.setdefault((number, record.orchestration), Folded(number, record.orchestration, State(), []))
            contents = stored.blobs.get((number, record.orchestration))
            event = _CODEC.decode(record.topic, stored.bytes_of(number, record), contents)
            evolve(each.state, event)
            each.events.append(event)
            each.archived = record.state_hash is not None
    return list(found.values())


def read_stored(url: str) -> Stored:
    """Everything that a database at this URL holds, as of one moment."""
    with _rows_of(url) as rows:
        return _read(rows)


@contextmanager
def _rows_of(url: str) -> Iterator[_Rows]:
    """Runs queries in one transaction, which sees one moment."""
    if url.startswith("sqlite:///"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as lite:
            lite.execute("BEGIN")
            yield lambda statement: lite.execute(statement).fetchall()
        return
    with psycopg.connect(url) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        yield lambda statement: connection.execute(statement.encode()).fetchall()


def _read(rows: _Rows) -> Stored:
    heads = rows("SELECT partition, epoch, head_position, head_hash FROM partitions ORDER BY partition")
    partitions = [StoredPartition(as_head(row), [], {}, set()) for row in heads]
    columns = "partition, position, orchestration, version, topic, state, event_hash, log_hash, state_hash"
    for number, *record in rows(f"SELECT {columns} FROM events ORDER BY partition, position"):
        partitions[number].log.append(as_record(tuple(record)))
    for number, orchestration, in_flight, due_at in rows(
        "SELECT partition, orchestration, in_flight, due_at FROM agenda"
    ):
        due = None if due_at is None else as_instant(due_at)
        partitions[number].agenda[as_uuid(orchestration)] = (bool(in_flight), due)
    for number, orchestration, run in rows("SELECT partition, orchestration, run FROM subscriptions"):
        partitions[number].subscriptions.add((as_uuid(orchestration), run))
    for number, count in rows("SELECT partition, count(*) FROM emitted GROUP BY partition"):
        partitions[number].emitted = count
    for number, count in rows("SELECT partition, count(*) FROM inbox WHERE reply IS NULL GROUP BY partition"):
        partitions[number].commands = count
    for number, position in rows(f"SELECT partition, position FROM tracking WHERE projection = '{PROJECTION}'"):
        partitions[number].seen = position
    archive = {
        (number, as_uuid(orchestration)): bytes(content)
        for number, orchestration, content in rows("SELECT partition, orchestration, content FROM archive")
    }
    definitions = {digest: bytes(value) for digest, value in rows("SELECT digest, value FROM definitions")}
    return Stored(partitions, _status(rows), archive, _contents(rows), definitions)


def _contents(rows: _Rows) -> dict[tuple[int, UUID], Contents]:
    found: dict[tuple[int, UUID], Contents] = {}
    for partition, orchestration, digest, content in rows(
        "SELECT partition, orchestration, digest, content FROM blobs WHERE content IS NOT NULL"
    ):
        found.setdefault((partition, as_uuid(orchestration)), Contents())[bytes(digest)] = bytes(content)
    return found


def _status(rows: _Rows) -> dict[tuple[int, UUID], StatusRow]:
    found = {}
    for partition, orchestration, *texts, tags, incidents, started_at, updated_at, summary in rows(
        "SELECT partition, orchestration, public_id, namespace, name, definition_version, status, version, business_key,"
        " tags, incidents, started_at, updated_at, summary FROM status"
    ):
        key = (partition, as_uuid(orchestration))
        times = (as_instant(started_at), as_instant(updated_at))
        members = (*key, *texts, msgspec.json.decode(tags), incidents, *times, bytes(summary))
        found[key] = StatusRow(*cast("Any", members))
    return found


def at_rest(url: str) -> bool:
    """Whether nothing is left to do: no callout, timer or event is waited for, and the status view knows it all. Reads
    little, so it can be asked again and again.
    """
    unfinished = (
        "SELECT (SELECT count(*) FROM agenda) + (SELECT count(*) FROM emitted)"
        " + (SELECT count(*) FROM inbox WHERE reply IS NULL)"
        " + (SELECT count(*) FROM status WHERE status IN ('running', 'compensating'))"
    )
    behind = (
        "SELECT count(*) FROM partitions AS p LEFT JOIN tracking AS t ON t.partition = p.partition"
        f" AND t.projection = '{PROJECTION}' WHERE p.head_position > coalesce(t.position, 0)"
    )
    with _rows_of(url) as rows:
        return rows(unfinished) == [(0,)] and rows(behind) == [(0,)]
