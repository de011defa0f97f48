"""A node whose clock is far from the database's owns nothing; a database that answers slowly is no reason for that."""

from __future__ import annotations

import asyncio

import pytest

from tests.simulation.loop import simulate
from tests.simulation.nodes import running


@pytest.mark.parametrize("slow", ["overview", "overview done"], ids=["question", "answer"])
@pytest.mark.parametrize(("off_s", "owns"), [(0.0, True), (0.9, True), (-0.9, True), (9.0, False), (-9.0, False)])
def test_only_a_clock_that_is_off_keeps_a_node_from_owning(slow, off_s, owns):
    async def step(operation: str) -> None:
        if operation == slow:
            await asyncio.sleep(3)

    async def main(loop):
        node = await running(loop, alone=False, step=step, off_s=off_s)
        assert node.ownership.eligible is owns
        assert bool(node.ownership.held) is owns
        await node.stop()

    simulate(1, main)
