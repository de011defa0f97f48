"""Verifies an exported log without a database and without a server.

Everything is computed again from the stored bytes: the readable members of each line, the own id of each orchestration (from
its public id and the header's `place_key`), the hashes, and in a complete export the chain of each partition, which is
compared with the checkpoints in the file and with those that were kept elsewhere. An export with filters has no chain: each
of its events is bound to the one before it in its orchestration, and no more.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import groupby, islice
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec

from application.audit_log import LogHead, LogRow
from application.chain import GENESIS, event_hash
from application.checkpoint_store import CheckpointRecord, PublicKeys
from application.checkpoints import fingerprint, holds, read
from application.damage import Damage
from application.diagnosis import Mark
from application.history import event_json
from application.identity import place_of
from application.journal import Codec
from application.large_values import Contents, named, references
from application.partition_check import PartitionCheck
from application.status import instant

Json = dict[str, Any]
FORMAT: Final = 1
_PAGE: Final = 500
_OWN: Final = "the checkpoint"
_APART: Final = timedelta(seconds=5)
"""How much later than it says an export may have looked where the log ended, by clocks that differ."""
_OURS: Final = frozenset(
    (
        "kind",
        "partition",
        "position",
        "orchestration",
        "version",
        "type",
        "stored",
        "hash",
        "log_hash",
        "previous",
        "blobs",
    )
)


_Number = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]


class NotAnExportError(ValueError):
    """The file is not an export that this version can read; the text says why."""


class _Header(msgspec.Struct):
    format: int
    database: str
    place_key: bytes
    partitions: int
    exported_at: datetime
    complete: bool


class _Blob(msgspec.Struct):
    """What an event refers to; it stands with the first that does so."""

    digest: str
    content: bytes


class _Line(msgspec.Struct):
    """The members of an event's line that the verification needs."""

    partition: Annotated[int, msgspec.Meta(ge=0, lt=2**16)]
    position: _Number
    orchestration: str
    version: _Number
    type: str
    stored: bytes
    hash: str
    log_hash: str
    previous: str
    blobs: list[_Blob] = []


class _Event(msgspec.Struct):
    """One event, as it was understood."""

    line: _Line
    row: LogRow
    previous: bytes
    members: Json


