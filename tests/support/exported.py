"""An export of what a storage holds, as the service writes it: for those who read exports."""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime
from typing import Any

import msgspec

from adapters.stored_events import EventMapper
from application.archive import unpacked
from application.chain import GENESIS
from application.checkpoints import fingerprint, shown
from application.database import Storage
from application.history import event_json
from application.identity import Identity
from application.storage import StoredRecord

Json = dict[str, Any]
_CODEC = EventMapper()


async def export_lines(storage: Storage, identity: Identity, *, complete: bool = True) -> list[Json]:
    """All lines."""
    key = identity.place_key()
    lines: list[Json] = [
        {
            "kind": "header",
            "format": 1,
            "database": fingerprint(key),
            "place_key": b64encode(key).decode(),
            "partitions": identity.partitions,
            "exported_at": datetime(2099, 1, 1, tzinfo=UTC).isoformat(),
            "exported_by": "ann",
            "complete": complete,
            "filters": {},
        }
    ]
    for partition in range(identity.partitions):
        lines += await _events(storage, partition)
    count = len(lines) - 1
    lines += [
        {"kind": "checkpoint", **shown(fingerprint(key), each)} for each in await storage.checkpoints.page(limit=10_000)
    ]
    return [*lines, {"kind": "end", "events": count}]


async def _events(storage: Storage, partition: int) -> list[Json]:
    records = await storage.log.log(partition, 0, 100_000)
    public: dict[Any, str] = {}
    hashes: dict[Any, bytes] = {}
    lines = []
    for bare in records:
        record = await _whole(storage, partition, bare)
        event = _CODEC.decode(record.topic, record.state)
        if record.version == 1:
            public[record.orchestration] = getattr(event, "id", "")
        line = {
            "kind": "event",
            "partition": partition,
            "position": record.position,
            "orchestration": public[record.orchestration],
            "version": record.version,
            "type": record.topic,
            "stored": b64encode(record.state).decode(),
            "hash": record.event_hash.hex(),
            "log_hash": record.log_hash.hex(),
            "previous": hashes.get(record.orchestration, GENESIS).hex(),
            **event_json(event, record.version),
        }
        hashes[record.orchestration] = record.event_hash
        lines.append(msgspec.json.decode(msgspec.json.encode(line)))
    return lines


async def _whole(storage: Storage, partition: int, record: StoredRecord) -> StoredRecord:
    if record.state_hash is None:
        return record
    archived = await storage.archive.get(partition, record.orchestration)
    assert archived is not None
    state = unpacked(archived.content)[record.version - 1]
    return msgspec.structs.replace(record, state=state, state_hash=None)
