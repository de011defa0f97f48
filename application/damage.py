"""What can be wrong with a log, and where: the findings of a verification."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from application.audit_log import LogRow

DamageKind = Literal[
    "payload_changed",
    "hash_changed",
    "event_missing",
    "event_inserted",
    "event_replaced",
    "events_swapped",
    "orchestration_missing",
    "tail_cut",
    "log_rewritten",
    "head_altered",
    "checkpoint_altered",
    "archive_changed",
    "archive_missing",
    "blob_missing",
    "blob_changed",
    "export_altered",
]


class Damage(msgspec.Struct, frozen=True, kw_only=True):
    """One finding. `until`: the last position of several, or the other one of two that were exchanged. `identity`: the
    aggregate's own id, which is not shown; `orchestration`: its public id, where something is left that tells it.
    """

    kind: DamageKind
    partition: int
    position: int
    detail: str
    until: int | None = None
    identity: bytes | None = None
    orchestration: str | None = None
    version: int | None = None
    topic: str | None = None

    def shown(self) -> dict[str, Any]:
        """The finding as clients see it."""
        return {
            "kind": self.kind,
            "partition": self.partition,
            "position": self.position,
            "until": self.until,
            "orchestration": self.orchestration,
            "version": self.version,
            "type": self.topic,
            "detail": self.detail,
        }


class Findings:
    """The findings in one partition, `items`, in the order in which they were made."""

    def __init__(self, partition: int) -> None:
        self.items: list[Damage] = []
        self._partition = partition

    def of(self, kind: DamageKind, row: LogRow, detail: str) -> None:
        """Something is wrong with this row."""
        self.at(kind, row[0], row, detail)

    def at(self, kind: DamageKind, position: int, row: LogRow | None, detail: str, until: int | None = None) -> None:
        """Something is wrong at a place; `row`: the event that it is told of, if there is one."""
        self.items.append(
            Damage(
                kind=kind,
                partition=self._partition,
                position=position,
                detail=detail,
                until=until,
                identity=None if row is None else row[1],
                version=None if row is None else row[2],
                topic=None if row is None else row[3],
            )
        )

    def tail_cut(self, first: int, last: int, witness: str) -> None:
        """Events at the end are gone. One finding, however many tell of it."""
        known = next((each for each in self.items if each.kind == "tail_cut"), None)
        if known is None:
            detail = f"the log ends at position {first - 1}, and {witness} knows of {last}"
            self.at("tail_cut", first, None, detail, until=last)
        elif known.until is not None and last > known.until:
            self.items[self.items.index(known)] = msgspec.structs.replace(known, until=last)
