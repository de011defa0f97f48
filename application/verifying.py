"""Verifies the log in the database: every partition's chain, the checkpoints, the partitions' heads, and the archive.

Rows are read in pages and checked in between (`PartitionCheck`), a page at a time, so that others get their turn. Writers go
on meanwhile: a partition is checked up to where one look found its end, and compared with what that same look found in its
row. Checkpoints are read before that look, so none of them can be beyond it unless something is gone.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from application.archive_check import archive_damage
from application.audit_log import AuditLog, LogHead, LogRow
from application.blob_check import BlobCheck, concerns
from application.blob_store import BlobStore
from application.chain import GENESIS
from application.checkpoint_store import CheckpointRecord, CheckpointStore, PublicKeys
from application.checkpoints import holds
from application.damage import Damage
from application.diagnosis import Mark
from application.identity import Identity
from application.operations import Progress
from application.partition_check import PartitionCheck
from application.status import instant

_PAGE: Final = 1000
_MARKS: Final = 100
_NO_END: Final = 2**62
_MOST_UNLOGGED: Final = 200
MOST_SHOWN: Final = 1000


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """What to verify. `since`: checkpoints to begin at, one for each partition; a partition without one is verified from its
    beginning, or, when `only` names partitions and it is not among them, not at all. `given`: checkpoints from outside.
    """

    since: Sequence[CheckpointRecord] = ()
    only: frozenset[int] | None = None
    given: Sequence[CheckpointRecord] = ()
    archive: bool = True


class Verifier:
    """Verifies the log of one database, named by its fingerprint."""

    def __init__(
        self,
        audit: AuditLog,
        checkpoints: CheckpointStore,
        keys: PublicKeys,
        identity: Identity,
        database: str,
        blobs: BlobStore,
    ) -> None:
        self.blobs = blobs
        self._audit = audit
        self._checkpoints = checkpoints
        self._keys = keys
        self._identity = identity
        self._database = database
        self._checks_signatures = bool(keys.listed())

    async def run(self, scope: Scope, progress: Progress) -> Tally:
        """All of it. Raises StorageError."""
        tally = Tally()
        wanted = [each for each in range(self._identity.partitions) if scope.only is None or each in scope.only]
        newest = {each.partition: each.position for each in await self._checkpoints.latest()}
        begins = {each.partition: each for each in scope.since}
        heads = {partition: await self._audit.head(partition) for partition in wanted}
        done = {each: begins[each].position if each in begins else 0 for each in wanted}
        ends = {each: 0 if (head := heads[each]) is None else head.last_position for each in wanted}
        progress.total = sum(max(0, ends[each] - done[each]) for each in wanted)
        for partition in wanted:
            given = sorted(
                (each for each in scope.given if each.partition == partition), key=lambda each: each.position
            )
            run = _Run(self, partition, heads[partition], newest.get(partition, 0), given, tally)
            await run.chain(begins.get(partition), progress)
            if scope.archive:
                async for damage in archive_damage(
                    self._audit, partition, self._identity.locate, tally.count_archived, run.blobs
                ):
                    tally.add_unless_known(damage)
            tally.partitions += 1
        return tally

    def mark(self, record: CheckpointRecord, tally: Tally, origin: str) -> Mark | None:
        """A checkpoint to compare with; None, and a finding, when its signature is not what it should be."""
        signed = holds(self._keys, self._database, record) if self._checks_signatures else None
        made_at = str(instant(record.made_at))
        if self._checks_signatures and not signed:
            why = (
                "is signed with a key that is not trusted here (RETRACE_AUDIT_TRUST)"
                if signed is None
                else "has a signature that does not hold"
            )
            detail = f"{origin} of {made_at} {why}"
            tally.findings.append(
                Damage(kind="checkpoint_altered", partition=record.partition, position=record.position, detail=detail)
            )
            return None
        tally.checkpoints += 1
        return Mark(record.position, record.log_hash, made_at, bool(signed))

    # For one partition ------------------------------------------------------------------------------------------------

    async def page(self, partition: int, after: int, until: int) -> list[LogRow]:
        return await self._audit.page(partition, after, until, _PAGE)

    async def previous(self, partition: int, row: LogRow) -> bytes | None:
        """The hash of the event before in its orchestration."""
        return GENESIS if row[2] == 1 else await self._audit.event_hash(partition, row[1], row[2] - 1)

    async def marks(self, partition: int, after: int) -> list[CheckpointRecord]:
        return await self._checkpoints.page(partition, _MARKS, (partition, after))

    async def explained(self, check: PartitionCheck) -> list[Damage]:
        """What was found, where the gaps are told apart: events of orchestrations that are still there, or whole ones."""
        findings = list(check.findings)
        cut = any(each.kind == "tail_cut" for each in findings)
        if not check.gaps and not cut:
            return findings
        unlogged = await self._audit.unlogged(check.partition, _MOST_UNLOGGED)
        return findings + list(_gaps_explained(check, unlogged, cut=cut))


class _Run:
    """The verification of one partition."""

    def __init__(
        self,
        verifier: Verifier,
        partition: int,
        head: LogHead | None,
        newest: int,
        given: list[CheckpointRecord],
        tally: Tally,
    ) -> None:
        self._verifier = verifier
        self._partition = partition
        self._head = head
        self._last = _NO_END if head is None else head.last_position
        self._newest = newest
        self._given = given
        self._tally = tally
        self.blobs = BlobCheck(verifier.blobs, partition)
        self._marked = 0
        """Up to which position checkpoints are known to the check."""

    async def chain(self, begin: CheckpointRecord | None, progress: Progress) -> None:
        check = await self._begun(begin)
        self._marked = position = check.position
        last = self._last
        coming = asyncio.ensure_future(self._verifier.page(self._partition, position, last))
        try:
            while rows := await coming:
                position = rows[-1][0]
                coming = asyncio.ensure_future(self._verifier.page(self._partition, position, last))
                await self._expect(check, position)
                await self._feed(check, rows)
                for at, identity, version, topic, content, *_ in rows:
                    if concerns(topic, content):
                        self._tally.findings += await self.blobs.findings(identity, version, at, topic, content)
                progress.advance(len(rows))
                if check.hopeless:
                    break
                await asyncio.sleep(0)
        finally:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)
        await self._end(check)

    async def _end(self, check: PartitionCheck) -> None:
        if check.hopeless:
            check.give_up()
            detail = "so much is wrong that the partition was not looked at any further"
            self._tally.notes.append(f"Partition {self._partition}, from position {check.position}: {detail}.")
        else:
            await self._expect(check, max([self._newest, *(each.position for each in self._given)]))
            check.finish(self._head or self._no_head(check))
        self._tally.events += check.checked
        self._tally.findings += await self._verifier.explained(check)

    def _no_head(self, check: PartitionCheck) -> LogHead:
        self._found("head_altered", check.position, "the partition's row is gone")
        return LogHead(check.position, check.chain or GENESIS, check.position, 0)

    async def _begun(self, begin: CheckpointRecord | None) -> PartitionCheck:
        if begin is None or begin.position > self._last:
            return PartitionCheck(self._partition)  # one beyond the end is found again there
        mark = self._verifier.mark(begin, self._tally, "the checkpoint to begin at")
        rows = await self._verifier.page(self._partition, begin.position - 1, begin.position)
        if mark is None:
            return PartitionCheck(self._partition)
        if rows and rows[0][6] != mark.log_hash:
            detail = f"the log has another hash than the checkpoint of {mark.made_at}: what is before was written anew"
            kind = "log_rewritten" if mark.signed else "checkpoint_altered"
            self._found(kind, begin.position, detail)
            return PartitionCheck(self._partition, begin.position, rows[0][6])
        if not rows:
            self._found("event_missing", begin.position, "the event at the checkpoint to begin at is not there")
        return PartitionCheck(self._partition, begin.position, mark.log_hash)

    def _found(self, kind: Any, position: int, detail: str) -> None:
        self._tally.findings.append(Damage(kind=kind, partition=self._partition, position=position, detail=detail))

    async def _expect(self, check: PartitionCheck, until: int) -> None:
        """Make the checkpoints up to this position known to the check; those that were made meanwhile do not count."""
        until = max(until, self._marked)
        while self._marked < until:
            records = await self._verifier.marks(self._partition, self._marked)
            upto = records[-1].position if len(records) == _MARKS else until
            upto = min(upto, until)
            own = [each for each in records if each.position <= min(upto, max(self._newest, self._last))]
            given = [each for each in self._given if self._marked < each.position <= upto]
            marks = []
            for each, origin in [(each, "the checkpoint") for each in own] + [
                (each, "the checkpoint given") for each in given
            ]:
                mark = self._verifier.mark(each, self._tally, origin)
                if mark is not None:
                    marks.append(mark)
                if len(marks) % 20 == 0:
                    await asyncio.sleep(0)
            check.expect(sorted(marks, key=lambda each: each.position))
            self._marked = upto

    async def _feed(self, check: PartitionCheck, rows: Sequence[LogRow]) -> None:
        index = 0
        while (index := check.feed(rows, index)) < len(rows):
            check.examine(rows[index], await self._verifier.previous(self._partition, rows[index]))
            index += 1
            if check.hopeless:
                return


class Tally:
    """What a verification found and how much it looked at."""

    def __init__(self) -> None:
        self.findings: list[Damage] = []
        self.notes: list[str] = []
        self.events = 0
        self.partitions = 0
        self.checkpoints = 0
        self.archived = 0

    def add_unless_known(self, damage: Damage) -> None:
        """The archive tells again of orchestrations that are gone from the log."""
        if damage.kind == "orchestration_missing" and any(
            each.kind == damage.kind and each.identity == damage.identity for each in self.findings
        ):
            return
        self.findings.append(damage)

    def count_archived(self) -> None:
        """One more orchestration of the archive."""
        self.archived += 1


def _gaps_explained(
    check: PartitionCheck, unlogged: Iterable[tuple[bytes, str, int, int]], *, cut: bool
) -> Iterable[Damage]:
    rows = list(unlogged)
    gone, shortened = [row for row in rows if not row[3]], [row for row in rows if row[3]]
    first = check.gaps[0][0] if check.gaps else check.position + 1
    last = check.gaps[-1][1] if check.gaps else None
    for name, public_id, version, _ in gone:
        detail = f"nothing is left of it in the log; it had {version} events at least"
        yield _missing("orchestration_missing", check, (first, last), detail, name, public_id)
    if cut and not check.gaps:
        return
    missing = sum(until - begin + 1 for begin, until in check.gaps)
    named = defaultdict(int, check.incomplete)
    for name, _, version, logged in shortened:
        named[name] += version - logged
    if gone and not named and sum(row[2] for row in gone) >= missing:
        return  # those that are gone as a whole had them all
    of = next(iter(named)) if len(named) == 1 and not gone else None
    for begin, until in check.gaps:
        if named or gone:
            detail = "the log has no event here"
            yield _missing("event_missing", check, (begin, until), detail, of, None)
        else:
            detail = (
                "the log has no event here, and nothing else tells of what was: all that was left of an orchestration"
            )
            yield _missing("orchestration_missing", check, (begin, until), detail, None, None)


def _missing(
    kind: Any,
    check: PartitionCheck,
    positions: tuple[int, int | None],
    detail: str,
    identity: bytes | None,
    public_id: str | None,
) -> Damage:
    begin, until = positions
    return Damage(
        kind=kind,
        partition=check.partition,
        position=begin,
        until=until if until != begin else None,
        detail=detail,
        identity=identity,
        orchestration=public_id,
    )
