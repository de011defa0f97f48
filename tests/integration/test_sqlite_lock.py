"""A SQLite database belongs to one process, for as long as that process lives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from adapters.sqlite.lock import DatabaseInUseError
from adapters.sqlite.storage import SqliteStorage
from domain.errors import StorageError
from tests.support.owning import own

pytestmark = pytest.mark.anyio

HOLD = """
import asyncio, sys
from adapters.sqlite.storage import SqliteStorage
from tests.support.owning import own

async def main():
    storage = SqliteStorage(sys.argv[1])
    await own(storage, "holder", 4)
    await storage.keys.reserve("shop/order", "7", "held")
    print("open", flush=True)
    sys.stdin.read()

asyncio.run(main())
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that has the database open."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "retrace.db")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        yield process
        process.kill()


async def test_a_second_process_is_refused_with_a_message_that_helps(holder, tmp_path):
    path = tmp_path / "retrace.db"
    with pytest.raises(DatabaseInUseError) as refused:
        await own(SqliteStorage(path), "second", 4)
    assert str(path) in str(refused.value)
    assert f"process {holder.pid}" in str(refused.value)
    assert "Stop that process" in str(refused.value)


async def test_a_killed_process_lets_go_and_leaves_what_it_committed(holder, tmp_path):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    storage = SqliteStorage(tmp_path / "retrace.db")
    heads = await own(storage, "second", 4)
    assert [head.epoch for head in heads] == [2] * 4
    assert await storage.keys.reserve("shop/order", "7", "second") == "held"
    await storage.log.close()


async def test_a_second_storage_of_the_same_process_is_refused_until_the_first_is_closed(tmp_path):
    first, second = (SqliteStorage(tmp_path / "retrace.db") for _ in range(2))
    await own(first, "first", 4)
    with pytest.raises(DatabaseInUseError, match=f"process {os.getpid()}"):
        await own(second, "second", 4)
    await first.log.close()
    await own(second, "second", 4)
    await second.log.close()


async def test_a_folder_that_is_missing_is_a_storage_error(tmp_path):
    storage = SqliteStorage(tmp_path / "nowhere" / "retrace.db")
    with pytest.raises(StorageError):
        await own(storage, "first", 4)
    assert not await storage.ready()
    await storage.log.close()


async def test_every_commit_is_synced(tmp_path):
    storage = SqliteStorage(tmp_path / "retrace.db")
    await own(storage, "first", 4)
    connection = storage._database._connect(True)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    connection.close()
    await storage.log.close()
