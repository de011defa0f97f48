"""``call: sql`` on real databases: outcomes, exactly once, and that what was given up is never committed."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from adapters.callouts.sql.callouts import SqlCallouts
from adapters.callouts.sql.targets import read_targets
from adapters.callouts.sql.transaction import Bounds, Commitment
from application.ports import Answered, Callout, Declined, Doubtful
from domain.errors import OURS, SPEC

pytestmark = pytest.mark.anyio


class Bank:
    """A database with accounts, and calls of it."""

    def __init__(self, url: str, kind: str) -> None:
        self.url, self.kind = url, kind
        self.sql = self.another()

    def another(self, **bounds: int) -> SqlCallouts:
        return SqlCallouts(read_targets({"RETRACE_CONNECTION_BANK": self.url}), bounds=Bounds(**bounds))

    async def send(self, *, key: str = "", undoes: str | None = None, timeout_s: float = 20.0, sql=None, **with_: Any):
        return await (sql or self.sql).send(call(with_, key or uuid.uuid4().hex, undoes, timeout_s))

    async def rows(self, query: str) -> Any:
        answer = await self.send(query=query)
        assert isinstance(answer, Answered), answer
        return answer.output["rows"]

    async def add(self, amount: int, **more: Any):
        return await self.send(
            execute="UPDATE accounts SET balance = balance + :amount WHERE name = 'ann'",
            parameters={"amount": amount},
            **more,
        )

    async def balance(self) -> Any:
        (row,) = await self.rows("SELECT balance FROM accounts WHERE name = 'ann'")
        return row["balance"]


def call(with_, key, undoes=None, timeout_s=20.0):
    return Callout(
        "sql", "sql", {"connection": "bank", "$input": {}, **with_}, key, 1, timeout_s, "o", "/do/0/a", undoes
    )


@pytest.fixture
def fresh_mysql() -> Iterator[str]:
    """URL of an empty database of this test's own."""
    import pymysql

    name = f"retrace_{uuid.uuid4().hex}"
    server = pymysql.connect(host="127.0.0.1", port=3306, user="root", autocommit=True)
    server.query(f"CREATE DATABASE {name}")
    yield f"mysql://root@127.0.0.1:3306/{name}"
    server.query(f"DROP DATABASE {name}")
    server.close()


@pytest.fixture(params=["sqlite", "postgres", pytest.param("mysql", marks=pytest.mark.services)])
async def bank(request: pytest.FixtureRequest, tmp_path) -> AsyncIterator[Bank]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'bank.db'}"
    elif request.param == "postgres":
        url = request.getfixturevalue("fresh_postgres")
    else:
        url = request.getfixturevalue("fresh_mysql")
    made = Bank(url, request.param)
    for text in (
        "CREATE TABLE accounts (name varchar(20) PRIMARY KEY, balance integer NOT NULL CHECK (balance >= 0))",
        "INSERT INTO accounts VALUES ('ann', 100), ('bob', 50)",
    ):
        answer = await made.send(execute=text, exactly_once=False)
        assert isinstance(answer, Answered), answer
    yield made
    made.sql.close()


# Outcomes -----------------------------------------------------------------------------------------------------------


async def test_a_query_gives_rows(bank):
    answer = await bank.send(
        query="SELECT name, balance FROM accounts WHERE balance >= ? ORDER BY name", parameters=[60]
    )
    assert answer == Answered({"columns": ["name", "balance"], "rows": [{"name": "ann", "balance": 100}]})
    empty = await bank.send(query="SELECT name FROM accounts WHERE name = :who", parameters={"who": "' OR 1=1 --"})
    assert empty == Answered({"columns": ["name"], "rows": []})
    assert await bank.rows("SELECT name FROM accounts WHERE name LIKE '%nn'") == [{"name": "ann"}]


async def test_a_query_cannot_write(bank):
    text = (
        "WITH x AS (DELETE FROM accounts RETURNING 1) SELECT * FROM x"
        if bank.kind == "postgres"
        else "DELETE FROM accounts"
    )
    assert isinstance(await bank.send(query=text), Declined)
    assert await bank.balance() == 100
    assert isinstance(await bank.add(1), Answered), "the connection is as it was"


