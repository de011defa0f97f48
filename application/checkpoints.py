"""Signed checkpoints: what the log of each partition was, vouched for by a key that is not in the database.

A hash chain shows that a log was changed, but not that it was cut at its end, or written anew from some event on with hashes
that fit each other. A checkpoint says which log hash a partition had at which position. It is signed, so that nobody who can
write to the database can make one, kept in the database, and sent to a place outside, since there it could be removed.

The owner of a partition makes one every so often when its head has moved, and one at a graceful stop. Nothing waits for that:
it is beside the work, signs what is committed, and trouble with the place outside is told and tried again.

What is signed is text, in this form and no other (the first line names the form)::

    retrace checkpoint 1
    database 5f0c...            32 hex digits, `fingerprint`
    partition 3
    position 17
    log_hash 9a41...            64 hex digits
    made_at 2026-11-26T09:30:00.000000Z
    key 77d0...                 32 hex digits, the id of the key

each line ended by a line feed. The fingerprint keeps a checkpoint of one database from being passed off as another's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

import msgspec
import structlog

from application.checkpoint_store import CheckpointOutlet, CheckpointRecord, CheckpointStore, PublicKeys, Signer
from application.ports import Clock, DeliveryError
from application.status import instant
from application.storage import Head
from domain.errors import StorageError

_log = structlog.get_logger(__name__)
FORMAT: Final = 1
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 60.0
_LAST_TRY_S: Final = 5.0
MOST_UNSENT: Final = 10_000
"""Checkpoints that wait for the place outside; beyond that the oldest are given up, which the later ones make up for."""


def fingerprint(place_key: bytes) -> str:
    """Names a database to those who never saw it (`Identity.place_key`)."""
    return sha256(b"retrace database" + place_key).hexdigest()[:32]


def signed_text(database: str, record: CheckpointRecord) -> bytes:
    """What the signature is of."""
    return (
        f"retrace checkpoint {FORMAT}\n"
        f"database {database}\n"
        f"partition {record.partition}\n"
        f"position {record.position}\n"
        f"log_hash {record.log_hash.hex()}\n"
        f"made_at {instant(record.made_at)}\n"
        f"key {record.key_id}\n"
    ).encode()


class _Shown(msgspec.Struct):
    """A checkpoint as JSON."""

    format: int
    database: str
    partition: int
    position: int
    log_hash: str
    made_at: datetime
    key_id: str
    signature: bytes


def shown(database: str, record: CheckpointRecord) -> dict[str, Any]:
    """A checkpoint as clients and files have it: {format, database, partition, position, log_hash, made_at, key_id,
    signature}, the hash in hex, the signature in base64.
    """
    made_at = instant(record.made_at)
    found: dict[str, Any] = msgspec.to_builtins(
        _Shown(
            FORMAT,
            database,
            record.partition,
            record.position,
            record.log_hash.hex(),
            record.made_at,
            record.key_id,
            record.signature,
        )
    )
    return {**found, "made_at": made_at}


def read(given: Mapping[str, Any]) -> tuple[str, CheckpointRecord]:
    """(database, record) of such JSON. Raises ValueError with a sentence."""
    try:
        found = msgspec.convert(given, _Shown)
        log_hash = bytes.fromhex(found.log_hash)
    except (msgspec.ValidationError, ValueError) as error:
        raise ValueError(f"this is not a checkpoint: {error}") from None
    if found.format != FORMAT:
        raise ValueError(f"a checkpoint of format {found.format} cannot be read by this version")
    if found.made_at.tzinfo is None or len(log_hash) != 32:
        raise ValueError("this is not a checkpoint: its hash or its time has not the right form")
    if found.partition < 0 or found.position < 1:
        raise ValueError("this is not a checkpoint: there is no such partition or position")
    try:
        made_at = found.made_at.astimezone(UTC)
    except OverflowError:
        raise ValueError("this is not a checkpoint: its time does not exist") from None
    record = CheckpointRecord(found.partition, found.position, log_hash, made_at, found.key_id, found.signature)
    return found.database, record


def holds(keys: PublicKeys, database: str, record: CheckpointRecord) -> bool | None:
    """Whether its signature is that of a key that counts; None when it is of none of them."""
    return keys.holds(record.key_id, signed_text(database, record), record.signature)


class Checkpoints:
    """One loop per process that makes them, one that sends them outside. Without a signer it does nothing but say so."""

    def __init__(
        self,
        store: CheckpointStore,
        clock: Clock,
        database: str,
        heads: Callable[[], Sequence[Head]],
        signer: Signer | None,
        outlet: CheckpointOutlet | None,
        *,
        every_s: float,
    ) -> None:
        self._store = store
        self._clock = clock
        self._database = database
        self._heads = heads
        self._signer = signer
        self._outlet = outlet
        self._every_s = every_s
        self._made: dict[int, int] = {}
        """Partition -> position of its last checkpoint."""
        self._unsent: deque[dict[str, Any]] = deque(maxlen=MOST_UNSENT)
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.complete_at: datetime | None = None
        """When everything committed here was last under a checkpoint; None where none are made."""

    def start(self) -> None:
        if self._signer is None:
            _log.warning(
                "checkpoints.off",
                detail="there is no RETRACE_AUDIT_KEY: a log that was cut, or written anew as a whole, would not be found",
            )
            return
        self.complete_at = self._clock.now()
        self._tasks.append(asyncio.create_task(self._run(self._signer), name="checkpoints"))
        if self._outlet is not None:
            self._tasks.append(asyncio.create_task(self._send(self._outlet), name="checkpoints outside"))

    async def stop(self) -> None:
        """One more of each partition, when nothing is written any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._signer is None:
            return
        try:
            async with asyncio.timeout(_LAST_TRY_S):
                await self.make(self._signer)
                if self._outlet is not None and self._unsent:
                    await self._outlet.put(list(self._unsent))
        except (StorageError, DeliveryError, TimeoutError) as error:
            _log.warning("checkpoints.not_kept", detail=str(error))

    async def make(self, signer: Signer) -> list[CheckpointRecord]:
        """One of each partition of ours whose head has moved since the last. Raises StorageError."""
        at = self._clock.now()
        records = []
        for head in self._heads():
            if head.position > self._made.get(head.partition, 0):
                unsigned = CheckpointRecord(head.partition, head.position, head.log_hash, at, signer.key_id, b"")
                signature = signer.sign(signed_text(self._database, unsigned))
                records.append(msgspec.structs.replace(unsigned, signature=signature))
        if records:
            await self._store.put(records)
            self._made.update({each.partition: each.position for each in records})
            if self._outlet is not None:
                self._unsent.extend(shown(self._database, each) for each in records)
                self._wake.set()
        self.complete_at = at
        return records

    @property
    def unsent(self) -> int:
        """Checkpoints that wait for the place outside."""
        return len(self._unsent)

    async def _run(self, signer: Signer) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self.make(signer)
            except StorageError as error:
                _log.warning("checkpoints.not_kept", detail=error.detail)
            except Exception:
                _log.exception("checkpoints.broken")

    async def _send(self, outlet: CheckpointOutlet) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._unsent:
                batch = list(self._unsent)
                try:
                    await outlet.put(batch)
                except DeliveryError as error:
                    _log.warning("checkpoints.not_sent", detail=str(error), waiting=len(batch))
                    await asyncio.sleep(pause_s)
                    pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                except Exception:
                    _log.exception("checkpoints.broken")
                    await asyncio.sleep(_LONGEST_PAUSE_S)
                else:
                    pause_s = _FIRST_PAUSE_S
                    sent = {id(each) for each in batch}  # what came meanwhile stands behind them
                    while self._unsent and id(self._unsent[0]) in sent:
                        self._unsent.popleft()
