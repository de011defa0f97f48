"""The contract of SnapshotStore: the latest of each orchestration, in the format that is asked for."""

from __future__ import annotations

import msgspec
import pytest

from application.storage import SnapshotRecord
from tests.contract.storages import PARTITIONS, identity
from tests.support.owning import own

pytestmark = pytest.mark.anyio
replace = msgspec.structs.replace
RECORD = SnapshotRecord(identity(1), 1000, "f1", b"\x07" * 32, b"\x00state\xff")


async def test_there_is_none_before_one_is_put(storage):
    assert await storage.snapshots.get(1, identity(1), "f1") is None


async def test_it_is_read_back_byte_for_byte(storage):
    large = replace(RECORD, state=bytes(range(256)) * 40_000)
    await storage.snapshots.put(1, large)
    assert await storage.snapshots.get(1, identity(1), "f1") == large
    assert await storage.snapshots.get(1, identity(2), "f1") is None
    assert await storage.snapshots.get(2, identity(1), "f1") is None


async def test_a_newer_one_replaces_it_and_an_older_one_does_not(storage):
    newer, older = replace(RECORD, version=1500, state=b"newer"), replace(RECORD, version=900, state=b"older")
    for each in (RECORD, newer, older):
        await storage.snapshots.put(1, each)
    assert await storage.snapshots.get(1, identity(1), "f1") == newer


async def test_one_of_the_same_version_is_put_again(storage):
    mended = replace(RECORD, state=b"mended")
    await storage.snapshots.put(1, RECORD)
    await storage.snapshots.put(1, mended)
    assert await storage.snapshots.get(1, identity(1), "f1") == mended


async def test_one_of_another_format_is_not_given_and_gives_way(storage):
    other = replace(RECORD, version=10, format="f2")
    await storage.snapshots.put(1, RECORD)
    assert await storage.snapshots.get(1, identity(1), "f2") is None
    await storage.snapshots.put(1, other)
    assert await storage.snapshots.get(1, identity(1), "f2") == other
    assert await storage.snapshots.get(1, identity(1), "f1") is None


async def test_a_snapshot_survives_a_restart(place):
    first, second = place(), place()
    await own(first, "first", PARTITIONS)
    await first.snapshots.put(0, RECORD)
    await first.log.close()
    await own(second, "second", PARTITIONS)
    assert await second.snapshots.get(0, identity(1), "f1") == RECORD
    await second.log.close()