async def test_an_execute_tells_what_it_touched(bank):
    assert await bank.add(5) == Answered({"affected": 1})
    answer = await bank.send(
        execute="INSERT INTO accounts VALUES (:name, :balance) RETURNING name", parameters={"name": "cid", "balance": 1}
    )
    assert answer == Answered({"affected": 1, "columns": ["name"], "rows": [{"name": "cid"}]})


async def test_a_list_is_one_transaction(bank):
    move: list[dict[str, Any]] = [
        {
            "statement": "UPDATE accounts SET balance = balance - :n WHERE name = 'ann'",
            "parameters": {"n": 30},
            "expect": 1,
        },
        {
            "statement": "UPDATE accounts SET balance = balance + :n WHERE name = 'nobody'",
            "parameters": {"n": 30},
            "expect": 1,
        },
    ]
    refused = await bank.send(execute=move)
    assert isinstance(refused, Declined)
    assert refused.fault.type == OURS + "unexpected-rows"
    assert await bank.balance() == 100
    move[1]["statement"] = move[1]["statement"].replace("nobody", "bob")
    done = await bank.send(execute=move)
    assert done == Answered({"affected": 2, "results": [{"affected": 1}, {"affected": 1}]})
    assert [each["balance"] for each in await bank.rows("SELECT balance FROM accounts ORDER BY name")] == [70, 80]


async def test_a_constraint_is_a_definite_no_with_its_state(bank):
    answer = await bank.add(-500)
    assert isinstance(answer, Declined)
    assert (answer.fault.type, answer.fault.status) == (OURS + "constraint-violated", 409)
    assert (answer.fault.response or {})["sqlstate"].startswith("23")
    twice = await bank.send(execute="INSERT INTO accounts VALUES ('ann', 1)")
    assert isinstance(twice, Declined)
    assert (twice.fault.response or {})["sqlstate"] in ("23505", "23000")


@pytest.mark.parametrize("text", ["SELEC 1", "SELECT nothing FROM accounts", "SELECT 1 FROM nowhere"])
async def test_a_statement_at_fault_is_a_definite_no(bank, text):
    answer = await bank.send(query=text)
    assert isinstance(answer, Declined)
    assert answer.fault.type == OURS + "sql"
    assert "sqlstate" in (answer.fault.response or {})


@pytest.mark.parametrize(
    ("with_", "told"),
    [
        ({"query": "SELECT :a"}, "'a' is missing"),
        ({"query": "SELECT name, name FROM accounts"}, "two columns"),
        ({"connection": "other", "query": "SELECT 1"}, "RETRACE_CONNECTION_OTHER"),
        ({"query": "SELECT 1", "more": 1}, "more"),
        ({"execute": ["DELETE FROM accounts", 7]}, "text"),
    ],
)
async def test_what_cannot_be_sent_is_not_sent(bank, with_, told):
    answer = await bank.send(**with_)
    assert isinstance(answer, Declined)
    assert told in str(answer.fault.detail)
    assert await bank.balance() == 100


async def test_rows_and_bytes_are_bounded(bank):
    few, small = bank.another(rows=1), bank.another(size_bytes=30)
    for sql in (few, small):
        answer = await bank.send(query="SELECT name, balance FROM accounts", sql=sql)
        assert isinstance(answer, Declined)
        assert answer.fault.type == OURS + "sql-too-large"
        again = await bank.send(query="SELECT 1 AS one", sql=sql)
        assert again == Answered({"columns": ["one"], "rows": [{"one": 1}]})
        sql.close()


