"""Damage that is done directly in SQLite and in PostgreSQL is found, named and placed, wherever it is done."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.signatures import Ed25519Signer, read_private
from application.chain import GENESIS, PLACE
from application.checkpoint_store import CheckpointRecord
from application.checkpoints import fingerprint, shown, signed_text
from application.identity import Identity
from application.verification import VerifyRequest
from tests.support.damaging import OTHER_KEY, PARTITIONS, Database, copied, kinds, make_log

few = settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
partitions = st.integers(0, PARTITIONS - 1)
anywhere = st.floats(0, 1, exclude_max=True)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def original(request, tmp_path_factory) -> Iterator[Database]:
    """A database with a log; it is only copied."""
    if request.param == "sqlite":
        database = Database(f"sqlite:///{tmp_path_factory.mktemp('log')}/retrace.db")
        asyncio.run(make_log(database))
        yield database
        return
    url, name = request.getfixturevalue("postgres_url"), f"retrace_log_{uuid.uuid4().hex}"
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}"'.encode())
    database = Database(urlsplit(url)._replace(path=f"/{name}").geturl())
    asyncio.run(make_log(database))
    yield database
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


@pytest.fixture
def copies(original, tmp_path):
    return lambda: copied(original, tmp_path)


def found(database: Database, request: VerifyRequest | None = None, **how: Any) -> list[tuple[str, int, int]]:
    return kinds(asyncio.run(database.verify(request, **how)))


def pick(rows: list[Any], share: float) -> Any:
    return rows[int(share * len(rows))]


def flipped(value: bytes, share: float) -> bytes:
    bit = int(share * 8 * len(value))
    changed = bytearray(value)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_a_sound_log_gives_no_finding(copies):
    with copies() as database:
        for request in (None, VerifyRequest(since="latest"), VerifyRequest(since="2026-01-01T00:00:00Z")):
            result = asyncio.run(database.verify(request))
            assert (result["sound"], result["findings"], result["notes"]) == (True, [], [])


@few
@given(partitions, anywhere, anywhere)
def test_a_bit_of_a_payload(copies, partition, where, bit):
    with copies() as database:
        row = pick([each for each in database.rows(partition) if each[4]], where)
        change = "UPDATE events SET state = ? WHERE partition = ? AND position = ?"
        database.run(change, flipped(row[4], bit), partition, row[0])
        result = asyncio.run(database.verify())
        assert kinds(result) == [("payload_changed", partition, row[0])]
        [finding] = result["findings"]
        assert (finding["version"], finding["type"]) == (row[2], row[3])
        # The first event is what tells the public id.
        assert (finding["orchestration"] is not None) == (row[2] > 1) or finding["orchestration"].startswith("o_")
        assert not result["sound"]


@few
@given(partitions, anywhere, anywhere, st.sampled_from(["event_hash", "log_hash"]))
def test_a_bit_of_a_hash(copies, partition, where, bit, column):
    with copies() as database:
        row = pick(database.rows(partition), where)
        value = flipped(row[5 if column == "event_hash" else 6], bit)
        database.run(f"UPDATE events SET {column} = ? WHERE partition = ? AND position = ?", value, partition, row[0])
        assert found(database) == [("hash_changed", partition, row[0])]


@few
@given(partitions, anywhere)
def test_a_row_deleted(copies, partition, where):
    with copies() as database:
        rows = database.rows(partition)
        row = pick(rows[:-1], where)
        database.run("DELETE FROM events WHERE partition = ? AND position = ?", partition, row[0])
        of_the_log = [each for each in found(database) if each[0] != "archive_changed"]
        assert of_the_log == [("event_missing", partition, row[0])]


@few
@given(partitions, anywhere, anywhere)
def test_two_rows_swapped(copies, partition, one, other):
    with copies() as database:
        rows = database.rows(partition)
        first, second = sorted((pick(rows, one)[0], pick(rows, other)[0]))
        if first == second:
            return
        swap = "UPDATE events SET position = ? WHERE partition = ? AND position = ?"
        for target, source in ((1_000_000, first), (first, second), (second, 1_000_000)):
            database.run(swap, target, partition, source)
        assert found(database) == [("events_swapped", partition, first)]


@few
@given(partitions, st.booleans(), st.booleans())
def test_a_row_inserted_at_the_end(copies, partition, head, hashed):
    with copies() as database:
        rows = database.rows(partition)
        position, identity, state = len(rows) + 1, b"0123456789abcdef", b"\x80"
        place = PLACE(partition, position, identity, 1)
        event_hash = sha256(GENESIS + place + b"note.added" + sha256(state).digest()).digest() if hashed else b"e" * 32
        stored = identity if database.is_sqlite else uuid.UUID(bytes=identity)
        database.run(
            "INSERT INTO events (partition, position, orchestration, version, topic, state, event_hash, log_hash) "
            "VALUES (?, ?, ?, 1, 'note.added', ?, ?, ?)",
            *(partition, position, stored, state, event_hash, b"l" * 32),
        )
        if head:
            change = "UPDATE partitions SET head_position = ?, head_hash = ? WHERE partition = ?"
            database.run(change, position, b"l" * 32, partition)
        [(kind, where, at)] = found(database)
        assert where == partition
        if head:
            assert (kind, at) in {("event_replaced", position - 1), ("payload_changed", position - 1)}
        else:
            assert (kind, at) == ("event_inserted", position)


@few
@given(partitions, anywhere)
def test_a_row_inserted_in_between(copies, partition, where):
    with copies() as database:
        rows = database.rows(partition)
        at = pick(rows, where)[0]
        for row in rows[::-1]:
            if row[0] >= at:
                move = "UPDATE events SET position = ? WHERE partition = ? AND position = ?"
                database.run(move, row[0] + 1, partition, row[0])
        stored: Any = b"0123456789abcdef"
        stored = stored if database.is_sqlite else uuid.UUID(bytes=stored)
        database.run(
            "INSERT INTO events (partition, position, orchestration, version, topic, state, event_hash, log_hash) "
            "VALUES (?, ?, ?, 1, 'note.added', ?, ?, ?)",
            *(partition, at, stored, b"\x80", b"e" * 32, b"l" * 32),
        )
        findings = found(database)
        assert ("event_inserted", partition, at) in findings


@few
@given(partitions, anywhere, st.booleans())
def test_an_orchestration_removed(copies, partition, where, thorough):
    with copies() as database:
        rows = database.rows(partition)
        row = pick([each for each in rows if each[4]], where)
        [(public_id,)] = database.run(
            "SELECT public_id FROM status WHERE partition = ? AND orchestration = ?", partition, row[1]
        )
        for table in ("events", *(("status", "agenda", "snapshots") if thorough else ())):
            database.run(f"DELETE FROM {table} WHERE partition = ? AND orchestration = ?", partition, row[1])
        gone = [each[0] for each in rows if each[1] == row[1]]
        result = asyncio.run(database.verify())
        first = result["findings"][0]
        last = gone[-1] == len(rows)
        if gone[0] > len(database.rows(partition)):
            assert first["kind"] in {"tail_cut", "orchestration_missing"}
        else:
            assert (first["kind"], first["partition"], first["position"]) == (
                "orchestration_missing",
                partition,
                gone[0],
            )
        assert not last or any(each["kind"] == "tail_cut" for each in result["findings"])
        if not thorough:
            assert public_id in {each["orchestration"] for each in result["findings"]}


@few
@given(partitions, anywhere, st.booleans())
def test_an_archived_orchestration_removed_or_changed(copies, partition, where, removed):
    with copies() as database:
        archived = database.run("SELECT orchestration, public_id, content FROM archive WHERE partition = ?", partition)
        if not archived:
            return
        name, public_id, content = pick(archived, where)
        place = (partition, name)
        if removed:
            database.run("DELETE FROM archive WHERE partition = ? AND orchestration = ?", *place)
        else:
            broken = flipped(content, where)
            database.run("UPDATE archive SET content = ? WHERE partition = ? AND orchestration = ?", broken, *place)
        first = next(each[0] for each in database.rows(partition) if each[1] == name)
        result = asyncio.run(database.verify())
        kind = "archive_missing" if removed else "archive_changed"
        assert {(kind, partition)} == {each[:2] for each in kinds(result)}
        assert result["findings"][0]["position"] == first or not removed
        assert removed or {each["orchestration"] for each in result["findings"]} == {public_id}
        without = VerifyRequest(archive=False)
        assert found(database, without) == []


@few
@given(partitions, anywhere, st.booleans(), st.booleans())
def test_the_tail_cut_after_a_checkpoint(copies, partition, where, thorough, outside):
    with copies() as database:
        rows = database.rows(partition)
        row = pick(rows[:-1], where)
        kept = row[0]
        database.run("DELETE FROM events WHERE partition = ? AND position > ?", partition, kept)
        head = "UPDATE partitions SET head_position = ?, head_hash = ? WHERE partition = ?"
        database.run(head, kept, row[6], partition)
        request = None
        if thorough:  # everything in the database that knew of it
            database.run("UPDATE tracking SET position = ? WHERE partition = ?", kept, partition)
            database.run("DELETE FROM status WHERE partition = ?", partition)
            database.run("DELETE FROM archive WHERE partition = ?", partition)
        if outside:
            request = VerifyRequest(
                checkpoints=[shown(database_of(database), each) for each in checkpoints_of(database)]
            )
            database.run("DELETE FROM checkpoints WHERE partition = ?", partition)
        assert ("tail_cut", partition, kept + 1) in found(database, request)


def checkpoints_of(database: Database) -> list[CheckpointRecord]:
    rows = database.run("SELECT partition, position, log_hash, made_at, key_id, signature FROM checkpoints")
    return [
        CheckpointRecord(
            partition, position, log_hash, made_at if isinstance(made_at, datetime) else at(made_at), *signed
        )
        for partition, position, log_hash, made_at, *signed in rows
    ]


def at(microseconds: int) -> datetime:
    from adapters.sql.rows import as_instant

    return as_instant(microseconds).astimezone(UTC)


def database_of(database: Database) -> str:
    [(salt,)] = database.run("SELECT salt FROM settings")

    class NoChance:
        def random_bytes(self, count: int) -> bytes:
            raise AssertionError

    return fingerprint(Identity(salt, PARTITIONS, NoChance()).place_key())


@few
@given(partitions, anywhere, st.sampled_from(["log_hash", "signature", "made_at", "position", "resigned"]))
def test_a_checkpoint_altered(copies, partition, where, what):
    with copies() as database:
        record = pick([each for each in checkpoints_of(database) if each.partition == partition], where)
        place = (partition, record.position)
        if what == "resigned":
            signer = Ed25519Signer(read_private(OTHER_KEY))
            forged = CheckpointRecord(*place, b"x" * 32, record.made_at, signer.key_id, b"")
            signature = signer.sign(signed_text(database_of(database), forged))
            change = (
                "UPDATE checkpoints SET log_hash = ?, key_id = ?, signature = ? WHERE partition = ? AND position = ?"
            )
            database.run(change, forged.log_hash, forged.key_id, signature, *place)
        elif what in ("made_at", "position"):
            later = (
                "made_at = made_at + interval '1 second'" if not database.is_sqlite else "made_at = made_at + 1000000"
            )
            change = later if what == "made_at" else "position = position + 1"
            database.run(f"UPDATE checkpoints SET {change} WHERE partition = ? AND position = ?", *place)
        else:
            value = flipped(getattr(record, what), where)
            database.run(f"UPDATE checkpoints SET {what} = ? WHERE partition = ? AND position = ?", value, *place)
        altered = (partition, record.position + (what == "position"))
        assert found(database) == [("checkpoint_altered", *altered)]
        if what in ("log_hash", "resigned"):
            assert found(database, key=None) == [("checkpoint_altered", *altered)]


@few
@given(partitions)
def test_a_checkpoint_of_another_database(copies, partition):
    with copies() as database:
        signer = Ed25519Signer(read_private(OTHER_KEY))
        position = len(database.rows(partition))
        record = CheckpointRecord(
            partition, position - 1, b"x" * 32, datetime(2026, 1, 1, tzinfo=UTC), signer.key_id, b""
        )
        signature = signer.sign(signed_text("0" * 32, record))
        database.run(
            "INSERT INTO checkpoints (partition, position, log_hash, made_at, key_id, signature) VALUES (?, ?, ?, "
            + ("0" if database.is_sqlite else "now()")
            + ", ?, ?)",
            *(partition, record.position, record.log_hash, record.key_id, signature),
        )
        assert found(database, key=OTHER_KEY)[-1][0] == "checkpoint_altered"


@few
@given(partitions, anywhere)
def test_written_anew_with_hashes_that_fit(copies, partition, where):
    with copies() as database:
        rows = database.rows(partition)
        row = pick([each for each in rows if each[4]], where)
        rewrite(database, partition, rows, row[0])
        [(kind, place, position)] = found(database)
        assert (kind, place) == ("log_rewritten", partition)
        assert position <= row[0]
        assert found(database, VerifyRequest(archive=False), key=OTHER_KEY)[0][0] == "checkpoint_altered"
        database.run("DELETE FROM checkpoints")
        assert found(database) == [], "nothing but a checkpoint can tell"


def rewrite(database: Database, partition: int, rows: list[Any], at_: int) -> None:
    """Change an event, and every hash that follows from it, as somebody would who knows how they are made."""
    last: dict[Any, bytes] = {}
    chain = GENESIS
    for position, name, version, topic, state, _, _, state_hash in rows:
        state = state.replace(b"Faro", b"Fake") + (b"" if position != at_ else b"\xc0") if state else state  # noqa: PLW2901
        digest = state_hash or sha256(state).digest()
        identity = name if isinstance(name, bytes) else name.bytes
        place = PLACE(partition, position, identity, version)
        if position >= at_:
            last[name] = sha256(last.get(name, GENESIS) + place + topic.encode() + digest).digest()
            chain = sha256(chain + last[name]).digest()
            database.run(
                "UPDATE events SET state = ?, event_hash = ?, log_hash = ? WHERE partition = ? AND position = ?",
                *(state, last[name], chain, partition, position),
            )
        else:
            last[name], chain = next((each[5], each[6]) for each in rows if each[0] == position)
    database.run("UPDATE partitions SET head_hash = ? WHERE partition = ?", chain, partition)


@few
@given(partitions, st.sampled_from(["head_hash", "head_position"]))
def test_a_head_altered(copies, partition, column):
    with copies() as database:
        last = database.rows(partition)[-1][0]
        value = b"h" * 32 if column == "head_hash" else last + 3
        database.run(f"UPDATE partitions SET {column} = ? WHERE partition = ?", value, partition)
        assert found(database) == [("head_altered", partition, last)]


def test_the_row_of_a_partition_gone(copies):
    with copies() as database:
        last = database.rows(1)[-1][0]
        database.run("DELETE FROM partitions WHERE partition = 1")
        # Opening the database makes such a row again, as that of a partition without events.
        assert found(database)[0][0] in ("head_altered", "event_inserted")
        assert found(database)[0][2] <= last


@few
@given(partitions, anywhere)
def test_since_a_checkpoint_only_what_came_after_is_looked_at(copies, partition, where):
    with copies() as database:
        last = max(each.position for each in checkpoints_of(database) if each.partition == partition)
        middle = sorted(each.position for each in checkpoints_of(database) if each.partition == partition)[1]
        row = pick([each for each in database.rows(partition) if middle < each[0] <= last and each[4]], where)
        change = "UPDATE events SET state = ? WHERE partition = ? AND position = ?"
        database.run(change, flipped(row[4], where), partition, row[0])
        assert found(database, VerifyRequest(since=f"{partition}:{middle}")) == [("payload_changed", partition, row[0])]
        assert found(database, VerifyRequest(since="latest")) == []
