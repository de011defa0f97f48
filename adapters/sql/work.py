"""The net effect of a transaction's work changes, as one set of rows per table.

Within a batch an orchestration may be put and dropped several times; only its last word is written, so that every table
sees at most one statement for removals and one for insertions, whatever the batch holds. Removals run first.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import msgspec

from adapters.sql.database import Row
from application.storage import (
    DropAgenda,
    DropHuman,
    DropSubscriptions,
    EndTask,
    GiveUpTask,
    HoldTask,
    PartitionWrite,
    PutAgenda,
    PutEmitted,
    PutHuman,
    PutReply,
    PutSubscription,
    PutTask,
)


def work_rows(writes: Sequence[PartitionWrite]) -> list[tuple[str, list[Row]]]:
    """(statement, rows) in the order to be run; statements without rows are left out."""
    agenda: dict[tuple[int, UUID], PutAgenda | DropAgenda] = {}
    emitted: list[Row] = []
    replies: list[Row] = []
    dropped: dict[tuple[int, UUID, str], None] = {}
    subscribed: dict[tuple[int, UUID, str], dict[int, str]] = {}
    tasks: dict[Row, Row] = {}
    holds: dict[Row, bool] = {}
    unwanted: list[Row] = []
    ended: list[Row] = []
    people: dict[tuple[int, UUID, int], PutHuman | DropHuman] = {}
    for write in writes:
        partition = write.head.partition
        for change in write.work:
            match change:
                case PutAgenda() | DropAgenda():
                    agenda[partition, change.orchestration] = change
                case PutEmitted(orchestration, number, event):
                    emitted.append((partition, orchestration, number, event))
                case PutReply(command_id, reply):
                    replies.append((partition, command_id, reply))
                case PutSubscription(orchestration, run, slot, event_type):
                    # No CloudEvent has an empty type; it stands for any type, so that one index finds both.
                    subscribed.setdefault((partition, orchestration, run), {})[slot] = event_type or ""
                case DropSubscriptions(orchestration, run):
                    dropped[partition, orchestration, run] = None
                    subscribed.pop((partition, orchestration, run), None)
                case PutTask():
                    tasks[partition, change.orchestration, change.run, change.number] = (
                        partition,
                        *msgspec.structs.astuple(change),
                    )
                case HoldTask(orchestration, run, number, held):
                    holds[partition, orchestration, run, number] = held
                case GiveUpTask():
                    unwanted.append((partition, *msgspec.structs.astuple(change)))
                case PutHuman() | DropHuman():
                    people[partition, change.orchestration, change.number] = change
                case EndTask():
                    ended.append((partition, *msgspec.structs.astuple(change)))
    every: list[tuple[str, list[Row]]] = [
        ("drop_agenda", [key for key, change in agenda.items() if isinstance(change, DropAgenda)]),
        (
            "put_agenda",
            [(*key, put.in_flight, put.due_at) for key, put in agenda.items() if isinstance(put, PutAgenda)],
        ),
        ("put_emitted", emitted),
        ("drop_subscriptions", list(dropped)),
        ("put_subscription", [(*key, *slot) for key, slots in subscribed.items() for slot in slots.items()]),
        ("put_reply", replies),
        # An attempt comes, is given up and ends once each, in this order.
        ("put_task", list(tasks.values())),
        *_by_key(holds, unwanted, ended),
        ("drop_human_candidates", list(people)),
        ("drop_human_task", [key for key, change in people.items() if isinstance(change, DropHuman)]),
        (
            "put_human_task",
            [_human(key[0], put) for key, put in people.items() if isinstance(put, PutHuman)],
        ),
        (
            "put_human_candidate",
            [
                (*key, person, put.rank, put.created_at, put.public_id)
                for key, put in people.items()
                if isinstance(put, PutHuman)
                for person in put.people
            ],
        ),
    ]
    return [(statement, rows) for statement, rows in every if rows]


def _human(partition: int, put: PutHuman) -> Row:
    return partition, *(getattr(put, name) for name in put.__struct_fields__ if name != "people")


def _by_key(holds: dict[Row, bool], unwanted: list[Row], ended: list[Row]) -> list[tuple[str, list[Row]]]:
    """Changes of attempts one at a time, by their key: workers report at other nodes, and nobody is to wait in a circle
    (`changes.py`).
    """
    rows = [("hold_task", (*key, held)) for key, held in holds.items()]
    rows += [("give_up_task", row) for row in unwanted]
    rows += [("end_task", row) for row in ended]
    return [(name, [row]) for name, row in sorted(rows, key=lambda each: each[1][:4])]
