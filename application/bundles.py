"""A bundle: one orchestration in one JSON document, from which it replays on another machine without a database.

{format: 1, exported_at, versions: {retrace, python}, checkpoints, id, definition: {reference, digest, document}, earlier:
[the same of each definition that it was migrated from], status, history: [item of a history, with previous and stored],
children: [{id, definition, task}], redacted, blobs: {digest: {media_type, content}}}. `stored` is the event as it is stored
(msgpack, in base64); the readable members beside it are for people and are not read back. `blobs` has the large values and
files that events refer to, in base64. `previous` and `hash` link the events as in the log's chain. `checkpoints` has the
signed one that covers the last event, if there is one. The aggregate's own id is not in it.
"""

from __future__ import annotations

import asyncio
import base64
import platform
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import msgspec

from application.archive import ArchiveReader
from application.blob_check import files_in
from application.blob_store import BlobStore
from application.chain import GENESIS
from application.checkpoint_store import CheckpointStore
from application.checkpoints import fingerprint, shown
from application.history import event_json, item
from application.identity import Identity
from application.journal import Codec
from application.large_values import named, references
from application.ports import Clock
from application.reader import Reader
from application.redaction import Redaction, read_places
from application.status import instant, represent
from application.storage import DefinitionStore, LogStore, StoredRecord
from domain import events as e
from domain.errors import ArchivedError, NotFoundError, StorageError
from domain.evolve import evolve
from domain.prefix import unpacked
from domain.state import State

FORMAT: Final = 1
_PAGE: Final = 500
_CHOOSING: Final = frozenset(
    each.topic for each in (e.OrchestrationStarted, e.OrchestrationForked, e.OrchestrationMigrated)
)
"""Topics of events that say by which definition it runs."""


class BundledDefinition(msgspec.Struct, frozen=True):
    reference: str
    digest: str
    document: Any


class BundledEvent(msgspec.Struct, frozen=True):
    """What is read back of an item: `type` and `stored`; the rest makes the chain."""

    version: int
    type: str
    stored: str
    hash: str = ""
    previous: str = ""


class BundledBlob(msgspec.Struct, frozen=True):
    """A large value or a file that events refer to; `content` in base64."""

    media_type: str
    content: str


class Redacted(msgspec.Struct, frozen=True):
    """What was named, how many different values were replaced, and which names stand nowhere. The bytes are not those that
    the hashes are of.
    """

    places: list[str]
    values: int
    nowhere: list[str] = []
    hashes_checkable: bool = False


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """The document as it is read."""

    format: int
    id: str
    definition: BundledDefinition
    status: dict[str, Any]
    history: list[BundledEvent]
    earlier: list[BundledDefinition] = []
    exported_at: str = ""
    versions: dict[str, str] = {}
    checkpoints: list[dict[str, Any]] = []
    children: list[dict[str, Any]] = []
    redacted: Redacted | None = None
    blobs: dict[str, BundledBlob] = {}


class Bundles:
    """Makes bundles of what the log or the archive has."""

    def __init__(
        self,
        identity: Identity,
        reader: Reader,
        log: LogStore,
        archive: ArchiveReader,
        checkpoints: CheckpointStore,
        definitions: DefinitionStore,
        codec: Codec,
        clock: Clock,
        version: str,
        blobs: BlobStore,
    ) -> None:
        self._blobs = blobs
        self._identity = identity
        self._reader = reader
        self._log = log
        self._archive = archive
        self._checkpoints = checkpoints
        self._definitions = definitions
        self._codec = codec
        self._clock = clock
        self._version = version

    async def export(self, id_: str, redact: Sequence[str] = ()) -> tuple[bytes, int]:
        """The bundle of an orchestration, encoded, and how many events are in it. `redact`: names of members, or JSON
        Pointers into the bundle, whose values are not to be in it. Raises NotFoundError, StorageError, RedactionError.
        """
        places = read_places(redact)
        records = await self._records(id_)
        documents = [await self._document(digest) for digest in await asyncio.to_thread(digests, self._codec, records)]
        head = {
            "format": FORMAT,
            "exported_at": instant(self._clock.now()),
            "versions": {"retrace": self._version, "python": platform.python_version()},
            "checkpoints": await self._covering(id_, records[-1].position),
        }
        # A long history takes its time: not that of the requests beside it.
        blobs = {} if places is not None else await self._files(id_, records)
        made = await asyncio.to_thread(encoded, self._codec, head, records, documents, places, blobs)
        return made, len(records)

    async def _files(self, id_: str, records: Sequence[StoredRecord]) -> dict[str, BundledBlob]:
        """What its events refer to, as far as it is there."""
        found: dict[str, BundledBlob] = {}
        for record in records:
            for digest in [each.digest for each in references(record.state)] + files_in(record.state):
                if named(digest) in found:
                    continue
                blob = await self._blobs.get(*self._identity.locate(id_), digest)
                if blob is not None and blob.content is not None:
                    content = base64.b64encode(blob.content).decode()
                    found[named(digest)] = BundledBlob(blob.media_type, content)
        return found

    async def _document(self, digest: str) -> BundledDefinition:
        definition = await self._definitions.by_digest(digest)
        if definition is None:
            raise StorageError(f"The definition with digest {digest} is not in this database.")
        reference = f"{definition.namespace}/{definition.name}@{definition.version}"
        return BundledDefinition(reference, digest, msgspec.json.decode(definition.value))

    async def _covering(self, id_: str, position: int) -> list[dict[str, Any]]:
        """The first checkpoint of its partition that covers its last event, if there is one already."""
        partition, _ = self._identity.locate(id_)
        found = await self._checkpoints.page(partition, 1, (partition, position - 1))
        return [shown(fingerprint(self._identity.place_key()), each) for each in found]

    async def _records(self, id_: str) -> list[StoredRecord]:
        """The whole history as it is stored."""
        try:
            live = await self._reader.settled(id_)
        except ArchivedError:
            return await self._archived(id_)
        place, length = (live.partition, live.orchestration), live.state.version
        records: list[StoredRecord] = []
        while len(records) < length:
            page = await self._log.stream(*place, len(records), min(_PAGE, length - len(records)))
            if not page:
                break
            if page[0].state_hash is not None:  # since it was looked for
                return await self._archived(id_)
            records += page
        return records

    async def _archived(self, id_: str) -> list[StoredRecord]:
        if not self._identity.well_formed(id_):
            raise NotFoundError("There is no orchestration with this id.")
        records: list[StoredRecord] = []
        length = 1
        while len(records) < length:
            page, length = await self._archive.page(*self._identity.locate(id_), len(records), _PAGE)
            if not page:
                raise StorageError("the archive has fewer events than the log once had")
            records += page
        return records


