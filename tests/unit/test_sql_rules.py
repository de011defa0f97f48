"""Our SQL keeps to the rules that let it run on one PostgreSQL, several, or one distributed by partition."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from adapters.sql.statements import Statements, parse

ADAPTERS = Path(__file__).parents[2] / "adapters"
DIALECTS = ("sqlite", "postgres")
UNPARTITIONED = {"settings", "definitions", "resources", "nodes", "operations", "projections", "functions"}
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


def used_tables(statement: str) -> set[str]:
    names = set(re.findall(r"\b(?:FROM|INTO|UPDATE|JOIN|USING)\s+(\w+)", statement))
    return names & set(tables(migrations("postgres")))


def test_every_statement_names_the_partition(dialect):
    for name, statement in statements(dialect).items():
        if not FRAGMENTS.match(statement) or name in NO_TABLE:
            continue
        used = used_tables(statement)
        assert used, name
        if used - UNPARTITIONED:
            assert re.search(r"\bpartition\b", statement), name


def test_rows_are_locked_one_partition_at_a_time():
    locking = {name: each for name, each in statements("postgres").items() if re.search(r"FOR (UPDATE|SHARE)", each)}
    assert set(locking) == {"head", "lock_partition", "resource_owner", "choose_tasks"}
    for name, statement in locking.items():
        assert "partition = %(partition)s" in statement or set(used_tables(statement)) <= UNPARTITIONED, name


def changes_of_partitioned_tables() -> dict[str, str]:
    return {
        name: statement
        for name, statement in statements("postgres").items()
        if (found := re.match(r"(?:INSERT INTO|UPDATE|DELETE FROM) (\w+)", statement))
        and found.group(1) not in UNPARTITIONED
    }


def test_a_change_of_rows_says_in_which_partition_they_are():
    """By a condition on the partition, or by a partition among the values: so each row is sought in one place."""
    changes = changes_of_partitioned_tables()
    assert len(changes) > 25
    for name, statement in changes.items():
        inserted = re.match(r"INSERT INTO \w+(?: AS \w+)?\s*\(partition,", statement)
        sought = re.search(r"\bpartition = (%\(partition\)s|%s|\w+\.partition)", statement)
        assert inserted or sought, name


def test_the_partition_of_a_row_never_changes():
    for name, statement in changes_of_partitioned_tables().items():
        for assigned in re.findall(r"\bSET (.*?)(?:\bWHERE\b|\bFROM\b|\bRETURNING\b|$)", statement, re.DOTALL):
            assert not re.search(r"(^|,)\s*partition =", assigned), name


@pytest.mark.parametrize("volatile", ["clock_timestamp", "random", "gen_random_uuid", "timeofday", "nextval"])
def test_changes_of_partitioned_tables_use_no_volatile_function(volatile):
    for name, statement in changes_of_partitioned_tables().items():
        assert f"{volatile}(" not in statement, name


def test_no_statement_changes_rows_inside_another():
    for name, statement in statements("postgres").items():
        assert not re.search(r"\bWITH\b", statement), name
        assert len(re.findall(r"\b(?:INSERT INTO|DELETE FROM)\b|^UPDATE\b", statement)) <= 1, name


def test_what_reads_over_partitions_starts_from_the_table_of_partitions():
    """A distributed database pushes a limit inside LATERAL down only along the column that both sides are distributed by."""
    lateral = {name: each for name, each in statements("postgres").items() if "LATERAL" in each}
    assert len(lateral) >= 5
    for name, statement in lateral.items():
        assert re.search(r"FROM partitions AS p\nCROSS JOIN LATERAL", statement), name
        assert re.search(r"\b\w\.partition = p\.partition\b", statement), name


def test_hints_are_told_and_heard_in_one_place():
    """LISTEN and NOTIFY reach one PostgreSQL only, so nothing but a wake-up may come of them."""
    users = {
        path.name
        for path in ADAPTERS.rglob("*.py")
        if "callouts" not in path.parts  # these speak to databases of users
        and re.search(r"\bLISTEN\b|\bnotifies\b|pg_notify", without_docstrings(path.read_text()))
    }
    assert users == {"signals.py"}
    assert [name for name, each in statements("postgres").items() if "pg_notify" in each] == ["tell"]


def without_docstrings(source: str) -> str:
    return re.sub(r'""".*?"""', "", source, flags=re.DOTALL)


def test_every_table_is_in_the_instructions_for_a_distributed_database():
    page = (ADAPTERS.parent / "docs" / "operations" / "scale-out.md").read_text()
    distributed = re.findall(r"create_distributed_table\('(\w+)', 'partition'", page)
    references = re.findall(r"create_reference_table\('(\w+)'", page)
    assert distributed[0] == "partitions", "the others are placed beside it"
    assert sorted(distributed) == sorted(set(tables(migrations("postgres"))) - UNPARTITIONED)
    assert sorted(references) == sorted(UNPARTITIONED)


def test_both_databases_have_the_same_tables_columns_and_indexes():
    def shape(dialect):
        sql = migrations(dialect)
        columns = {name: re.findall(r"\n    ([a-z]\w+) ", body) for name, body in tables(sql).items()}
        for table, column in re.findall(r"ALTER TABLE (\w+) ADD COLUMN (\w+)", sql):
            columns[table].append(column)
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


def test_the_tables_of_projections_keep_to_the_rules_too():
    """Their partition leads the key, and every statement names it."""
    templates = {each: parse((ADAPTERS / each / "projections.sql").read_text()) for each in DIALECTS}
    assert list(templates["sqlite"]) == list(templates["postgres"])
    for found in templates.values():
        assert "PRIMARY KEY (partition, {key})" in found["create_table"]
        for name in ("put", "drop", "rows", "page"):
            assert re.search(r"\bpartition\b", found[name]), name
