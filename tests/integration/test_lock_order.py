"""Many at once over several functions and attempts on PostgreSQL: everybody takes locks in one order, so nobody waits in a
circle. Changes of one process share a transaction, which is why the order matters.
"""

from __future__ import annotations

import asyncio
import random
from itertools import count

import psycopg
import pytest

from adapters.postgres.storage import PostgresStorage
from application.storage import EndTask, GiveUpTask, PutTask
from application.task_store import Claim, TaskKey
from tests.contract.storages import NOON, PARTITIONS, identity, minutes, written
from tests.support.owning import own

pytestmark = pytest.mark.anyio

FUNCTIONS = [f"f{number}" for number in range(6)]
RUN = "/do/0/pack#1"


@pytest.fixture
async def nodes(fresh_postgres):
    """Storages of three processes; the first owns all partitions."""
    opened = [PostgresStorage(fresh_postgres) for _ in range(3)]
    await own(opened[0], "owner", PARTITIONS)
    for each in opened[1:]:
        await each.log.open(PARTITIONS, 30.0)
    yield opened
    for each in opened:
        await each.log.close()


@pytest.fixture
def deadlocks(fresh_postgres):
    """How many the server has had to break; its statistics may lag, hence the errors that the tests look for as well."""

    def read() -> int:
        with psycopg.connect(fresh_postgres, autocommit=True) as connection:
            [(count,)] = connection.execute(
                "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
            ).fetchall()
        return int(count)

    return read


async def change(node, partition, *work):
    [head] = await node.log.heads([partition])
    assert await node.log.write([written(head, work=work)]) == [True]


def put(number, function):
    return PutTask(identity(number), RUN, 1, function, "shop/order", 600_000_000, minutes(0))


def claim_of(node, partition, function, token, *, limit=1):
    return node.tasks.claim(
        Claim(
            partition=partition,
            function=function,
            after="",
            worker="w",
            token=token,
            at=NOON,
            lease_s=60,
            limit=limit,
            limited=True,
        )
    )


async def test_claims_of_overlapping_sets_of_limited_functions(nodes, deadlocks):
    tasks = count(1)
    for partition in range(PARTITIONS):
        await change(nodes[0], partition, *[put(next(tasks), function) for function in FUNCTIONS for _ in range(20)])
    for function in FUNCTIONS:
        await nodes[0].tasks.limit(function, 10_000, None)
    chance = random.Random(7)
    handed_out: list[TaskKey] = []

    async def worker(node, number):
        for turn in range(12):
            for function in chance.sample(FUNCTIONS, 4):
                token = f"{number}.{turn}".encode()
                found = await claim_of(node, chance.randrange(PARTITIONS), function, token)
                handed_out.extend(each.key for each in found)
            await node.tasks.note(chance.choice(FUNCTIONS), NOON, claimed=True)

    async with asyncio.timeout(60):
        await asyncio.gather(*[worker(nodes[each % 3], each) for each in range(36)])
    assert len(handed_out) == len(set(handed_out)) > 400
    assert deadlocks() == 0


async def test_what_is_prolonged_reported_and_given_up_at_once(nodes, deadlocks):
    keys = [TaskKey(0, identity(number), RUN, 1) for number in range(1, 41)]
    await change(nodes[0], 0, *[put(key.orchestration.int, "pack") for key in keys])
    assert len(await claim_of(nodes[0], 0, "pack", b"t", limit=100)) == len(keys)
    chance = random.Random(7)

    async def beats(node):
        for _ in range(12):
            await asyncio.gather(*[node.tasks.extend(key, b"t", minutes(1)) for key in chance.sample(keys, len(keys))])

    async def owner():
        for _ in range(8):
            some = chance.sample(keys, 10)
            await change(nodes[0], 0, *[GiveUpTask(key.orchestration, RUN, 1, b"unsent", None) for key in some])
        gone = chance.sample(keys, 30)
        await change(nodes[0], 0, *[GiveUpTask(key.orchestration, RUN, 1, b"unsent", b"lost") for key in gone[:20]])
        await change(nodes[0], 0, *[EndTask(key.orchestration, RUN, 1, NOON) for key in gone])

    async with asyncio.timeout(60):
        await asyncio.gather(*[beats(node) for node in nodes[1:]], owner())
    assert deadlocks() == 0
    left = [row for key in keys if (row := await nodes[1].tasks.get(key)) and row.status == "claimed"]
    assert len(left) == 10
