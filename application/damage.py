"""What can be wrong with a log, and where: the findings of a verification."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

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
