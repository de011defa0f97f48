"""The use cases of verification: verify the log, show the checkpoints and the keys that they are signed with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from application.archive_check import one_archived
from application.audit_log import AuditLog
from application.blob_check import BlobCheck
from application.blob_store import BlobStore
from application.checkpoint_store import CheckpointRecord, CheckpointStore, PublicKeys
from application.checkpoints import fingerprint, read, shown
from application.damage import Damage
from application.history_check import HistoryCheck
from application.identity import Identity
from application.journal import Codec
from application.operations import Operations, Progress
from application.storage import ArchiveStore, LogStore, StoredRecord
from application.verifying import Scope, Tally, Verifier
from application.views import StatusView
from domain.errors import InvalidInputError, NotFoundError, Problem, RetraceError
from domain.events import Beginning, OrchestrationForked, OrchestrationStarted

Json = dict[str, Any]
KIND: Final = "audit.verify"
MOST_SHOWN: Final = 1000
_PAGE: Final = 500
_BEGINNINGS: Final = frozenset({OrchestrationStarted.topic, OrchestrationForked.topic})
_PLACE: Final = re.compile(r"(\d{1,4}):(\d{1,18})\Z", re.ASCII)
_NO_KEY: Final = (
    "There is no key (RETRACE_AUDIT_KEY, RETRACE_AUDIT_TRUST): signatures were not checked, and what was cut off at the end "
    "of the log, or written anew as a whole with its hashes, may not have been found."
)
_NO_CHECKPOINTS: Final = (
    "There are no checkpoints: what was cut off at the end of the log, or written anew as a whole with its hashes, would not "
    "have been found."
)


class VerifyRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`orchestration`: only this one. `since`: ``latest``, an instant, or ``partition:position`` of a checkpoint.
    `checkpoints`: some that were kept outside, as JSON. `archive`: whether the archive is checked too.
    """

    orchestration: str | None = None
    since: str | None = None
    checkpoints: Sequence[Json] = ()
    archive: bool = True


class MalformedPositionError(RetraceError):
    """A position is written partition:position, such as 3:1700; take it from an earlier answer."""

    code = "malformed-request"