async def test_values_of_every_kind_are_json(bank):
    chosen = {
        "sqlite": "SELECT 1.5 AS f, NULL AS n, x'00ff' AS b, 9223372036854775807 AS i",
        "postgres": (
            "SELECT 12.50::numeric AS d, 'NaN'::float8 AS x, '\\x00ff'::bytea AS b, '2026-01-02'::date AS day, "
            "'2026-01-02 03:04:05+02'::timestamptz AT TIME ZONE 'UTC' AS at, '1 day 2 hours'::interval AS long, "
            "'{\"a\": [1]}'::jsonb AS j, ARRAY[1,2] AS l, true AS t, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid AS u, "
            "99999999999999999999::numeric AS big"
        ),
        "mysql": "SELECT CAST(12.50 AS decimal(10,2)) AS d, DATE '2026-01-02' AS day, x'00ff' AS b, TIME '02:00:00' AS t",
    }
    expected = {
        "sqlite": {"f": 1.5, "n": None, "b": "AP8=", "i": 9223372036854775807},
        "postgres": {
            "d": "12.50", "x": "nan", "b": "AP8=", "day": "2026-01-02", "at": "2026-01-02T01:04:05", "long": "P1DT7200S",
            "j": {"a": [1]}, "l": [1, 2], "t": True, "u": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "big": "99999999999999999999",
        },
        "mysql": {"d": "12.50", "day": "2026-01-02", "b": "AP8=", "t": "PT7200S"},
    }  # fmt: skip
    assert await bank.rows(chosen[bank.kind]) == [expected[bank.kind]]
    answer = await bank.send(query="SELECT :o AS o", parameters={"o": {"a": [1, None]}})
    assert answer.output["rows"] == [{"o": '{"a":[1,null]}'}]
    msgspec.msgpack.encode(answer.output)


@pytest.mark.parametrize(("levels", "kind"), [(255, Answered), (256, Declined), (600, Declined), (3_000, Declined)])
async def test_a_row_nests_so_deep_on_every_python(bank, levels, kind):
    if bank.kind != "postgres":
        pytest.skip("JSON is text there")
    json = f"repeat('[', {levels}) || repeat(']', {levels})"
    read = await bank.send(query=f"SELECT ({json})::jsonb AS j")
    written = await bank.send(
        execute=f"UPDATE accounts SET balance = 0 WHERE name = 'ann' RETURNING ({json})::jsonb AS j"
    )
    assert isinstance(read, kind)
    assert isinstance(written, kind)
    if kind is Declined:
        assert read.fault.type == written.fault.type == OURS + "sql-too-large"


# Exactly once -------------------------------------------------------------------------------------------------------


async def test_a_repeat_is_answered_from_the_record(bank):
    first = await bank.add(5, key="k1", exactly_once=True)
    repeat = await bank.add(5, key="k1", exactly_once=True)
    other_node = await bank.add(5, key="k1", sql=(elsewhere := bank.another()))
    elsewhere.close()
    assert first == repeat == other_node == Answered({"affected": 1})
    assert await bank.balance() == 105


async def test_without_the_table_nothing_is_recorded(bank):
    await bank.add(5, key="k1")
    await bank.add(5, key="k1")
    assert await bank.balance() == 110


async def test_what_was_refused_leaves_no_record(bank):
    assert isinstance(await bank.add(-500, key="k1", exactly_once=True), Declined)
    await bank.send(execute="UPDATE accounts SET balance = 900 WHERE name = 'ann'")
    assert isinstance(await bank.add(-500, key="k1", exactly_once=True), Answered)
    assert await bank.balance() == 400


async def test_repeats_at_the_same_time_are_one(bank):
    nodes = [bank.another() for _ in range(4)]
    answers = await asyncio.gather(
        *(bank.add(1, key=f"k{index % 3}", exactly_once=True, sql=node) for index in range(9) for node in nodes)
    )
    assert set(map(str, answers)) == {str(Answered({"affected": 1}))}
    assert await bank.balance() == 103
    for node in nodes:
        node.close()


async def test_an_undo_shuts_the_door(bank):
    undone = await bank.add(-5, key="u1", undoes="k1", exactly_once=True, only_if_recorded=True)
    assert undone == Answered({"affected": 0, "skipped": True})
    late = await bank.add(5, key="k1", exactly_once=True)
    assert isinstance(late, Declined)
    assert late.fault.type == OURS + "undone-before"
    assert await bank.balance() == 100


