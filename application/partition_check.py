"""Checks the log of one partition, row by row, in one pass (application/chain.py).

`feed` is the fast way: as long as every row is what the chain says, it does nothing but hash. It stops at the first row that
is not, or whose orchestration it does not remember, and `examine` looks at that one with care (application/diagnosis.py), so
that one change of the log gives one finding and the pass goes on behind it.

What is remembered is one hash for each orchestration that has not ended; of one that has, the hash is looked up again in the
rare case that something was recorded after its end. So memory is bounded by what is unfinished, not by the log.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from itertools import islice
from typing import Final

from application.audit_log import LogHead, LogRow
from application.chain import GENESIS, PLACE
from application.damage import Damage
from application.diagnosis import Diagnosis, Mark
from domain.lifecycle import ORCHESTRATION_FINAL

FINAL_TOPICS: Final = frozenset(f"orchestration.{status}" for status in ORCHESTRATION_FINAL)
MOST_FINDINGS: Final = 200
"""In one partition; a log with more is not worth a longer list."""


class _Encoded(dict[str, bytes]):
    def __missing__(self, topic: str) -> bytes:
        self[topic] = found = topic.encode()
        return found


class PartitionCheck:
    """The check of one partition, from `position` on, where the log hash was `chain`."""

    def __init__(self, partition: int, position: int = 0, chain: bytes = GENESIS) -> None:
        self.partition = partition
        self.checked = 0
        self._topics = _Encoded()
        self._diagnosis = Diagnosis(partition, position, chain)
        self._marks: list[Mark] = []
        self._next_mark = 0
        self.marks_met = 0

    def expect(self, marks: Sequence[Mark]) -> None:
        """Checkpoints to compare with, in order of position, behind those that are known and the rows that were seen."""
        del self._marks[: self._next_mark]
        self._next_mark = 0
        self._marks += marks

    @property
    def findings(self) -> list[Damage]:
        """What was found; complete after `finish`."""
        return self._diagnosis.findings.items

    @property
    def position(self) -> int:
        """Of the last row seen."""
        return self._diagnosis.position

    @property
    def chain(self) -> bytes | None:
        """The log hash of the last row seen, as far as it can be told."""
        return self._diagnosis.chain

    @property
    def gaps(self) -> list[tuple[int, int]]:
        """Runs of positions that have no event."""
        return self._diagnosis.gaps

    @property
    def incomplete(self) -> dict[bytes, int]:
        """Orchestrations that lack events before others of theirs, with how many."""
        return self._diagnosis.incomplete

    @property
    def hopeless(self) -> bool:
        """Whether so much was found that there is no use in going on."""
        return len(self.findings) + len(self._diagnosis.broken) >= MOST_FINDINGS

    def feed(self, rows: Sequence[LogRow], start: int = 0) -> int:
        """Check rows from index `start` on; gives the index of the first that needs `examine`, or their number."""
        state = self._diagnosis
        if state.chain is None or state.uneasy:
            return start
        chain, position, shift, last = state.chain, state.position, state.shift, state.last
        partition, topics = self.partition, self._topics
        stop = self._stop(position)
        index = start
        for at, identity, version, topic, content, event_hash, log_hash, state_hash in islice(rows, start, None):
            known = last.get(identity)
            if known is None:
                if version != 1 or len(identity) != 16:
                    break
                previous = GENESIS
            elif known[0] + 1 == version:
                previous = known[1]
            else:
                break
            if state_hash is None:
                digest = sha256(content).digest()
            elif content:
                break
            else:
                digest = state_hash
            place = PLACE(partition, at - shift, identity, version)
            wanted = sha256(previous + place + topics[topic] + digest).digest()
            linked = sha256(chain + wanted).digest()
            if linked != log_hash or wanted != event_hash or at != position + 1:
                break
            position, chain = at, linked
            if topic in FINAL_TOPICS:
                last.pop(identity, None)
            else:
                last[identity] = (version, wanted)
            index += 1
            if at == stop:
                state.chain, state.position = chain, position
                self._compare()
                stop = self._stop(at)
        self.checked += index - start
        state.chain, state.position = chain, position
        if index > start:
            state.before = rows[index - 1]
        return index

    def examine(self, row: LogRow, previous: bytes | None) -> None:
        """Look at one row with care. `previous`: the hash of its orchestration's event before, as the log has it wherever it
        stands; None when it is not there.
        """
        self.checked += 1
        self._diagnosis.examine(row, previous)
        if row[0] == self._stop(row[0] - 1):
            self._compare()

    def pass_over(self, row: LogRow) -> bool:
        """Take a row whose bytes cannot be had, if it is linked as it should be; no more can be told of it."""
        state, at = self._diagnosis, row[0]
        if state.chain is None or state.uneasy or state.shift or at != state.position + 1:
            return False
        if sha256(state.chain + row[5]).digest() != row[6]:
            return False
        self.checked += 1
        state.chain, state.position, state.before = row[6], at, row
        state.last[row[1]] = (row[2], row[5])
        if at == self._stop(at - 1):
            self._compare()
        return True

    def finish(self, head: LogHead) -> None:
        """The end of the log, and what the partition's own row says of it. Without such a row it is what the log says."""
        self._diagnosis.finish(head)
        beyond = [mark for mark in self._marks[self._next_mark :] if mark.position > self.position]
        if beyond and not self.hopeless:
            self._diagnosis.findings.tail_cut(
                self.position + 1, beyond[-1].position, f"a checkpoint of {beyond[-1].made_at}"
            )
        if head.projected > self.position:
            self._diagnosis.findings.tail_cut(self.position + 1, head.projected, "the status view")

    def give_up(self) -> None:
        """The end of the check where it is hopeless."""
        self._diagnosis.give_up()

    def _stop(self, position: int) -> int:
        """The position of the next checkpoint after this one; 0 when there is none."""
        while self._next_mark < len(self._marks) and self._marks[self._next_mark].position <= position:
            self._next_mark += 1
        return self._marks[self._next_mark].position if self._next_mark < len(self._marks) else 0

    def _compare(self) -> None:
        for mark in self._marks[self._next_mark :]:
            if mark.position != self.position:
                return
            self.marks_met += 1
            self._diagnosis.compare(mark)
