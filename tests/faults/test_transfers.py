"""Money moves while the node dies at random commits of the bank: whatever happens, the sum stays the same.

The node is a process of its own that kills itself with SIGKILL right before or right after one of the bank's commits, so also
between the commit of a withdrawal and the report of it. The next life goes on with what is in the database; the last one
lives until every transfer has ended.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx2
import msgspec
import psycopg
import pytest

from adapters.bootstrap import open_service
from adapters.callouts.sql.postgres import PostgresDriver
from adapters.callouts.sql.sqlite import SqliteDriver
from adapters.settings import Settings
from tests.faults.conftest import LONG
from tests.faults.processes import PROCESSES
from tests.support.service import ENDED
from tests.support.soundness import histories_complaints
from tests.support.stored import read_stored

pytestmark = pytest.mark.anyio
TRANSFER = Path(__file__).parents[2] / "examples" / "transfer" / "transfer.yaml"
NAMES = ["ann", "bob", "cid", "dora"]
START = 100


class Life(msgspec.Struct, frozen=True):
    """One life; it dies at the bank's `boundary`-th commit, 0: not."""

    database: str
    bank: str
    transfers: list[dict[str, Any]]
    boundary: int
    moment: Literal["before", "after"]


def live(life: Life) -> None:
    """Starts all transfers (a repeat finds the first) and waits for their ends."""
    os.environ["RETRACE_CONNECTION_BANK"] = life.bank
    die_at(life)
    asyncio.run(_live(life))


def die_at(life: Life) -> None:
    driver: Any = SqliteDriver if life.bank.startswith("sqlite") else PostgresDriver
    commit, counted = driver.commit, iter(range(1, 1_000_000))

    def mortal(self: Any, connection: Any) -> None:
        number = next(counted)
        if number == life.boundary and life.moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        commit(self, connection)
        if number == life.boundary:
            os.kill(os.getpid(), signal.SIGKILL)

    driver.commit = mortal


async def _live(life: Life) -> None:
    service = await open_service(Settings(database=life.database, partitions=2), functions={}, development=True)
    transport = httpx2.ASGITransport(app=service.app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://retrace", timeout=60) as http:
        await http.post("/v1/definitions", content=TRANSFER.read_bytes(), headers={"Content-Type": "application/yaml"})

        async def one(number: int, body: dict[str, Any]) -> str:
            started = await http.post("/transfers", json=body, headers={"Idempotency-Key": f'"transfer {number}"'})
            assert started.status_code == 201, started.text
            path = f"/v1/orchestrations/{started.json()['id']}"
            status = (await http.get(path)).json()
            while status["status"] not in ENDED:
                status = (await http.get(path, params={"wait": 10, "after": status["version"]})).json()
            return str(status["status"])

        ends = await asyncio.gather(*(one(*each) for each in enumerate(life.transfers)))
        assert set(ends) <= {"completed", "compensated", "faulted"}, ends
    await service.close()


def bank_rows(bank: str, *statements: str) -> list[Any]:
    """Run statements on the bank; rows of the last."""
    if bank.startswith("sqlite"):
        connection: Any = sqlite3.connect(urlsplit(bank).path[1:])
    else:
        connection = psycopg.connect(bank)
    try:
        cursors = [connection.execute(statement) for statement in statements]
        rows = list(cursors[-1].fetchall() if cursors[-1].description else [])
        connection.commit()
        return rows
    finally:
        connection.close()


@pytest.mark.parametrize("seed", range(20 if LONG else 2))
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_the_sum_of_all_balances_stays(tmp_path, request, kind, seed):
    dice = random.Random(f"{kind} {seed}")
    bank = request.getfixturevalue("database") if kind == "postgres" else f"sqlite:///{tmp_path / 'bank.db'}"
    bank_rows(
        bank,
        "CREATE TABLE accounts (name varchar(20) PRIMARY KEY, balance bigint NOT NULL CHECK (balance >= 0))",
        f"INSERT INTO accounts VALUES {', '.join(f'({name!r}, {START})' for name in NAMES)}",
    )
    transfers = [
        {"from": dice.choice(NAMES), "to": dice.choice([*NAMES, "nobody"]), "amount": dice.randint(1, 60)}
        for _ in range(12)
    ]
    deaths, code = 0, None
    for attempt in range(30):
        boundary = dice.randint(1, 5) if attempt < 12 else 0
        moment: Any = dice.choice(["before", "after"])
        process = PROCESSES.Process(
            target=live, args=(Life(f"sqlite:///{tmp_path / 'retrace.db'}", bank, transfers, boundary, moment),)
        )
        process.start()
        await asyncio.to_thread(process.join, 90)
        code = process.exitcode
        assert code in (0, -signal.SIGKILL), code
        assert bank_rows(bank, "SELECT min(balance) FROM accounts")[0][0] >= 0
        if code == 0:
            break
        deaths += 1
    assert code == 0, "it never came to its end"
    assert deaths > 2
    rows = dict(bank_rows(bank, "SELECT name, balance FROM accounts"))
    assert sum(rows.values()) == START * len(NAMES), rows
    stored = await asyncio.to_thread(read_stored, f"sqlite:///{tmp_path / 'retrace.db'}")
    assert histories_complaints(stored) == []