async def test_an_undo_undoes_what_is_recorded_once(bank):
    await bank.add(5, key="k1", exactly_once=True)
    for _ in range(2):
        undone = await bank.add(-5, key="u1", undoes="k1", exactly_once=True, only_if_recorded=True)
        assert undone == Answered({"affected": 1})
    assert await bank.balance() == 100


# Time and loss ------------------------------------------------------------------------------------------------------


def held(bank: Bank, monkeypatch: pytest.MonkeyPatch, moment: str) -> tuple[threading.Event, threading.Event]:
    """The next commit waits for the second event, before or after it; the first tells that it has come so far."""
    reached, released = threading.Event(), threading.Event()
    driver = bank.sql._pools["BANK"].driver
    commit, begin = driver.commit, Commitment.begin

    def held_commit(connection: Any) -> None:
        commit(connection)
        reached.set()
        released.wait(10)

    def held_begin(self: Commitment) -> None:
        reached.set()
        released.wait(10)
        begin(self)

    if moment == "after":
        monkeypatch.setattr(driver, "commit", held_commit)
    else:
        monkeypatch.setattr(Commitment, "begin", held_begin)
    return reached, released


async def test_what_was_given_up_is_never_committed(bank, monkeypatch):
    reached, released = held(bank, monkeypatch, "before")
    answer = await bank.add(5, key="k1", timeout_s=1.0)
    assert reached.is_set()
    assert isinstance(answer, Declined)
    assert answer.fault.type == SPEC + "timeout"
    released.set()
    monkeypatch.undo()
    bank.sql._pools["BANK"].threads.shutdown(wait=True)
    bank.sql = bank.another()
    assert await bank.balance() == 100


async def test_a_commit_that_was_not_answered_is_uncertain_and_the_repeat_tells(bank, monkeypatch):
    await bank.send(execute="UPDATE accounts SET balance = 100 WHERE name = 'ann'", exactly_once=True)
    reached, released = held(bank, monkeypatch, "after")
    answer = await bank.add(5, key="k1", timeout_s=1.0)
    assert reached.is_set()
    assert isinstance(answer, Doubtful)
    released.set()
    monkeypatch.undo()
    assert await bank.add(5, key="k1") == Answered({"affected": 1})
    assert await bank.balance() == 105


async def test_a_cancelled_wait_leaves_nothing(bank, monkeypatch):
    reached, released = held(bank, monkeypatch, "before")
    task = asyncio.create_task(bank.add(5))
    await asyncio.to_thread(reached.wait, 10)
    task.cancel()
    await asyncio.wait([task])
    released.set()
    monkeypatch.undo()
    bank.sql._pools["BANK"].threads.shutdown(wait=True)
    bank.sql = bank.another()
    assert await bank.balance() == 100


async def test_a_slow_statement_ends_in_time_without_effect(bank):
    slow = {
        "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) AS m FROM n",
        "postgres": "SELECT pg_sleep(30)",
        "mysql": "SELECT sleep(30)",
    }[bank.kind]
    loop = asyncio.get_running_loop()
    began = loop.time()
    answer = await bank.send(query=slow, timeout_s=0.5)
    assert isinstance(answer, Declined)
    assert answer.fault.type == SPEC + "timeout"
    assert loop.time() - began < 5
    assert await bank.balance() == 100


async def test_a_kept_connection_that_died_is_replaced(bank):
    assert await bank.balance() == 100
    pool = bank.sql._pools["BANK"]
    for connection in pool._kept:
        pool.discard(connection)
    if bank.kind == "sqlite":
        pool._kept.clear()  # a file has no connection that could be lost
    assert await bank.balance() == 100


@pytest.mark.parametrize("url", ["postgresql://someone:hunter22@127.0.0.1:1/x", "sqlite:////nowhere/at/all.db"])
async def test_a_database_that_is_away_is_a_definite_no_that_tells_no_address(url):
    sql = SqlCallouts(read_targets({"RETRACE_CONNECTION_BANK": url}))
    answer = await sql.send(call({"execute": "DELETE FROM t"}, "k"))
    assert isinstance(answer, Declined)
    assert answer.fault.type == SPEC + "communication"
    assert "hunter22" not in str(answer)
    assert quote("nowhere") not in str(answer)
    sql.close()
