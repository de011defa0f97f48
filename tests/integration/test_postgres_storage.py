"""PostgreSQL as it is in the field: sessions that are killed, commits in doubt, several processes starting at once."""

from __future__ import annotations

import asyncio
import threading

import msgspec
import psycopg
import pytest

from adapters.postgres.storage import PostgresStorage
from domain.errors import StorageAwayError, StorageError
from tests.contract.storages import PARTITIONS, identity, written
from tests.faults.proxy import Mishap, PostgresProxy
from tests.support.owning import own

pytestmark = pytest.mark.anyio


@pytest.fixture
async def storage(fresh_postgres):
    opened = PostgresStorage(fresh_postgres)
    await own(opened, "owner", PARTITIONS)
    yield opened
    await opened.log.close()


@pytest.fixture
def administrator(fresh_postgres):
    with psycopg.connect(fresh_postgres, autocommit=True) as connection:
        yield connection


def kill_sessions(administrator) -> int:
    killed = administrator.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    ).fetchall()
    return len(killed)


async def test_a_killed_writer_is_an_unknown_commit_and_the_next_write_heals(storage, administrator):
    [head] = await storage.log.heads([0])
    await storage.log.write([written(head, (identity(1), 1))])
    [head] = await storage.log.heads([0])
    assert kill_sessions(administrator) >= 1
    with pytest.raises(StorageAwayError):
        await storage.log.write([written(head, (identity(1), 2))])
    # The same write again: the fence says whether it is still due.
    assert await storage.log.heads([0]) == [head]
    assert await storage.log.write([written(head, (identity(1), 2))]) == [True]


async def test_a_commit_that_no_buffer_of_a_socket_holds(storage):
    [head] = await storage.log.heads([0])
    large = written(head, (identity(1), 1))
    large = msgspec.structs.replace(
        large, records=[msgspec.structs.replace(each, state=b"x" * 20_000_000) for each in large.records]
    )
    assert await storage.log.write([large]) == [True]
    [record] = await storage.log.log(0)
    assert len(record.state) == 20_000_000


async def test_reads_heal_by_themselves(storage, administrator):
    assert await storage.ready()
    kill_sessions(administrator)
    assert len(await storage.log.heads(range(PARTITIONS))) == PARTITIONS


async def test_a_killed_session_fails_a_change_and_the_next_one_heals(storage, administrator):
    await storage.keys.reserve("d", "k", "o1")
    kill_sessions(administrator)
    with pytest.raises(StorageError):
        await storage.keys.take_over("d", "k", "o1", "o2", contended=False)
    assert await storage.keys.take_over("d", "k", "o1", "o2", contended=False)


async def test_a_session_killed_while_it_waits_for_the_fence(storage, administrator, fresh_postgres):
    [head] = await storage.log.heads([0])
    with psycopg.connect(fresh_postgres) as other:
        other.execute("SELECT FROM partitions WHERE partition = 0 FOR UPDATE")
        write = asyncio.create_task(storage.log.write([written(head, (identity(1), 1))]))
        await waits_for_a_lock(administrator)
        administrator.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        with pytest.raises(StorageError):
            await write
    assert await storage.log.heads([0]) == [head]
    assert await storage.log.write([written(head, (identity(1), 1))]) == [True]


async def test_heads_wait_for_a_commit_that_is_still_under_way(storage, administrator, fresh_postgres):
    """Otherwise a commit in doubt could take effect after it was found not to have happened."""
    with psycopg.connect(fresh_postgres) as other:
        other.execute("UPDATE partitions SET head_position = 7 WHERE partition = 0")
        heads = asyncio.create_task(storage.log.heads([0]))
        await waits_for_a_lock(administrator)
        assert not heads.done()
        other.commit()
    [head] = await heads
    assert head.position == 7


async def waits_for_a_lock(administrator):
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with asyncio.timeout(10):
        while administrator.execute(waiting).fetchone() == (0,):  # noqa: ASYNC110 - the condition is the database's
            await asyncio.sleep(0)


async def test_a_write_does_not_wait_longer_than_part_of_a_lease(fresh_postgres):
    storage = PostgresStorage(fresh_postgres)
    [head, *_] = await own(storage, "owner", PARTITIONS, 0.5)
    with psycopg.connect(fresh_postgres) as other:
        other.execute("SELECT FROM partitions WHERE partition = 0 FOR UPDATE")
        with pytest.raises(StorageError):
            await storage.log.write([written(head, (identity(1), 1))])
    assert await storage.log.write([written(head, (identity(1), 1))]) == [True]
    await storage.log.close()


