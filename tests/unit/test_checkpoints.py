"""Checkpoints: one for each partition whose head has moved, signed, and kept outside whatever happens there."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import msgspec
import pytest

from application.checkpoint_store import CheckpointRecord
from application.checkpoints import Checkpoints, fingerprint, holds, read, shown, signed_text
from application.ports import DeliveryError
from application.storage import Head
from tests.simulation.loop import SimulatedClock, simulate
from tests.simulation.memory_storage import MemoryStorage
from tests.simulation.signing import SimulatedKey

KEY = SimulatedKey()
RECORD = CheckpointRecord(3, 17, bytes(range(32)), datetime(2026, 11, 26, 9, 30, tzinfo=UTC), "k", b"signature")


class Outlet:
    def __init__(self) -> None:
        self.got: list[int] = []
        self.broken = 0
        self.tries = 0

    async def put(self, checkpoints):
        self.tries += 1
        await asyncio.sleep(0.1)
        if self.broken:
            self.broken -= 1
            raise DeliveryError("down")
        self.got += [each["position"] for each in checkpoints]


def maker(loop, heads, outlet=None, signer=KEY, **storage):
    store = MemoryStorage(**storage).checkpoints
    return Checkpoints(store, SimulatedClock(loop), "d" * 32, lambda: heads, signer, outlet, every_s=60), store


def head(partition: int, position: int) -> Head:
    return Head(partition, 1, position, bytes([position]) * 32)


def test_the_text_that_is_signed_is_what_the_documentation_says():
    assert signed_text("5f0c", RECORD) == (
        b"retrace checkpoint 1\ndatabase 5f0c\npartition 3\nposition 17\n"
        b"log_hash 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"
        b"made_at 2026-11-26T09:30:00.000000Z\nkey k\n"
    )
    assert len(fingerprint(b"key")) == 32
    assert fingerprint(b"key") != fingerprint(b"other")


def test_json_is_read_as_it_was_shown():
    assert read(shown("d", RECORD)) == ("d", RECORD)
    assert shown("d", RECORD)["made_at"] == "2026-11-26T09:30:00.000000Z"


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"log_hash": "ab"},
        {"log_hash": "x" * 64},
        {"made_at": "2026-11-26T09:30:00"},
        {"position": "17"},
        {"position": 0},
        {"partition": -1},
        {"made_at": "0001-01-01T00:00:00+14:00"},
        {"signature": "?"},
    ],
)
def test_what_is_no_checkpoint_is_refused(change):
    with pytest.raises(ValueError, match="checkpoint"):
        read({**shown("d", RECORD), **change})


def test_one_for_each_partition_that_has_moved():
    async def main(loop):
        heads = [head(0, 5), head(1, 0), head(2, 9)]
        checkpoints, store = maker(loop, heads)
        checkpoints.start()
        await asyncio.sleep(61)
        made = await store.page()
        assert [(each.partition, each.position) for each in made] == [(0, 5), (2, 9)]
        assert all(holds(KEY, "d" * 32, each) for each in made)
        assert not any(holds(KEY, "e" * 32, each) for each in made)
        await asyncio.sleep(60)
        assert len(await store.page()) == 2
        heads[0] = head(0, 6)
        await asyncio.sleep(60)
        assert [each.position for each in await store.page(0)] == [5, 6]
        heads[1] = head(1, 1)
        await checkpoints.stop()
        assert [each.position for each in await store.page(1)] == [1]

    simulate(1, main)


def test_trouble_outside_is_tried_again_and_nothing_is_lost():
    async def main(loop):
        heads, outlet = [head(0, 1)], Outlet()
        outlet.broken = 5
        checkpoints, _ = maker(loop, heads, outlet)
        checkpoints.start()
        await asyncio.sleep(30)
        for position in range(1, 8):
            heads[0] = head(0, position)
            await asyncio.sleep(60)
        await checkpoints.stop()
        assert outlet.got == list(range(1, 8))
        assert outlet.broken == 0

    simulate(1, main)


def test_a_place_outside_that_stays_away_keeps_nobody():
    async def main(loop):
        outlet = Outlet()
        outlet.broken = 10**9
        checkpoints, store = maker(loop, [head(0, 1)], outlet)
        checkpoints.start()
        await asyncio.sleep(600)
        assert len(await store.page()) == 1
        began = loop.time()
        await checkpoints.stop()
        assert loop.time() - began < 6
        assert outlet.tries < 30, "the pauses grow"

    simulate(1, main)


def test_a_database_that_fails_is_tried_again():
    async def main(loop):
        from domain.errors import StorageError

        failing = True

        async def step(_):
            await asyncio.sleep(0)
            if failing:
                raise StorageError("down")

        checkpoints, store = maker(loop, [head(0, 1)], step=step)
        checkpoints.start()
        await asyncio.sleep(200)
        failing = False
        await asyncio.sleep(60)
        assert len(await store.page()) == 1
        await checkpoints.stop()

    simulate(1, main)


def test_without_a_key_there_are_none():
    async def main(loop):
        checkpoints, store = maker(loop, [head(0, 1)], signer=None)
        checkpoints.start()
        await asyncio.sleep(120)
        await checkpoints.stop()
        assert await store.page() == []

    simulate(1, main)


def test_records_are_what_is_signed():
    for field, value in (("partition", 4), ("position", 18), ("log_hash", bytes(32)), ("key_id", "x")):
        other = msgspec.structs.replace(RECORD, **{field: value})
        assert signed_text("d", other) != signed_text("d", RECORD)
