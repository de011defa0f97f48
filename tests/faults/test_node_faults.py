"""Nodes are killed, paused and replaced under load: the sagas go on as if nothing had happened."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.faults.conftest import FAULTS, LIMIT_S, NODES, SAGAS
from tests.faults.site import LEASE_S, site, sound

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