class Verification:
    """Verification of one database, run as operations of this node."""

    def __init__(
        self,
        audit: AuditLog,
        store: CheckpointStore,
        keys: PublicKeys,
        identity: Identity,
        log: LogStore,
        archive: ArchiveStore,
        codec: Codec,
        operations: Operations,
        view: StatusView,
        blobs: BlobStore,
    ) -> None:
        self.database = fingerprint(identity.place_key())
        self._audit = audit
        self._store = store
        self._keys = keys
        self._identity = identity
        self._log = log
        self._archive = archive
        self._codec = codec
        self._operations = operations
        self._view = view
        self._blobs = blobs
        self._verifier = Verifier(audit, store, keys, identity, self.database, blobs)

    # Checkpoints and keys ---------------------------------------------------------------------------------------------

    async def checkpoints(self, partition: int | None = None, limit: int = 100, after: str | None = None) -> Json:
        """One page, by partition and position: {"items": [...], "next": position of the last or None}."""
        begin = None if after is None else _place(after)
        if partition is not None and partition >= self._identity.partitions:
            return {"items": [], "next": None}
        rows = await self._store.page(partition, limit + 1, begin)
        page = rows[:limit]
        following = f"{page[-1].partition}:{page[-1].position}" if len(rows) > limit else None
        return {"items": [shown(self.database, each) for each in page], "next": following}

    def keys(self) -> Json:
        """The public keys whose signatures count here, and the database that they sign for."""
        return {"items": self._keys.listed(), "next": None, "database": self.database}

    # Verifying --------------------------------------------------------------------------------------------------------

    async def verify(self, request: VerifyRequest, actor: str) -> str:
        """Begin; gives the id of the operation. Raises InvalidInputError, NotFoundError, OverloadedError."""
        asked = {name: value for name in ("orchestration", "since") if (value := getattr(request, name)) is not None}
        if not request.archive:
            asked["archive"] = False
        if request.checkpoints:
            asked["checkpoints"] = len(request.checkpoints)
        if request.orchestration is not None:
            public_id = request.orchestration
            if request.since is not None or request.checkpoints:
                raise _invalid("/orchestration", "One orchestration is verified from its beginning, by itself.")
            place = await self._existing(public_id)
            return await self._operations.start(
                KIND, actor, lambda progress: self._one(public_id, *place, progress), asked
            )
        scope = await self._scope(request)
        return await self._operations.start(KIND, actor, lambda progress: self._all(scope, progress), asked)

    async def _existing(self, public_id: str) -> tuple[int, UUID]:
        if self._identity.well_formed(public_id):
            place = self._identity.locate(public_id)
            if await self._log.stream(*place, 0, 1) or await self._archive.get(*place) is not None:
                return place
            if await self._view.row(*place) is not None:  # then the log has lost it
                return place
        raise NotFoundError("There is no orchestration with this id.")

    async def _scope(self, request: VerifyRequest) -> Scope:
        given = [self._read(index, each) for index, each in enumerate(request.checkpoints)]
        scope = Scope(given=given, archive=request.archive)
        since = request.since
        if since is None:
            return scope
        if since == "latest":
            return msgspec.structs.replace(scope, since=await self._store.latest())
        if (found := _PLACE.match(since)) is not None:
            begin = await self._at(int(found[1]), int(found[2]), given)
            return msgspec.structs.replace(scope, since=[begin], only=frozenset({begin.partition}))
        return msgspec.structs.replace(scope, since=await self._store.latest(_instant(since)))

    async def _at(self, partition: int, position: int, given: Sequence[CheckpointRecord]) -> CheckpointRecord:
        if partition < self._identity.partitions:
            stored = await self._store.page(partition, 1, (partition, position - 1))
            for each in (*given, *stored):
                if (each.partition, each.position) == (partition, position):
                    return each
        raise _invalid("/since", "There is no checkpoint at this position.")

    def _read(self, index: int, given: Json) -> CheckpointRecord:
        try:
            database, record = read(given)
        except ValueError as error:
            raise _invalid(f"/checkpoints/{index}", f"{error}.") from None
        if database != self.database:
            raise _invalid(f"/checkpoints/{index}", "This checkpoint is of another database.")
        if not 0 <= record.partition < self._identity.partitions:
            raise _invalid(f"/checkpoints/{index}/partition", "There is no such partition.")
        return record

    async def _all(self, scope: Scope, progress: Progress) -> Json:
        tally = await self._verifier.run(scope, progress)
        if not self._keys.listed():
            tally.notes.append(_NO_KEY)
        elif not tally.checkpoints:
            tally.notes.append(_NO_CHECKPOINTS)
        return await self._result(tally)

    async def _one(self, public_id: str, partition: int, orchestration: UUID, progress: Progress) -> Json:
        blobs = BlobCheck(self._blobs, partition)
        check = HistoryCheck(self._log, self._audit, partition, orchestration, public_id, blobs)
        await check.run(progress)
        tally = Tally()
        tally.findings, tally.events, tally.partitions = check.findings, check.events, 1
        record = await self._archive.get(partition, orchestration)
        if record is not None:
            tally.findings += await one_archived(self._audit, partition, record, self._identity.locate, blobs)
            tally.archived = 1
        elif not check.events:
            gone = "the status view knows it, and the log has nothing of it"
            tally.findings.append(
                Damage(
                    kind="orchestration_missing",
                    partition=partition,
                    position=0,
                    detail=gone,
                    identity=orchestration.bytes,
                    orchestration=public_id,
                )
            )
        if not self._keys.listed():
            tally.notes.append(_NO_KEY)
        tally.notes.append(
            "Only this orchestration was checked: that it is complete at its end, only the whole log can tell."
        )
        return await self._result(tally)

    async def _result(self, tally: Tally) -> Json:
        findings = sorted(tally.findings, key=lambda each: (each.partition, each.position))
        return {
            "sound": not findings,
            "findings": [(await self._named(each)).shown() for each in findings[:MOST_SHOWN]],
            "findings_total": len(findings),
            "events": tally.events,
            "partitions": tally.partitions,
            "archived": tally.archived,
            "checkpoints": tally.checkpoints,
            "signatures_checked": bool(self._keys.listed()),
            "database": self.database,
            "notes": tally.notes,
        }

    async def _named(self, damage: Damage) -> Damage:
        """With the public id of its orchestration, where something trustworthy tells it."""
        if damage.identity is None or len(damage.identity) != 16 or damage.orchestration is not None:
            return damage
        place = (damage.partition, UUID(bytes=damage.identity))
        public_id = None
        for record in await self._log.stream(*place, 0, 1):
            if record.state_hash is None and record.topic in _BEGINNINGS:
                public_id = self._begun(record)
        if public_id is None and (archived := await self._archive.get(*place)) is not None:
            public_id = archived.public_id
        if public_id is None or not self._identity.well_formed(public_id) or self._identity.locate(public_id) != place:
            return damage
        return msgspec.structs.replace(damage, orchestration=public_id)

    def _begun(self, record: StoredRecord) -> str | None:
        try:
            event = self._codec.shown(record.topic, record.state, record.blobs)
        except Exception:  # it may be what was damaged
            return None
        return event.id if isinstance(event, Beginning) else None


def _place(text: str) -> tuple[int, int]:
    found = _PLACE.match(text)
    if found is None:
        raise MalformedPositionError
    return int(found[1]), int(found[2])


def _instant(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is not None:
            return found.astimezone(UTC)
    except (ValueError, OverflowError):
        pass  # the same is said of all of them
    raise _invalid("/since", "Write latest, an RFC 3339 instant, or partition:position of a checkpoint.")


def _invalid(pointer: str, detail: str) -> InvalidInputError:
    return InvalidInputError([Problem(pointer, detail)], "The log cannot be verified as it was asked for.")
