"""Nodes are killed, paused and replaced under load: the sagas go on as if nothing had happened."""

from __future__ import annotations

import asyncio
import logging
import random

import psycopg
import pytest

from tests.faults.conftest import FAULTS, LIMIT_S, NODES, SAGAS
from tests.faults.site import LEASE_S, site, sound

_log = logging.getLogger(__name__)
pytestmark = [pytest.mark.anyio, pytest.mark.timeout(LIMIT_S), pytest.mark.parametrize("nodes", NODES)]


async def test_nodes_are_killed(tmp_path, database, nodes):
    chance = random.Random(1)
    async with site(tmp_path, database, nodes=nodes) as found:
        async with found.under_load(SAGAS) as load:
            async for _ in found.at_moments(FAULTS, SAGAS):
                victim = chance.choice(found.nodes)
                await victim.kill()
                await victim.start()
        await sound(found, SAGAS)
        assert load.attempts["500"] == 0, "the database was well all the time"


async def test_the_others_take_over_from_a_node_that_does_not_come_back(tmp_path, database, nodes):
    if nodes == 1:
        pytest.skip("there are no others")
    async with site(tmp_path, database, nodes=nodes) as found:
        async with found.under_load(SAGAS) as load:
            async for _ in found.at_moments(1, SAGAS):
                victim = found.nodes[0]
                pid = victim.pid
                await victim.kill()
                began_s = asyncio.get_running_loop().time()
                async with asyncio.timeout(LEASE_S + 10):
                    while await asyncio.to_thread(left_behind, database, pid):  # noqa: ASYNC110 - nobody tells
                        await asyncio.sleep(0.02)
                _log.info("taken over after %.1f s", asyncio.get_running_loop().time() - began_s)
        await sound(found, SAGAS)
        assert load.attempts["500"] == 0, "the database was well all the time"


def left_behind(database: str, pid: int) -> int:
    """How many partitions nobody owns but a process that is gone."""
    with psycopg.connect(database) as connection:
        [(count,)] = connection.execute(
            "SELECT count(*) FROM partitions WHERE owner IS NULL OR owner IN (SELECT node FROM nodes WHERE pid = %s)"
            " OR owner NOT IN (SELECT node FROM nodes)",
            [pid],
        ).fetchall()
        return int(count)


async def test_a_node_is_paused_for_longer_than_its_lease(tmp_path, database, nodes):
    async with site(tmp_path, database, nodes=nodes) as found:
        async with found.under_load(SAGAS) as load:
            async for _ in found.at_moments(1, SAGAS):
                found.nodes[0].pause()
                await asyncio.sleep(1.5 * LEASE_S)
                found.nodes[0].go_on()
        await sound(found, SAGAS)
        assert load.attempts["500"] == 0, "the database was well all the time"


async def test_a_rolling_restart(tmp_path, database, nodes):
    async with site(tmp_path, database, nodes=nodes) as found:
        async with found.under_load(SAGAS) as load:
            async for _ in found.at_moments(1, SAGAS):
                for node in found.nodes:
                    await node.stop()
                    await node.start()
        await sound(found, SAGAS)
        assert load.attempts["500"] == 0, "the database was well all the time"
