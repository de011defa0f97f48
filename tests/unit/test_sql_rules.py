"""Our SQL keeps to the rules that let it run on one PostgreSQL, several, or one distributed by partition."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from adapters.sql.statements import Statements, parse

ADAPTERS = Path(__file__).parents[2] / "adapters"
DIALECTS = ("sqlite", "postgres")
UNPARTITIONED = {"settings", "definitions", "resources", "nodes"}
"""Tables that are few rows each and the same everywhere."""
ONE_DATABASE_ONLY = {"tell"}
"""Statements that only PostgreSQL has: a hint that may be lost."""
NO_TABLE = {"tell", "database_time", "fence"}
FRAGMENTS = re.compile(r"^(SELECT|INSERT|UPDATE|DELETE)\b")


def without_comments(source: str) -> str:
    return re.sub(r"--.*", "", source)


def migrations(dialect: str) -> str:
    files = sorted((ADAPTERS / dialect / "migrations").glob("*.sql"))
    assert files
    return without_comments("\n".join(file.read_text() for file in files))


def statements(dialect: str) -> dict[str, str]:
    found = parse((ADAPTERS / dialect / "queries.sql").read_text())
    assert len(found) > 50
    return found


@pytest.fixture(params=DIALECTS)
def dialect(request):
    return request.param


@pytest.mark.parametrize(
    "forbidden",
    [
        r"\bLOCK\s+TABLE\b",
        r"\bTRIGGER\b",
        r"\bSEQUENCE\b|\b(BIG|SMALL)?SERIAL\b|\bIDENTITY\b|\bAUTOINCREMENT\b|\bnextval\b",
        r"\bNOTIFY\b|\bLISTEN\b",  # but for the hint, whose function has another name
        r"\badvisory",
        r"\bTRUNCATE\b",
        r"\bREFERENCES\b",
    ],
)
def test_what_would_not_scale_or_distribute_is_not_used(dialect, forbidden):
    sql = migrations(dialect) + "\n".join(statements(dialect).values())
    assert re.search(forbidden, sql, re.IGNORECASE) is None


def tables(sql: str) -> dict[str, str]:
    return dict(re.findall(r"CREATE TABLE (\w+) \((.*?)\n\)", sql, re.DOTALL))


def test_the_partition_leads_every_primary_key(dialect):
    partitioned = {name: body for name, body in tables(migrations(dialect)).items() if name not in UNPARTITIONED}
    assert len(partitioned) >= 10
    for name, body in partitioned.items():
        assert re.search(r"PRIMARY KEY \(partition\b|\n    partition\s+\w+\s+PRIMARY KEY", body), name


def test_the_partition_leads_every_index(dialect):
    indexes = re.findall(r"CREATE (?:UNIQUE )?INDEX (\w+) ON (\w+) \((\w+)", migrations(dialect))
    assert len(indexes) >= 8
    for index, table, first in indexes:
        assert first == "partition" or table in UNPARTITIONED, index


def test_every_statement_names_the_partition(dialect):
    for name, statement in statements(dialect).items():
        if not FRAGMENTS.match(statement) or name in NO_TABLE:
            continue
        used = set(re.findall(r"\b(?:FROM|INTO|UPDATE|JOIN)\s+(\w+)", statement)) & set(tables(migrations(dialect)))
        assert used, name
        if used - UNPARTITIONED:
            assert re.search(r"\bpartition\b", statement), name


def test_rows_are_locked_one_partition_at_a_time():
    locking = {name: each for name, each in statements("postgres").items() if re.search(r"FOR (UPDATE|SHARE)", each)}
    assert set(locking) == {"head", "lock_partition", "resource_owner"}
    assert "partition = %(partition)s" in locking["head"]


def test_both_databases_have_the_same_tables_columns_and_indexes():
    def shape(dialect):
        sql = migrations(dialect)
        columns = {name: re.findall(r"\n    ([a-z]\w+) ", body) for name, body in tables(sql).items()}
        return columns, re.findall(r"INDEX (\w+) ON (\w+) \(([^)]*)\)", sql)

    assert shape("sqlite") == shape("postgres")


def test_both_databases_have_the_same_statements():
    assert list(statements("sqlite")) == [name for name in statements("postgres") if name not in ONE_DATABASE_ONLY]


def test_migrations_are_numbered_without_gaps(dialect):
    files = sorted(path.name for path in (ADAPTERS / dialect / "migrations").glob("*.sql"))
    assert [name[:4] for name in files] == [f"{number:04}" for number in range(1, len(files) + 1)]


def test_a_name_is_given_once():
    with pytest.raises(ValueError, match="Two statements"):
        parse("-- name: a\nSELECT 1;\n-- name: a\nSELECT 2;")


def test_fragments_are_put_where_the_statement_wants_them():
    text = Statements("adapters.sqlite").text("list_status", "status_name", ("status_tag", 0), ("status_tag", 1))
    assert "AND (name = :name)" in text
    assert ":tag_key_0" in text
    assert ":tag_value_1" in text
    assert "{n}" not in text
    assert "/* where */" not in text
    assert "--" not in text