class ExportCheck:
    """The verification of one file. `trailer`: its lines that are no events; `given`: checkpoints from elsewhere;
    `trusted`: public keys, none for those that the file itself brings.
    """

    def __init__(
        self,
        header: Json,
        trailer: Iterable[Json],
        codec: Codec,
        trusted: PublicKeys,
        given: Sequence[Json] = (),
    ) -> None:
        self.findings: list[Damage] = []
        self.notes: list[str] = []
        self.events = 0
        self._partitions = 0
        self._codec = codec
        self._keys = trusted
        self._header = _read_header(header)
        self._checkpoints = 0
        self._names: dict[bytes, str] = {}
        self._seen: set[int] = set()
        self._brought: set[tuple[bytes, bytes]] = set()
        """(orchestration, digest) of contents that the file has, or was told to lack."""
        self._bare: set[str] = set()
        """Hashes of the last events known of orchestrations whose bytes are lost."""
        self._places: dict[str, tuple[int, UUID]] = {}
        self._end: Json | None = None
        self._marks = self._marked(list(trailer), given)
        if self._header.database != fingerprint(self._header.place_key):
            self._find("export_altered", 0, 0, "the header's fingerprint is not that of its place_key")

    def run(self, lines: Iterable[Json]) -> Iterator[int]:
        """Check the lines of events, in their order; gives how many were checked, now and then."""
        check = self._partition if self._header.complete else self._single
        for partition, group in groupby(map(self._event, lines), key=lambda each: each.line.partition):
            yield from check(partition, group)
            self._partitions += 1
        missed = {mark for mark in self._marks if mark not in self._seen}
        for partition in sorted(missed):
            mark = self._marks[partition][-1]
            detail = f"the export has no event of this partition, and the checkpoint of {mark.made_at} knows of some"
            self._find("tail_cut", partition, 1, detail, until=mark.position)
        self._check_end()

    def result(self) -> Json:
        """The same as that of a verification in the service."""
        findings = sorted(self.findings, key=lambda each: (each.partition, each.position))
        return {
            "sound": not findings,
            "findings": [each.shown() for each in findings[:1000]],
            "findings_total": len(findings),
            "events": self.events,
            "partitions": self._partitions,
            "archived": 0,
            "checkpoints": self._checkpoints,
            "signatures_checked": bool(self._keys.listed()),
            "database": self._header.database,
            "notes": self.notes,
        }

    # Lines ------------------------------------------------------------------------------------------------------------

    def _event(self, members: Json) -> _Event:
        try:
            line = msgspec.convert(members, _Line)
            hashes = [bytes.fromhex(each) for each in (line.hash, line.log_hash, line.previous)]
        except (msgspec.ValidationError, ValueError) as error:
            raise NotAnExportError(f"a line is not that of an event: {error}") from None
        partition, identity = self._place(line.orchestration)
        if partition != line.partition and (line.orchestration or line.stored):
            self._of(line, "export_altered", "its orchestration belongs to another partition")
        row = (line.position, identity.bytes, line.version, line.type, line.stored, hashes[0], hashes[1], None)
        self.events += 1
        return _Event(line, row, hashes[2], members)

    def _place(self, public_id: str) -> tuple[int, UUID]:
        found = self._places.get(public_id)
        if found is None:
            if len(self._places) >= 20_000:
                self._places.clear()
            found = self._places[public_id] = place_of(self._header.place_key, self._header.partitions, public_id)
        return found

    def _readable(self, event: _Event) -> None:
        """Whether what people read is what was stored."""
        line = event.line
        contents = self._contents(event)
        try:
            stored = self._codec.shown(line.type, line.stored, contents)
            told: Json = msgspec.json.decode(msgspec.json.encode(event_json(stored, line.version)))
        except Exception as error:  # whatever a codec makes of bytes that are none of its own
            self._of(line, "export_altered", f"the stored bytes cannot be read ({type(error).__name__})")
            return
        wrong = [name for name, value in told.items() if event.members.get(name) != value]
        wrong += [name for name in event.members if name not in told and name not in _OURS]
        if wrong:
            self._of(line, "export_altered", f"the stored bytes say something else than {', '.join(sorted(wrong))}")
        elif line.version == 1 and getattr(stored, "id", line.orchestration) != line.orchestration:
            self._of(line, "export_altered", "the stored bytes name another orchestration")

    def _contents(self, event: _Event) -> Contents:
        """What the line brings, where it is what it should be."""
        found = Contents()
        for each in event.line.blobs:
            digest = sha256(each.content).digest()
            found[digest] = each.content
            if named(digest) != each.digest:
                self._of(event.line, "blob_changed", f"the content {each.digest} that it refers to is not what it was")
                digest = bytes.fromhex(each.digest.removeprefix("sha256:")[:64]) if _is_digest(each.digest) else digest
            self._brought.add((event.row[1], digest))
        try:
            wanted = references(event.line.stored)
        except (ValueError, IndexError, msgspec.MsgspecError):
            return found  # it cannot be read, which is told too
        for reference in wanted:
            if (event.row[1], reference.digest) not in self._brought:
                self._brought.add((event.row[1], reference.digest))
                detail = f"the content {named(reference.digest)} that it refers to is not in the export"
                self._of(event.line, "blob_missing", detail)
        return found

    # Chains -----------------------------------------------------------------------------------------------------------

    def _partition(self, partition: int, events: Iterator[_Event]) -> Iterator[int]:
        """A whole partition, in the order of its positions."""
        self._seen |= {partition}
        check = PartitionCheck(partition)
        marks = self._marks.get(partition, [])
        check.expect(marks)
        rows: list[LogRow] = []
        while page := list(islice(events, _PAGE)):
            rows = [each.row for each in page]
            index = 0
            while (index := check.feed(rows, index)) < len(rows):
                self._names |= {each.row[1]: each.line.orchestration for each in page[max(0, index - 1) : index + 1]}
                if not page[index].line.stored and check.pass_over(rows[index]):
                    self._gone(page[index].line)
                elif rows[index][0] > check.position:
                    check.examine(rows[index], _before(page[index]))
                else:
                    self._of(page[index].line, "export_altered", "the line stands at the wrong place")
                index += 1
            for each in page:
                if each.line.stored:
                    self._readable(each)
            yield len(page)
        end = check.position
        check.finish(LogHead(end, check.chain or rows[-1][6], end, 0))
        self._tell(check)

    def _tell(self, check: PartitionCheck) -> None:
        for first, last in check.gaps:
            until = last if last != first else None
            self._find("event_missing", check.partition, first, "the export has no event here", until=until)
        for each in check.findings:
            name = self._names.get(each.identity or b"")
            self.findings.append(msgspec.structs.replace(each, orchestration=name))
        self._names.clear()

    def _gone(self, line: _Line) -> None:
        """The bytes of an event were lost before the export; told once of events that follow each other."""
        if line.previous in self._bare:
            self._bare.remove(line.previous)
        else:
            self._of(line, "archive_missing", "the bytes of its events were neither in the log nor in the archive")
        self._bare.add(line.hash)

    def _single(self, partition: int, events: Iterator[_Event]) -> Iterator[int]:
        """Events that are not all: each by itself."""
        for each in events:
            line = each.line
            identity = UUID(bytes=each.row[1])
            place = (line.partition, line.position, identity, line.version, line.type)
            if not line.stored:
                self._gone(line)
            elif event_hash(each.previous, *place, line.stored).hex() != line.hash:
                self._of(line, "payload_changed", "the event is not the one that its hash was made of")
            else:
                self._readable(each)
            yield 1

    # Checkpoints ------------------------------------------------------------------------------------------------------

    def _marked(self, trailer: Sequence[Json], given: Sequence[Json]) -> dict[int, list[Mark]]:
        """Checkpoints by partition. Those of the file were there when the export began; others that are younger do not
        count.
        """
        marks: dict[int, list[Mark]] = {}
        younger = 0
        self._end = next((each for each in trailer if each.get("kind") == "end"), None)
        own = [each for each in trailer if each.get("kind") == "checkpoint"]
        for each, origin in [(each, _OWN) for each in own] + [(each, "the checkpoint given") for each in given]:
            try:
                database, record = read({name: value for name, value in each.items() if name != "kind"})
            except ValueError as error:
                raise NotAnExportError(str(error)) from None
            if database != self._header.database:
                self._find("checkpoint_altered", record.partition, record.position, f"{origin} is of another database")
            elif origin == _OWN or self._header.exported_at - record.made_at >= _APART:
                self._add(marks, record, origin)
            else:
                younger += 1
        for listed in marks.values():
            listed.sort(key=lambda each: each.position)
        if not self._header.complete:
            self.notes.append(
                "The export has filters: each event was checked by itself, and nothing tells what is missing."
            )
            return {}
        if not self._keys.listed():
            self.notes.append("There is no key: signatures were not checked. Give the service's public key with --key.")
        if younger:
            self.notes.append(
                f"{younger} of the checkpoints given are younger than the export says that it is "
                f"({instant(self._header.exported_at)}), and were not looked at. That instant is not signed: if you know "
                "that it is wrong, the file was altered."
            )
        if not marks:
            self.notes.append(
                "There are no checkpoints: what was cut off, or written anew as a whole, cannot be found."
            )
        return marks

    def _add(self, marks: dict[int, list[Mark]], record: CheckpointRecord, origin: str) -> None:
        signed = holds(self._keys, self._header.database, record) if self._keys.listed() else None
        made_at = str(instant(record.made_at))
        if self._keys.listed() and not signed:
            why = "is signed with a key that was not given" if signed is None else "has a signature that does not hold"
            self._find("checkpoint_altered", record.partition, record.position, f"{origin} of {made_at} {why}")
            return
        self._checkpoints += 1
        marks.setdefault(record.partition, []).append(Mark(record.position, record.log_hash, made_at, bool(signed)))

    def _check_end(self) -> None:
        if self._end is None:
            self._find("export_altered", 0, 0, "the file is cut off: its last line is missing")
        elif self._end.get("events") != self.events:
            detail = f"the file says that it has {self._end.get('events')} events, and has {self.events}"
            self._find("export_altered", 0, 0, detail)

    def _of(self, line: _Line, kind: Any, detail: str) -> None:
        self.findings.append(
            Damage(
                kind=kind,
                partition=line.partition,
                position=line.position,
                orchestration=line.orchestration,
                version=line.version,
                topic=line.type,
                detail=detail,
            )
        )

    def _find(self, kind: Any, partition: int, position: int, detail: str, until: int | None = None) -> None:
        self.findings.append(Damage(kind=kind, partition=partition, position=position, detail=detail, until=until))


def _is_digest(text: str) -> bool:
    return re.fullmatch(r"sha256:[0-9a-f]{64}", text) is not None


def _read_header(header: Mapping[str, Any]) -> _Header:
    if header.get("kind") != "header":
        raise NotAnExportError("the first line is not the header of an export")
    try:
        found = msgspec.convert(header, _Header)
    except msgspec.ValidationError as error:
        raise NotAnExportError(f"the header cannot be read: {error}") from None
    if found.format != FORMAT:
        raise NotAnExportError(f"exports of format {found.format} cannot be read by this version")
    if found.exported_at.tzinfo is None or found.partitions < 1:
        raise NotAnExportError("the header cannot be read")
    try:
        return msgspec.structs.replace(found, exported_at=found.exported_at.astimezone(UTC))
    except OverflowError:
        raise NotAnExportError("the header has an instant that does not exist") from None


def _before(event: _Event) -> bytes | None:
    """The hash before an event in its orchestration, if the file knows it."""
    if event.line.version == 1:
        return GENESIS
    return event.previous if event.previous != GENESIS else None