def digests(codec: Codec, records: Sequence[StoredRecord]) -> list[str]:
    """Of the definitions that it ran by, in their order; the last is the one that it runs by now."""
    found: dict[str, None] = {}
    for record in records:
        if record.topic in _CHOOSING:
            event = codec.decode(record.topic, record.state, record.blobs)
            assert isinstance(event, e.Beginning | e.OrchestrationMigrated)
            found.pop(event.digest, None)
            found[event.digest] = None
    return list(found)


def encoded(
    codec: Codec,
    head: dict[str, Any],
    records: Sequence[StoredRecord],
    documents: Sequence[BundledDefinition],
    places: Redaction | None,
    blobs: Mapping[str, BundledBlob] = MappingProxyType({}),
) -> bytes:
    """As JSON. Values are redacted where they stand, so a redacted bundle has all of them inside, and no files."""
    made = bundle_of(codec, head, records, documents, whole=places is not None)
    made["blobs"] = msgspec.to_builtins(dict(blobs))
    if places is not None:
        values = places.values(made, _of_the_original(codec, records[0]))
        hidden = [
            msgspec.structs.replace(
                each, state=codec.encode(values.event(codec.decode(each.topic, each.state, each.blobs)))
            )
            for each in records
        ]
        bare = [msgspec.structs.replace(each, document=values.document(each.document)) for each in documents]
        made = bundle_of(codec, head, hidden, bare)
        made["blobs"] = {}
        made["redacted"] = msgspec.to_builtins(Redacted(list(places.named), len(values), list(values.nowhere)))
    return msgspec.json.encode(made)


def _of_the_original(codec: Codec, first: StoredRecord) -> list[dict[str, Any]]:
    """What a fork has from its original, which lies in its first event, as items; also what that had from its own."""
    found: list[dict[str, Any]] = []
    left = [codec.decode(first.topic, first.state, first.blobs)]
    while left:
        event = left.pop()
        if isinstance(event, e.OrchestrationForked):
            within = list(unpacked(event.prefix))
            found += map(event_json, within)
            left += within[:1]
    return found


def bundle_of(
    codec: Codec,
    head: dict[str, Any],
    records: Sequence[StoredRecord],
    documents: Sequence[BundledDefinition],
    *,
    whole: bool = False,
) -> dict[str, Any]:
    """The document. `head` has what is not of the orchestration itself; `documents` as `digests` has them. `whole`: with
    large values in the readable members too.
    """
    state, items = State(), []
    previous = GENESIS
    children: dict[str, dict[str, Any]] = {}
    for record in records:
        event = codec.decode(record.topic, record.state, record.blobs)
        evolve(state, event)
        if isinstance(event, e.AttemptStarted) and event.child is not None:
            id_, definition, _ = event.child
            children[id_] = {"id": id_, "definition": definition, "task": event.run.rpartition("#")[0]}
        stored = base64.b64encode(record.state).decode()
        told = event if whole or record.blobs is None else codec.shown(record.topic, record.state, record.blobs)
        items.append({**item(record, told), "previous": previous.hex(), "stored": stored})
        previous = record.event_hash
    return {
        **head,
        "id": state.id,
        "definition": msgspec.to_builtins(documents[-1]),
        "earlier": msgspec.to_builtins(list(documents[:-1])),
        "status": represent(state),
        "children": list(children.values()),
        "redacted": None,
        "blobs": {},
        "history": items,
    }
