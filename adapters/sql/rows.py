"""Rows and structs: SQLite keeps a UUID as 16 bytes and an instant as microseconds since 1970, PostgreSQL has types."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from adapters.sql.database import Row
from application.storage import Head, StoredRecord

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(instant: datetime) -> int:
    """An aware instant as microseconds since 1970, exactly."""
    return (instant - _EPOCH) // _MICROSECOND


def as_uuid(raw: Any) -> UUID:
    return raw if isinstance(raw, UUID) else UUID(bytes=raw)


def as_instant(raw: Any) -> datetime:
    return raw if isinstance(raw, datetime) else _EPOCH + timedelta(microseconds=raw)


def as_record(row: Row, orchestration: UUID | None = None) -> StoredRecord:
    """`orchestration`: whose event it is, where that is known; making UUIDs is a third of reading a long history."""
    position, identity, version, topic, state, event_hash, log_hash, state_hash = row
    return StoredRecord(
        position, orchestration or as_uuid(identity), version, topic, state, event_hash, log_hash, state_hash
    )


def as_head(row: Row) -> Head:
    return Head(*row)
