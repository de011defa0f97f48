"""The log as lines to take away: every event with its stored bytes and hashes, so that it can be verified elsewhere.

First a header, then the events partition by partition in the order of their positions, then checkpoints and the keys that
they are signed with, and at the end how many events it was: a file without that line is cut off. It shows the log as far as
it was when the export began. With filters it is not complete: then each event is bound only to the one before it in its
orchestration. The aggregate's own ids and the salt of the database are in none of it; `place_key` is what ids are derived
with, and says nothing of other secrets.
"""

from __future__ import annotations

from base64 import b64encode
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final
from uuid import UUID

import msgspec

from application.blob_check import files_in
from application.blob_store import BlobStore
from application.chain import GENESIS
from application.checkpoint_store import CheckpointStore, PublicKeys
from application.checkpoints import fingerprint, shown
from application.feed_context import FeedContext
from application.feed_filter import FeedFilter
from application.feed_lanes import Lane, OrchestrationLane, PartitionLane, Ready
from application.history import event_json
from application.identity import Identity
from application.large_values import named, references
from application.ports import Clock
from application.status import instant
from application.storage import StoredRecord
from application.whole_log import WholeLog

Json = dict[str, Any]
FORMAT: Final = 1
_TOGETHER: Final = 500
_TOGETHER_BYTES: Final = 8 * 1_048_576
_REMEMBERED: Final = 100_000


class Exporter:
    """Exports of one node."""

    def __init__(
        self,
        log: WholeLog,
        context: FeedContext,
        identity: Identity,
        clock: Clock,
        checkpoints: CheckpointStore,
        keys: PublicKeys,
        blobs: BlobStore,
    ) -> None:
        self._blobs = blobs
        self._log = log
        self._context = context
        self._identity = identity
        self._clock = clock
        self._checkpoints = checkpoints
        self._keys = keys

    async def lines(self, wanted: FeedFilter, actor: str) -> AsyncIterator[list[Json]]:
        """All lines, many at a time."""
        yield [self._header(wanted, actor)]
        # Read before the heads: one that is beyond its partition's end tells that something is gone.
        newest = await self._checkpoints.latest()
        count, heads = 0, await self._log.heads(self._identity.partitions)
        upto = list(heads)
        for each in newest:
            upto[each.partition] = max(upto[each.partition], each.position)
        for lane in self._lanes(wanted, heads):
            previous = _Previous(self._log, lane.partition)
            while not lane.exhausted:
                await lane.look(_TOGETHER)
                page: list[Json] = []
                size = 0
                for ready in lane.ready:
                    page.append(await self._line(lane.partition, ready, previous))
                    size += sum(each["bytes"] for each in page[-1].get("blobs", ()))
                    if size > _TOGETHER_BYTES:
                        count += len(page)
                        yield page
                        page, size = [], 0
                lane.ready.clear()
                count += len(page)
                if page:
                    yield page
        async for page in self._checkpoints_up_to(upto):
            yield page
        yield [{"kind": "key", **key} for key in self._keys.listed()]
        yield [{"kind": "end", "events": count}]

    async def _checkpoints_up_to(self, upto: Sequence[int]) -> AsyncIterator[list[Json]]:
        """Those that were there when the export began: a later one would vouch for what is not in it."""
        database = fingerprint(self._identity.place_key())
        after = None
        while records := await self._checkpoints.page(limit=_TOGETHER, after=after):
            shared = [each for each in records if each.position <= upto[each.partition]]
            yield [{"kind": "checkpoint", **shown(database, each)} for each in shared]
            after = (records[-1].partition, records[-1].position)

    def _header(self, wanted: FeedFilter, actor: str) -> Json:
        key = self._identity.place_key()
        filters = wanted.told()
        return {
            "kind": "header",
            "format": FORMAT,
            "database": fingerprint(key),
            "place_key": b64encode(key).decode(),
            "partitions": self._identity.partitions,
            "exported_at": instant(self._clock.now()),
            "exported_by": actor,
            "complete": not filters,
            "filters": filters,
        }

    def _lanes(self, wanted: FeedFilter, heads: Sequence[int]) -> list[Lane]:
        if wanted.orchestration is not None:
            place = self._identity.locate(wanted.orchestration)
            return [OrchestrationLane(self._log, self._context, wanted, place, 0)]
        return [PartitionLane(self._log, self._context, wanted, p, 0, head) for p, head in enumerate(heads)]

    async def _brought(self, partition: int, record: StoredRecord, previous: _Previous) -> list[Json]:
        """What an event refers to, with the first that does so."""
        found: list[Json] = []
        for digest in _refers_to(record):
            key = (record.orchestration, digest)
            if key in previous.brought:
                continue
            previous.brought[key] = None
            if len(previous.brought) > _REMEMBERED:
                previous.brought.popitem(last=False)
            blob = await self._blobs.get(partition, record.orchestration, digest)
            if blob is not None and blob.content is not None:
                content = b64encode(blob.content).decode()
                found.append(
                    {
                        "digest": named(digest),
                        "bytes": blob.size,
                        "media_type": blob.media_type,
                        "content": content,
                    }
                )
        return found

    async def _line(self, partition: int, ready: Ready, previous: _Previous) -> Json:
        record, event = ready.record, ready.event
        line: Json = {
            "kind": "event",
            "partition": partition,
            "position": record.position,
            "orchestration": (await self._context.origin(partition, record.orchestration)).id or "",
            "version": record.version,
            "type": record.topic,
            "stored": b64encode(record.state).decode(),
            "hash": record.event_hash.hex(),
            "log_hash": record.log_hash.hex(),
            "previous": (await previous.of(record.orchestration, record.version)).hex(),
        }
        previous.note(record.orchestration, record.version, record.event_hash)
        if blobs := await self._brought(partition, record, previous):
            line["blobs"] = blobs
        return line if event is None else line | event_json(event, record.version)


def _refers_to(record: StoredRecord) -> list[bytes]:
    try:
        return [each.digest for each in references(record.state)] + files_in(record.state)
    except (ValueError, IndexError, msgspec.MsgspecError):
        return []  # it is damaged


class _Previous:
    """The event hash before an event in its orchestration: mostly seen a moment ago, else looked up."""

    def __init__(self, log: WholeLog, partition: int) -> None:
        self._log = log
        self._partition = partition
        self._seen: OrderedDict[UUID, tuple[int, bytes]] = OrderedDict()
        self.brought: OrderedDict[tuple[UUID, bytes], None] = OrderedDict()
        """Contents that stand in the export."""

    def note(self, orchestration: UUID, version: int, event_hash: bytes) -> None:
        self._seen[orchestration] = (version, event_hash)
        self._seen.move_to_end(orchestration)
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)

    async def of(self, orchestration: UUID, version: int) -> bytes:
        if version == 1:
            return GENESIS
        known = self._seen.get(orchestration)
        if known is not None and known[0] == version - 1:
            return known[1]
        before = await self._log.stream(self._partition, orchestration, version - 2, 1)
        return before[0].event_hash if before and before[0].version == version - 1 else GENESIS
