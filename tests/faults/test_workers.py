"""Remote workers as processes of their own, over two nodes: each task is handed out once; and when workers die, stall and
nodes are killed, nothing is lost and nothing is applied twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from tests.faults.conftest import LIMIT_S, LONG
from tests.faults.hands import Hand, Ledger
from tests.faults.nodes import Node

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(LIMIT_S)]

BRANCHES = 10
NODE_LEASE_S = 2
WORKERS = 4


def _definition() -> str:
    """Ten tasks at once, each with an item and a mood of its own."""
    branches = [
        {
            f"pack{each}": {
                "call": "pack",
                "with": {"item": f"${{ $workflow.input.item{each} }}", "mood": f"${{ $workflow.input.mood{each} }}"},
                "timeout": {"after": {"seconds": 60}},
                "retry": {"delay": {"milliseconds": 200}, "limit": {"attempt": {"count": 20}}},
            }
        }
        for each in range(BRANCHES)
    ]
    document = {"dsl": "1.0.3", "namespace": "shop", "name": "parcel", "version": "1.0.0"}
    return json.dumps({"document": document, "do": [{"pack": {"fork": {"branches": branches}}}]})


class Works:
    """Two nodes over one database, and four workers, two at each."""

    def __init__(self, folder: Path, database: str, *, lease_s: float) -> None:
        documents = folder / "definitions"
        documents.mkdir()
        (documents / "parcel.yaml").write_text(_definition(), encoding="utf-8")
        settings = {
            "database": database,
            "partitions": 8,
            "expression_workers": 1,
            "definitions": documents,
            "grace": 2,
            "lease": NODE_LEASE_S,
        }
        self.ports = [_free_port() for _ in range(2)]
        self.nodes = [Node(f"node {port}", settings, port=port) for port in self.ports]
        self.urls = [f"http://127.0.0.1:{port}" for port in self.ports]
        self.ledger = Ledger(folder / "ledger")
        self.hands = [
            Hand(f"w{number}", self.urls[number % 2], self.ledger, lease_s=lease_s) for number in range(WORKERS)
        ]

    async def start_all(self, moods: list[str]) -> dict[str, int]:
        """Start orchestrations with one task for each mood, over both nodes; public id -> first item."""
        started: dict[str, int] = {}
        firsts = iter(range(0, len(moods), BRANCHES))

        async def client(number: int) -> None:
            async with httpx2.AsyncClient(base_url=self.urls[number % 2], timeout=60) as http:
                for first in firsts:
                    input_: dict[str, object] = {f"item{each}": first + each for each in range(BRANCHES)}
                    input_ |= {f"mood{each}": moods[first + each] for each in range(BRANCHES)}
                    answer = await http.post("/v1/orchestrations", json={"definition": "shop/parcel", "input": input_})
                    assert answer.status_code == 201, answer.text
                    started[answer.json()["id"]] = first

        await asyncio.gather(*[client(number) for number in range(8)])
        return started

    async def all_completed(self, started: dict[str, int]) -> None:
        """Wait for their ends; each has the output of its own work."""

        async def look(number: int) -> None:
            async with httpx2.AsyncClient(base_url=self.urls[number % 2], timeout=60) as http:
                for id_, first in list(started.items())[number::8]:
                    found: dict[str, object] = {"status": "running"}
                    while found["status"] == "running":
                        found = await _got(http, f"/v1/orchestrations/{id_}?wait=30")
                    output = [{"item": first + each} for each in range(BRANCHES)]
                    assert (found["status"], found["output"]) == ("completed", output)

        await asyncio.gather(*[look(number) for number in range(8)])


async def _got(http: httpx2.AsyncClient, path: str) -> dict[str, object]:
    """From a node that may be away at the moment."""
    while True:
        with contextlib.suppress(httpx2.TransportError):
            answer = await http.get(path)
            if answer.status_code == 200:
                return answer.json()  # type: ignore[no-any-return]
            assert answer.status_code in (429, 503), answer.text
        await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def works(folder: Path, database: str, *, lease_s: float = 30) -> AsyncIterator[Works]:
    found = Works(folder, database, lease_s=lease_s)
    try:
        await asyncio.gather(*[node.start() for node in found.nodes])
        yield found
    finally:
        for node in found.nodes:
            await node.close()


@contextlib.asynccontextmanager
async def at_work(found: Works) -> AsyncIterator[None]:
    """The workers work; at the end they are asked to stop."""
    keeping = [asyncio.create_task(hand.keep()) for hand in found.hands]
    try:
        yield
    finally:
        for each in keeping:
            each.cancel()
        await asyncio.gather(*keeping, return_exceptions=True)


def _free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        port: int = opened.getsockname()[1]
        return port


async def test_a_thousand_tasks_are_handed_out_once_each_to_four_workers_at_two_nodes(tmp_path, database):
    async with works(tmp_path, database) as found:
        started = await found.start_all(["well"] * 1000)
        async with at_work(found):
            await found.all_completed(started)
        handed_out = found.ledger.handed_out
        assert len(handed_out) == 1000
        assert set(handed_out.values()) == {1}
        assert {attempt for _, attempt in handed_out} == {"1"}
        assert [hand.lives for hand in found.hands] == [1] * WORKERS
        assert not [node.complaints for node in found.nodes if node.complaints]


async def test_workers_die_and_stall_and_a_node_is_killed(tmp_path, database):
    count = 1000 if LONG else 200
    moods = ["die" if each % 40 == 7 else "stall" if each % 50 == 3 else "well" for each in range(count)]
    async with works(tmp_path, database, lease_s=2) as found:
        started = await found.start_all(moods)
        async with at_work(found):
            waking = asyncio.create_task(_wake(found.ledger, after_s=3))
            await found.ledger.reached(count // 4)
            await found.nodes[0].kill()
            await found.ledger.reached(count // 2)
            await found.nodes[0].start()
            await found.all_completed(started)
            async with asyncio.timeout(30):
                while not _refused(found.hands):  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.1)
            waking.cancel()
        handed_out = found.ledger.handed_out
        assert set(handed_out.values()) == {1}, "an attempt was handed out twice"
        assert found.ledger.applied == count, "lost, or applied under two keys"
        assert len({attempt for _, attempt in handed_out}) > 1, "nothing was done again"
        assert sum(hand.lives for hand in found.hands) > WORKERS, "no worker died"
        assert not [node.complaints for node in found.nodes if node.complaints]


async def _wake(ledger: Ledger, *, after_s: float) -> None:
    """Workers that stall go on after a while; their leases are over by then."""
    woken = 0
    async with asyncio.TaskGroup() as group:
        while True:
            stalled = ledger.lines("stalled")
            for pid in stalled[woken:]:
                group.create_task(_wake_one(int(pid), after_s))
            woken = len(stalled)
            await asyncio.sleep(0.05)


async def _wake_one(pid: int, after_s: float) -> None:
    await asyncio.sleep(after_s)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def _refused(hands: list[Hand]) -> bool:
    """Whether a worker was told that its token does not count any more."""
    return any(re.search("was refused|was lost", line) for hand in hands for line in hand.said)


async def test_a_stale_report_gets_409_at_either_node(tmp_path, database):
    async with works(tmp_path, database) as found:
        await found.start_all(["well"] * BRANCHES)
        async with (
            httpx2.AsyncClient(base_url=found.urls[0], timeout=60) as one,
            httpx2.AsyncClient(base_url=found.urls[1], timeout=60) as other,
        ):
            claim = {"functions": ["pack"], "worker": "slow", "wait": 20, "lease": 1}
            [first] = (await one.post("/v1/tasks/claim", json=claim | {"max": 1})).json()["items"]
            rest = {"max": BRANCHES - 1, "lease": 60}
            others = (await other.post("/v1/tasks/claim", json=claim | rest)).json()["items"]
            while (again := others[-1])["idempotency_key"] != first["idempotency_key"]:
                others = (await other.post("/v1/tasks/claim", json=claim | rest)).json()["items"]
            assert again["attempt"] == 2
            late = {"token": first["token"], "output": {"item": 0}}
            for http in (one, other):
                answer = await http.post(f"/v1/tasks/{first['task_id']}/complete", json=late)
                assert (answer.status_code, answer.json()["type"]) == (409, "/problems/stale-token")
