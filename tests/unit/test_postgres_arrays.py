"""Packed columns are what the driver itself would send."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.adapt import PyFormat, Transformer

from adapters.postgres.arrays import columns

small = st.integers(-(2**15), 2**15 - 1)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "smallint": small,
    "boolean": st.booleans(),
    "text": st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    "bytea": st.binary(max_size=300),
    "uuid": st.uuids(),
    "timestamptz": st.datetimes(
        datetime(1900, 1, 1),  # noqa: DTZ001 - the zone is drawn
        datetime(2200, 1, 1),  # noqa: DTZ001
        timezones=st.just(UTC),
    ),
}
NULLABLE = ("boolean", "text", "bytea", "timestamptz")


def by_the_driver(values: list[Any]) -> bytes:
    dumper = Transformer().get_dumper(values, PyFormat.BINARY)
    return bytes(dumper.dump(values) or b"")


@pytest.mark.parametrize("kind", VALUES)
@given(data=st.data())
def test_a_column_is_packed_as_the_driver_packs_it(kind, data):
    element = VALUES[kind] | st.none() if kind in NULLABLE else VALUES[kind]
    values = data.draw(
        st.lists(element, min_size=1, max_size=20).filter(lambda found: any(v is not None for v in found))
    )
    [packed] = columns(f"SELECT %b::{kind}[]", [(value,) for value in values])
    assert packed == by_the_driver(values)


@pytest.mark.parametrize(("kind", "large"), [("smallint", 2**15), ("integer", 2**31), ("bigint", 2**63)])
def test_a_number_that_is_too_large_is_an_error(kind, large):
    with pytest.raises(OverflowError):
        columns(f"%b::{kind}[]", [(1,), (large,)])
    columns(f"%b::{kind}[]", [(1,), (large - 1,)])


def test_a_server_reads_what_was_packed(postgres_url):
    kinds = ("smallint", "integer", "bigint", "boolean", "text", "bytea", "uuid", "timestamptz")
    now = datetime(2030, 5, 17, 12, 0, 0, 123456, tzinfo=UTC)
    from uuid import UUID

    from adapters.postgres.arrays import register

    rows = [
        (1, 2, 3, True, "ä", b"\x00\xff", UUID(int=7), now),
        (-1, -(2**31), 2**62, None, None, None, UUID(int=8), None),
    ]
    statement = "SELECT * FROM unnest(" + ", ".join(f"%b::{kind}[]" for kind in kinds) + ")"
    with psycopg.connect(postgres_url) as connection:
        register(connection)
        connection.execute("SET TimeZone TO 'UTC'")
        assert connection.execute(statement.encode(), columns(statement, rows)).fetchall() == rows
