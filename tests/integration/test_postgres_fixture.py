"""The PostgreSQL that tests work on: a supported version, and a database of its own for each test."""

from __future__ import annotations

import psycopg
import pytest


def test_it_is_a_postgres_that_retrace_supports(fresh_postgres):
    with psycopg.connect(fresh_postgres) as connection:
        assert connection.info.server_version >= 150000


@pytest.mark.parametrize("turn", [1, 2])
@pytest.mark.parametrize("kind", ["fresh_postgres", "empty_postgres"])
def test_every_test_begins_with_a_database_of_its_own(request, kind, turn):
    with psycopg.connect(request.getfixturevalue(kind)) as connection:
        connection.execute("CREATE TABLE left_over (turn int)")
        connection.execute("INSERT INTO left_over VALUES (%s)", [turn])
        assert connection.execute("SELECT turn FROM left_over").fetchall() == [(turn,)]
