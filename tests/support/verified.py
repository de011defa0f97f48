"""Verification of what a test has stored, without a service."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from application.audit_log import LogHead, LogRow
from application.chain import GENESIS
from application.partition_check import PartitionCheck
from application.storage import Head, StoredRecord
from tests.simulation.memory_audit import row_of


def check_rows(partition: int, rows: list[LogRow], head: LogHead, marks: Iterable[Any] = ()) -> PartitionCheck:
    """The check of a whole partition, with its end."""
    check = PartitionCheck(partition)
    check.expect(list(marks))
    hashes = {(row[1], row[2]): row[5] for row in rows}
    index = 0
    while (index := check.feed(rows, index)) < len(rows):
        row = rows[index]
        check.examine(row, GENESIS if row[2] == 1 else hashes.get((row[1], row[2] - 1)))
        index += 1
    check.finish(head)
    return check


def breaks(head: Head, records: list[StoredRecord]) -> list[tuple[str, int]]:
    """(kind, position) of everything that is wrong with a partition's log."""
    last = records[-1].position if records else 0
    check = check_rows(
        head.partition, [row_of(each) for each in records], LogHead(head.position, head.log_hash, last, 0)
    )
    return [(each.kind, each.position) for each in check.findings] + [("gap", first) for first, _ in check.gaps]
