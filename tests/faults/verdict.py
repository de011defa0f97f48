"""What must hold after a fault test, when everything has calmed down: over the database, the ledger and the clients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

from tests.faults.ledger import KINDS, Ledger
from tests.support.soundness import (
    decision_complaints,
    effect_complaints,
    ending_complaints,
    log_complaints,
    start_complaints,
    view_complaints,
    work_complaints,
)
from tests.support.stored import Folded, Stored, fold_all

_STANDING = {"completed": set(KINDS), "compensated": set[str](), "faulted": set[str]()}
"""Final status -> what is booked after it."""


def verdict(stored: Stored, ledger: Ledger, acknowledged: dict[str, str]) -> list[str]:
    """Everything that does not hold."""
    all_ = fold_all(stored)
    return [
        *log_complaints(stored),
        *decision_complaints(stored, all_),
        *start_complaints(all_, acknowledged),
        *ending_complaints(all_),
        *effect_complaints(all_, ledger.effects, ledger.arrived),
        *work_complaints(stored, all_, datetime.now(UTC)),
        *view_complaints(stored, all_),
        *_lag(stored),
        *_ledger_complaints(all_, ledger),
    ]


def _lag(stored: Stored) -> Iterator[str]:
    for partition in stored.partitions:
        if partition.seen != partition.head.position:
            yield f"the status view has seen {partition.seen} of {partition.head.position} events"


def _ledger_complaints(all_: list[Folded], ledger: Ledger) -> Iterator[str]:
    """What the participants know, against nothing but the final statuses: the histories may be wrong about it."""
    times = Counter((effect.kind, effect.number, effect.compensates is None) for effect in ledger.effects)
    for (kind, number, done), count in times.items():
        if count > 1:
            yield f"the {kind} of {number} was {'booked' if done else 'cancelled'} {count} times"
    undone = {effect.compensates for effect in ledger.effects}
    standing: dict[int, set[str]] = {}
    for effect in ledger.effects:
        if effect.compensates is None and effect.key not in undone:
            standing.setdefault(effect.number, set()).add(effect.kind)
    for each in all_:
        number = _number(each)
        wanted = _STANDING.get(each.state.status)
        if standing.get(number, set()) != wanted:
            yield f"saga {number} is {each.state.status}, and booked are {standing.get(number)}"


def _number(each: Folded) -> int:
    number: int = each.state.input["number"]
    return number


def endings(stored: Stored) -> Counter[str]:
    """How many ended how."""
    return Counter(row.status for row in stored.status.values())
