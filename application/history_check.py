"""Verifies one orchestration: its own chain, and that each of its events still stands where the log's chain has it."""

from __future__ import annotations

from hashlib import sha256
from typing import Final
from uuid import UUID

from application.audit_log import AuditLog
from application.blob_check import BlobCheck
from application.chain import GENESIS, PLACE, log_hash
from application.damage import Damage, DamageKind
from application.operations import Progress
from application.storage import LogStore, StoredRecord

_PAGE: Final = 500


class HistoryCheck:
    """The check of one orchestration. What is not its own is looked at only where its events are linked to."""

    def __init__(
        self, log: LogStore, audit: AuditLog, partition: int, orchestration: UUID, public_id: str, blobs: BlobCheck
    ) -> None:
        self._log = log
        self._blobs = blobs
        self._audit = audit
        self._partition = partition
        self._orchestration = orchestration
        self._public_id = public_id
        self.findings: list[Damage] = []
        self.events = 0

    async def run(self, progress: Progress) -> None:
        """Check all of it. Raises StorageError."""
        previous, version, position = GENESIS, 0, 0
        while records := await self._log.stream(self._partition, self._orchestration, version, _PAGE):
            for record in records:
                if record.version != version + 1:
                    self._find("event_missing", record, f"version {version + 1} is not in the log")
                elif record.position <= position:
                    self._find("events_swapped", record, "it stands before the event that it follows")
                await self._check(record, previous if record.version == version + 1 else None)
                place = (record.version, record.position, record.topic, record.state)
                self.findings += await self._blobs.findings(record.orchestration.bytes, *place, self._public_id)
                previous, version, position = record.event_hash, record.version, record.position
                self.events += 1
                progress.advance()

    async def _check(self, record: StoredRecord, previous: bytes | None) -> None:
        rows = await self._audit.page(self._partition, record.position - 2, record.position, 2)
        before = rows[0][6] if len(rows) == 2 else GENESIS if record.position == 1 else None
        linked = before is None or log_hash(before, record.event_hash) == record.log_hash
        if before is None:
            self._find("event_missing", record, f"position {record.position - 1}, which it is linked to, has no event")
        if previous is not None and self._hash(record, previous) != record.event_hash:
            if linked:
                self._find("payload_changed", record, "the event is not the one that its hash was made of")
            else:
                self._find("event_replaced", record, "neither the event nor its place in the log's chain holds")
        elif not linked:
            detail = "the log's chain does not hold between this event and the one before it; verify the whole log"
            self._find("hash_changed", record, detail)

    def _hash(self, record: StoredRecord, previous: bytes) -> bytes:
        digest = sha256(record.state).digest() if record.state_hash is None else record.state_hash
        place = PLACE(self._partition, record.position, record.orchestration.bytes, record.version)
        return sha256(previous + place + record.topic.encode() + digest).digest()

    def _find(self, kind: DamageKind, record: StoredRecord, detail: str) -> None:
        self.findings.append(
            Damage(
                kind=kind,
                partition=self._partition,
                position=record.position,
                detail=detail,
                orchestration=self._public_id,
                version=record.version,
                topic=record.topic,
            )
        )
