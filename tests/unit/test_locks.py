"""Locks by name: one at a time, in turn, and nothing is left behind."""

from __future__ import annotations

import asyncio

from application.locks import Locks
from tests.simulation.loop import simulate


def test_one_at_a_time_and_in_turn():
    async def main(loop):
        locks, order, inside = Locks(), [], 0

        async def one(number):
            nonlocal inside
            async with locks.of("a"):
                inside += 1
                assert inside == 1
                await asyncio.sleep(0.01)
                order.append(number)
                inside -= 1

        tasks = []
        for number in range(20):
            tasks.append(asyncio.ensure_future(one(number)))
            await asyncio.sleep(0.001)
        await asyncio.gather(*tasks)
        assert order == list(range(20))
        assert not len(locks)

    simulate(1, main)


def test_names_do_not_wait_for_each_other():
    async def main(loop):
        locks = Locks()
        async with locks.of("a"), locks.of("b"):
            assert len(locks) == 2
        assert not len(locks)

    simulate(1, main)


def test_whoever_is_cancelled_passes_its_turn_on():
    async def main(loop):
        for seed in range(50):
            locks = Locks()
            done: list[int] = []

            async def one(number, locks=locks, done=done):
                async with locks.of("a"):
                    await asyncio.sleep(0)
                    done.append(number)

            tasks = [asyncio.ensure_future(one(number)) for number in range(6)]
            for _ in range(seed):
                await asyncio.sleep(0)
            for task in tasks[1:4]:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert {0, 4, 5} <= set(done)
            assert not len(locks)

    for seed in range(10):
        simulate(seed, main)
