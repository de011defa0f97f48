"""PostgreSQL crashes, links break at the worst moments, answers get lost: the sagas go on as if nothing had happened."""

from __future__ import annotations

import asyncio

import pytest

from tests.faults.conftest import FAULTS, LIMIT_S, NODES, SAGAS
from tests.faults.proxy import Mishap
from tests.faults.site import LEASE_S, site, sound

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(LIMIT_S), pytest.mark.parametrize("nodes", NODES)]


async def test_the_server_crashes_again_and_again(tmp_path, crashable, database, nodes):
    async with site(tmp_path, database, nodes=nodes) as found:
        async with found.under_load(SAGAS):
            async for _ in found.at_moments(FAULTS, SAGAS):
                await crashable.restart()
        await sound(found, SAGAS)


async def test_all_links_break_again_and_again(tmp_path, database, proxy, nodes):
    async with site(tmp_path, database, seen_at=proxy.url, nodes=nodes) as found:
        async with found.under_load(SAGAS):
            async for _ in found.at_moments(2 * FAULTS, SAGAS):
                proxy.cut()
        await sound(found, SAGAS)


async def test_links_break_in_the_middle_of_commits(tmp_path, database, proxy, nodes):
    async with site(tmp_path, database, seen_at=proxy.url, nodes=nodes) as found:
        async with found.under_load(SAGAS):
            async for _ in found.at_moments(2 * FAULTS, SAGAS):
                proxy.next_commits(Mishap.NEVER_ARRIVES, None, Mishap.ANSWER_LOST, None, Mishap.NOBODY_KNOWS)
        await sound(found, SAGAS)
        assert proxy.unheard >= 2 * FAULTS


async def test_a_commit_happens_and_its_answer_never_comes(tmp_path, database, proxy, nodes):
    async with site(tmp_path, database, seen_at=proxy.url, nodes=nodes) as found:
        async with found.under_load(SAGAS):
            async for moment in found.at_moments(2, SAGAS):
                proxy.next_commits(Mishap.NO_ANSWER)
                await proxy.until(unheard=moment)
        await sound(found, SAGAS)


async def test_the_network_stalls_for_longer_than_a_lease(tmp_path, database, proxy, nodes):
    async with site(tmp_path, database, seen_at=proxy.url, nodes=nodes) as found:
        async with found.under_load(SAGAS):
            async for _ in found.at_moments(1, SAGAS):
                proxy.stall()
                await asyncio.sleep(1.5 * LEASE_S)
                proxy.go_on()
        await sound(found, SAGAS)


async def test_the_network_is_slow(tmp_path, database, proxy, nodes):
    async with site(tmp_path, database, seen_at=proxy.url, nodes=nodes) as found:
        proxy.delay_s = 0.001
        async with found.under_load(SAGAS):
            pass
        await sound(found, SAGAS)
