"""The verdict notices what it is there for: each way in which a sound database is spoilt gets its complaint."""

from __future__ import annotations

import asyncio
import copy

import msgspec
import pytest

from tests.faults.ledger import Effect, Ledger
from tests.faults.site import site
from tests.faults.verdict import verdict
from tests.support.stored import Stored, read_stored

pytestmark = pytest.mark.anyio


def _fullest(stored: Stored):
    return max(stored.partitions, key=lambda each: len(each.log))


def an_event_is_lost(stored, ledger, acknowledged):
    del _fullest(stored).log[-1]


def an_event_is_changed(stored, ledger, acknowledged):
    log = _fullest(stored).log
    log[0] = msgspec.structs.replace(log[0], event_hash=bytes(32))


def a_head_is_behind(stored, ledger, acknowledged):
    partition = _fullest(stored)
    partition.head = msgspec.structs.replace(partition.head, position=partition.head.position - 1)


def a_start_is_lost(stored, ledger, acknowledged):
    acknowledged["start 99"] = "o_" + "x" * 22


def a_start_nobody_knows(stored, ledger, acknowledged):
    acknowledged.popitem()


def something_happens_twice(stored, ledger, acknowledged):
    ledger.effects.append(msgspec.structs.replace(ledger.effects[0], key="another"))


def the_same_key_acts_twice(stored, ledger, acknowledged):
    ledger.effects.append(ledger.effects[0])


def a_booking_never_happened(stored, ledger, acknowledged):
    del ledger.effects[0]


def an_undo_never_happened(stored, ledger, acknowledged):
    ledger.effects.remove(next(each for each in ledger.effects if each.compensates is not None))


def a_completed_booking_is_undone(stored, ledger, acknowledged):
    undone = {each.compensates for each in ledger.effects}
    kept = next(each for each in ledger.effects if each.compensates is None and each.key not in undone)
    ledger.effects.append(Effect("undo", kept.kind, kept.number, kept.key))


def something_unrecorded_arrives(stored, ledger, acknowledged):
    ledger.arrived.append("unheard of")


def work_is_left(stored, ledger, acknowledged):
    partition = _fullest(stored)
    partition.agenda[partition.log[0].orchestration] = (True, None)


def an_event_is_not_published(stored, ledger, acknowledged):
    stored.partitions[0].emitted = 1


def a_command_is_left(stored, ledger, acknowledged):
    stored.partitions[0].commands = 1


def the_view_is_behind(stored, ledger, acknowledged):
    stored.partitions[0].seen += 1


def a_status_row_is_old(stored, ledger, acknowledged):
    key, row = next(iter(stored.status.items()))
    stored.status[key] = msgspec.structs.replace(row, status="running")


def a_status_row_is_lost(stored, ledger, acknowledged):
    stored.status.popitem()


WAYS = [each for name, each in list(globals().items()) if name.startswith(("a_", "an_", "some", "the_", "work_"))]


async def test_every_way_to_spoil_it_is_noticed(tmp_path):
    async with site(tmp_path, f"sqlite:///{tmp_path}/retrace.db") as found:
        async with found.under_load(12) as load:
            pass
        assert await found.verdict() == []
        stored = await asyncio.to_thread(read_stored, found.database)
        for spoil in WAYS:
            spoilt, acknowledged = copy.deepcopy(stored), dict(load.acknowledged)
            ledger = Ledger(found.seed)
            ledger.effects, ledger.arrived = list(found.ledger.effects), list(found.ledger.arrived)
            spoil(spoilt, ledger, acknowledged)
            assert verdict(spoilt, ledger, acknowledged), spoil.__name__
    assert len(WAYS) == 17