async def test_an_answer_that_never_comes_is_not_awaited_longer_than_half_a_lease(fresh_postgres):
    """The commit has happened, the link looks alive, and whatever stands in between keeps the answer to itself."""
    async with PostgresProxy(fresh_postgres).serving() as proxy:
        storage = PostgresStorage(proxy.url)
        [head, *_] = await own(storage, "owner", PARTITIONS, 1.0)
        wanted = written(head, (identity(1), 1))
        proxy.next_commits(Mishap.NO_ANSWER)
        with pytest.raises(StorageError):
            await storage.log.write([wanted])
        assert proxy.unheard == 1
        assert await storage.log.heads([0]) == [wanted.after]
        await storage.log.close()


async def test_sessions_are_bounded_by_the_lease_and_wait_for_the_disk(storage):
    connection = storage._database.sessions.connect()
    settings = ("statement_timeout", "idle_in_transaction_session_timeout", "synchronous_commit", "TimeZone")
    assert [connection.execute(f"SHOW {name}").fetchone()[0] for name in settings] == ["4s", "4s", "on", "UTC"]
    parameters = connection.info.get_parameters()
    assert int(parameters["keepalives_idle"]) + int(parameters["keepalives_count"]) < 5
    connection.close()


async def test_an_older_process_is_fenced_off(storage, fresh_postgres):
    old = await storage.log.heads(range(PARTITIONS))
    newer = PostgresStorage(fresh_postgres)
    heads = await own(newer, "newer", PARTITIONS)
    assert await storage.log.write([written(old[0], (identity(1), 1))]) == [False]
    assert await newer.log.write([written(heads[0], (identity(1), 1))]) == [True]
    # Its positions are taken by now, which is still no trouble of the database.
    assert await storage.log.write([written(old[0], (identity(1), 1))]) == [False]
    await newer.log.close()


async def test_processes_that_start_at_once_agree_on_one_database(empty_postgres):
    storages = [PostgresStorage(empty_postgres) for _ in range(5)]
    barrier = threading.Barrier(len(storages))

    def start(storage):
        # A thread and loop each: their migrations really run at the same time.
        async def run():
            barrier.wait()
            await storage.log.open(PARTITIONS, 10.0)
            barrier.wait()
            head = await storage.leases.claim("one of five", 0, 0, 10.0, forced=False)
            salt = await storage.log.salt()
            await storage.log.close()
            return head, salt

        return asyncio.run(run())

    results = await asyncio.gather(*[asyncio.to_thread(start, each) for each in storages])
    assert len({salt for _, salt in results}) == 1
    assert [head.epoch for head, _ in results if head is not None] == [1], "one of them has the partition"


async def test_a_database_that_is_not_there_is_a_storage_error(fresh_postgres):
    storage = PostgresStorage(psycopg.conninfo.make_conninfo(fresh_postgres, dbname="no_such_database"))
    with pytest.raises(StorageError):
        await own(storage, "owner", PARTITIONS)
    assert not await storage.ready()
    await storage.log.close()


async def test_changes_that_find_no_server_are_all_told(storage, administrator, fresh_postgres):
    await storage.keys.reserve("d", "k", "o1")
    storage._database.sessions._conninfo = psycopg.conninfo.make_conninfo(fresh_postgres, dbname="no_such_database")
    kill_sessions(administrator)
    for _ in range(2):
        changes = [storage.keys.reserve("d", f"k{each}", "o1") for each in range(20)]
        async with asyncio.timeout(20):
            told = await asyncio.gather(*changes, return_exceptions=True)
        assert all(isinstance(each, StorageError) for each in told)
    assert not await storage.ready()


async def test_a_closed_storage_says_so(fresh_postgres):
    storage = PostgresStorage(fresh_postgres)
    await own(storage, "owner", PARTITIONS)
    await storage.log.close()
    with pytest.raises(StorageError, match="closed"):
        await storage.keys.reserve("d", "k", "o1")
    with pytest.raises(StorageError, match="closed"):
        await storage.log.heads([0])


async def test_the_lease_is_by_the_clock_of_the_database(storage, administrator):
    leases = administrator.execute(
        "SELECT owner, lease_until > now() + interval '5 s', lease_until < now() + interval '10 s' FROM partitions"
    ).fetchall()
    assert leases == [("owner", True, True)] * PARTITIONS
