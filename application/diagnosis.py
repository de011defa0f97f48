"""Tells what happened to rows of a log that are not what the chain says.

A row has two hashes. The event hash binds its content, its place and the event before it in its orchestration; the log hash
binds the event hash to the row before. From which of them holds, and with which neighbour, follows what was changed:

- only the event hash does not hold, and the log hash fits the stored one: the content was changed;
- the log hash fits the event hash that the content gives: the stored event hash was changed;
- only the log hash does not hold: the next row tells whether it was changed, or the event together with its hash;
- neither holds: another event stands here. Two of those that fit each other's places were exchanged; one that fits a place
  nearby, like all that follow it, was moved because something before it was inserted or removed.

After a row that tells nothing of the chain, the next one is taken as it is: one change gives one finding.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from itertools import combinations
from typing import Final

import msgspec

from application.audit_log import LogHead, LogRow
from application.chain import PLACE
from application.damage import Damage, DamageKind, Findings

_FAR: Final = 8
"""How many places a row may have been moved to be recognised."""


class Mark(msgspec.Struct, frozen=True):
    """A checkpoint to compare with. `signed`: its signature was checked, and holds."""

    position: int
    log_hash: bytes
    made_at: str
    signed: bool


class Broken(msgspec.Struct):
    """A row whose event hash does not hold, until the end tells why. `moved`: by how many places it was, if it fits one."""

    row: LogRow
    previous: list[bytes]
    kind: DamageKind
    detail: str
    moved: int | None = None


class Diagnosis:
    """What is known of a partition at a row, and what was found so far."""

    def __init__(self, partition: int, position: int, chain: bytes) -> None:
        self.partition = partition
        self.position = position
        self.chain: bytes | None = chain
        """The log hash of the last row; None when the next has to be taken as it is."""
        self.shift = 0
        """By how much positions are larger than they were when the hashes were made."""
        self.last: dict[bytes, tuple[int, bytes]] = {}
        self.findings = Findings(partition)
        self.broken: list[Broken] = []
        self.gaps: list[tuple[int, int]] = []
        self.incomplete: dict[bytes, int] = {}
        self.before: LogRow | None = None
        """The row before, where it is at hand."""
        self._lacking: list[LogRow] = []
        self._tainted: dict[bytes, tuple[LogRow, Damage] | None] = {}
        """Orchestrations whose next event cannot be checked, since the one before is not what it was, or may not be: then
        with that one, and the finding that names it among others.
        """
        self._unlinked: tuple[LogRow, bytes, LogRow | None] | None = None
        """A row of which only the log hash does not hold, the one that would, and the row before it."""
        self._before_foreign: tuple[bytes, LogRow | None] | None = None
        """After a row of which nothing holds: the log hash before it, and the row that has it."""
        self._agreed = position
        self._rewritten = False

    @property
    def uneasy(self) -> bool:
        """Whether the next row has to be examined whatever it looks like."""
        return self._unlinked is not None or self._before_foreign is not None

    # One row ----------------------------------------------------------------------------------------------------------

    def examine(self, row: LogRow, previous: bytes | None) -> None:
        """`previous`: the hash of the event before it in its orchestration, as the log has it; None when it is not there."""
        at, identity, version = row[0], row[1], row[2]
        if at > self.position + 1:
            self._gap(self.position + 1, at - 1)
        if self._unlinked is not None:
            linked = self._settle_link(row)
        else:
            linked = self.chain is None or _link(self.chain, row[5]) == row[6]
        known = self.last.get(identity)
        candidates = [known[1]] if known is not None and known[0] == version - 1 else []
        if previous is not None and previous not in candidates:
            candidates.append(previous)
        if version > 1 and previous is None:
            self.incomplete[identity] = self.incomplete.get(identity, 0) + version - 1 - (known[0] if known else 0)
            self._lacking.append(row)
        wanted = [self._hash(row, each, at - self.shift) for each in candidates]
        good = row[5] in wanted and not (row[4] and row[7] is not None) and len(identity) == 16
        unknown = not candidates or identity in self._tainted
        suspect = self._tainted.pop(identity, None)
        if suspect is not None:
            self._clear_up(*suspect, innocent=good)
        self.last[identity] = (version, row[5])
        self._judge(row, candidates, wanted, good=good, unknown=unknown, linked=linked)
        self.position, self.before = at, row

    def _judge(
        self, row: LogRow, candidates: list[bytes], wanted: list[bytes], *, good: bool, unknown: bool, linked: bool
    ) -> None:
        chain, log_hash = self.chain, row[6]
        foreign, self._before_foreign = self._before_foreign, None
        if foreign is not None:
            self._settle_foreign(*foreign, lambda hash_: _link(hash_, row[5]) == log_hash)
        if good:
            self._link_of(row, linked=linked)
        elif (moved := self._moved(row, candidates)) is not None:
            self._displaced(row, candidates, moved)
        elif unknown:
            self._link_of(row, linked=linked)
        elif linked and chain is not None:
            self._break(row, candidates, "payload_changed", "the event is not the one that its hash was made of")
            self.chain = log_hash
        elif chain is not None and any(_link(chain, each) == log_hash for each in wanted):
            right = next(each for each in wanted if _link(chain, each) == log_hash)
            self.findings.of(
                "hash_changed", row, "the event's hash was changed; the event itself is what the chain says"
            )
            self.last[row[1]] = (row[2], right)
            self.chain = log_hash
        else:
            self._foreign(row, candidates)

    def _link_of(self, row: LogRow, *, linked: bool) -> None:
        """The event holds; does its link?"""
        if linked:
            self.chain = row[6]
        else:
            assert self.chain is not None
            self._unlinked = (row, _link(self.chain, row[5]), self.before)
            self.chain = row[6]

    def _settle_link(self, row: LogRow | None) -> bool:
        """What the row before was, now that the next one, or the head, says which log hash it had. Gives whether this row
        links to it.
        """
        assert self._unlinked is not None
        (unlinked, right, before), self._unlinked = self._unlinked, None
        if row is not None and _link(unlinked[6], row[5]) == row[6]:
            self._suspect(unlinked, before)
            return True
        self.findings.of("hash_changed", unlinked, "the log's hash was changed at this event")
        return row is None or _link(right, row[5]) == row[6]

    def _suspect(self, unlinked: LogRow, before: LogRow | None) -> None:
        """Either the event was changed and its hash with it, or the one before and both its hashes; what comes next in
        their orchestrations tells which.
        """
        if before is None:
            self.findings.of("payload_changed", unlinked, _WITH_HASH)
            self._tainted[unlinked[1]] = None
            return
        detail = f"one of the events at {before[0]} and {unlinked[0]} was changed, and its hashes with it"
        self.findings.at("payload_changed", before[0], None, detail, until=unlinked[0])
        finding = self.findings.items[-1]
        self._tainted[before[1]] = (before, finding)
        self._tainted[unlinked[1]] = (unlinked, finding)

    def _clear_up(self, suspect: LogRow, finding: Damage, *, innocent: bool) -> None:
        """The next event of a suspect's orchestration follows it, or does not."""
        others = [each for each in self._tainted.values() if each is not None and each[1] is finding]
        guilty = others[0][0] if innocent and others else None if innocent else suspect
        if guilty is not None and finding in self.findings.items:
            self.findings.items.remove(finding)
            self.findings.of("payload_changed", guilty, _WITH_HASH)
            if innocent:
                self._tainted[guilty[1]] = None
        if not innocent:
            for identity in [each[0][1] for each in others]:
                del self._tainted[identity]

    def _foreign(self, row: LogRow, candidates: list[bytes]) -> None:
        """Nothing holds: neither this event nor its link was ever made here."""
        if self.chain is None:
            self._break(row, candidates, "payload_changed", "the event is not the one that its hash was made of")
            self.chain = row[6]
            return
        self._break(row, candidates, "event_replaced", "another event stands here than the one that was recorded")
        self._before_foreign = (self.chain, self.before)
        self.chain = None
        self._tainted[row[1]] = None

    def _break(self, row: LogRow, candidates: list[bytes], kind: DamageKind, detail: str) -> None:
        self.broken.append(Broken(row, candidates, kind, detail))

    def _settle_foreign(self, chain: bytes, before: LogRow | None, follows: Callable[[bytes], bool]) -> None:
        """What a row was of which nothing held, now that the next one, or the head, says which log hash it follows."""
        broken = self.broken[-1]
        if follows(chain):
            broken.kind, broken.detail = "event_inserted", "the chain goes on as if this event were not here"
        elif follows(broken.row[6]) and before is not None:
            # The chain goes on from this row, so it stands where it always did, and what is before it does not.
            self.broken.pop()
            if before[1] == broken.row[1]:
                self.findings.of("payload_changed", before, _WITH_HASH)
            else:
                detail = f"one of the events at {before[0]} and {broken.row[0]} was changed, and hashes with it"
                self.findings.at("payload_changed", before[0], None, detail, until=broken.row[0])

    def _settle_foreign_end(self, chain: bytes, before: LogRow | None, head: LogHead) -> None:
        """The same at the end, where the head may have been set by whoever made the row."""
        broken = self.broken[-1]
        if head.log_hash == chain:
            broken.kind, broken.detail = "event_inserted", "the partition's head is as if this event were not here"
        elif head.log_hash == broken.row[6] and before is not None:
            self.broken.pop()
            detail = f"one of the events at {before[0]} and {broken.row[0]} is not the one that was recorded"
            self.findings.at("event_replaced", before[0], broken.row, detail, until=broken.row[0])

    # Rows at other places ---------------------------------------------------------------------------------------------

    def _hash(self, row: LogRow, previous: bytes, position: int, content: LogRow | None = None) -> bytes:
        topic, state, state_hash = (content or row)[3], (content or row)[4], (content or row)[7]
        digest = sha256(state).digest() if state_hash is None else state_hash
        place = PLACE(self.partition, max(position, 0), row[1], row[2])
        return sha256(previous + place + topic.encode() + digest).digest()

    def _moved(self, row: LogRow, candidates: list[bytes]) -> int | None:
        """By how many places the row was moved, if that explains its hash."""
        for distance in range(1, _FAR + 1):
            for moved in (self.shift + distance, self.shift - distance):
                if any(self._hash(row, each, row[0] - moved) == row[5] for each in candidates):
                    return moved
        return None

    def _displaced(self, row: LogRow, candidates: list[bytes], moved: int) -> None:
        """The second row in a row that was moved by as much: all that follow were."""
        first = self.broken[-1] if self.broken else None
        if first is not None and first.moved == moved and first.row[0] == row[0] - 1:
            self.broken.pop()
            self._shifted(first.row, moved)
            self.chain = row[6]
        else:
            self.broken.append(Broken(row, candidates, "event_missing", "", moved))
            self.chain = None

    def _shifted(self, first: LogRow, moved: int) -> None:
        """Everything from `first` on stands `moved` places further than it was recorded at."""
        by, self.shift = moved - self.shift, moved
        if by > 0:
            begins = first[0] - by
            inserted = [each for each in self.broken if begins <= each.row[0] < first[0]]
            self.broken = [each for each in self.broken if each not in inserted]
            of = inserted[0].row if inserted else None
            detail = f"{by} event(s) were inserted here, and what follows was moved up"
            self.findings.at("event_inserted", begins, of, detail, until=first[0] - 1 if by > 1 else None)
        else:
            detail = f"{-by} event(s) were removed here, and what follows was moved down"
            self.findings.at("event_missing", first[0], None, detail)

    # The end ----------------------------------------------------------------------------------------------------------

    def finish(self, head: LogHead) -> None:
        """Nothing follows. Settles what is open, and compares with the row of the partition."""
        if self._unlinked is not None:
            self._settle_last(head)
        if self._before_foreign is not None and self.position == head.position:
            self._settle_foreign_end(*self._before_foreign, head)
        self._pair()
        while (alone := next((each for each in self.broken if each.moved is not None), None)) is not None:
            self.broken.remove(alone)
            self._shifted(alone.row, alone.moved or 0)
        self._compare_head(head)
        for each in self.broken:
            if each.row[0] > head.position:
                self.findings.of(
                    "event_inserted", each.row, "it stands beyond the partition's head, and does not fit the chain"
                )
            else:
                self.findings.of(each.kind, each.row, each.detail)
        self.broken = []
        if not self.gaps:
            for row in self._lacking:
                self.findings.of("event_missing", row, "the event before it in its orchestration is nowhere in the log")
        self.findings.items.sort(key=lambda each: each.position)

    def give_up(self) -> None:
        """There is no use in going on; what was found so far is told."""
        self._pair()
        for each in self.broken:
            self.findings.of(each.kind, each.row, each.detail or "it stands at another place than it was recorded at")
        self.broken = []
        self.findings.items.sort(key=lambda each: each.position)

    def _settle_last(self, head: LogHead) -> None:
        assert self._unlinked is not None
        (unlinked, right, before), self._unlinked = self._unlinked, None
        if unlinked[0] > head.position:
            self.broken.append(Broken(unlinked, [], "event_inserted", ""))
        elif head.position == self.position and head.log_hash == unlinked[6]:
            self._suspect(unlinked, before)
        else:
            self.findings.of("hash_changed", unlinked, "the log's hash was changed at this event")
            self.chain = right

    def _compare_head(self, head: LogHead) -> None:
        if head.position + self.shift == self.position and head.log_hash == self.chain:
            return
        if head.position > self.position:
            if head.log_hash == self.chain:
                self.findings.at(
                    "head_altered", self.position, None, f"the partition's row says position {head.position}"
                )
            else:
                self.findings.tail_cut(self.position + 1, head.position, "the partition's row")
        elif head.position < self.position:
            if not any(each.row[0] > head.position for each in self.broken):
                until = self.position if self.position > head.position + 1 else None
                seen = head.projected > head.position
                kind: DamageKind = "head_altered" if seen else "event_inserted"
                detail = f"the partition's row says that the log ends at position {head.position}, and the log goes on"
                self.findings.at(kind, head.position if seen else head.position + 1, None, detail, until=until)
        elif self.chain is not None and head.log_hash != self.chain and not self._ends_broken():
            self.findings.at(
                "head_altered", self.position, None, "the partition's row has another hash than the log's end"
            )

    def _ends_broken(self) -> bool:
        return bool(self.broken) and self.broken[-1].row[0] == self.position

    def _pair(self) -> None:
        """Find those that were exchanged with each other."""
        paired: set[int] = set()
        for (i, one), (j, other) in combinations(enumerate(self.broken), 2):
            if i in paired or j in paired:
                continue
            if self._fits(one, other) and self._fits(other, one):
                paired |= {i, j}
                first, second = one.row, other.row
                detail = f"the events at the positions {first[0]} and {second[0]} were exchanged"
                self.findings.at("events_swapped", first[0], first, detail, until=second[0])
        self.broken = [each for index, each in enumerate(self.broken) if index not in paired]

    def _fits(self, one: Broken, other: Broken) -> bool:
        """Whether the row belongs to the other's place, or the other's content to this row."""
        return any(
            one.row[5] in {self._hash(one.row, each, other.row[0]), self._hash(one.row, each, one.row[0], other.row)}
            for each in one.previous
        )

    # Findings ---------------------------------------------------------------------------------------------------------

    def compare(self, mark: Mark) -> None:
        """The log hash at a checkpoint's position, which is that of the last row."""
        if self.chain is None or mark.position != self.position:
            return
        if mark.log_hash == self.chain or (self._unlinked is not None and mark.log_hash == self._unlinked[1]):
            self._agreed, self._rewritten = mark.position, False
        elif not mark.signed:
            self.findings.at("checkpoint_altered", mark.position, None, _UNSIGNED.format(mark.made_at))
        elif not self._rewritten:
            self._rewritten = True
            detail = (
                f"the checkpoint of {mark.made_at} has another hash: what lies between was written anew, "
                f"with hashes that fit each other"
            )
            self.findings.at("log_rewritten", self._agreed + 1, None, detail, until=mark.position)

    def _gap(self, first: int, last: int) -> None:
        if self._unlinked is not None:
            self._settle_link(None)
        self.gaps.append((first, last))
        self.chain = None
        self._before_foreign = None


_WITH_HASH: Final = "the event was changed, and its hashes with it"
_UNSIGNED: Final = (
    "the checkpoint of {} has another hash than the log; without its key nobody can tell which of them was changed"
)


def _link(previous: bytes, event: bytes) -> bytes:
    return sha256(previous + event).digest()
