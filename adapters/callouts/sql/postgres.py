"""PostgreSQL as a target of ``call: sql``, through psycopg with placeholders of the server (``$1``)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg

from adapters.callouts.sql.drivers import Rows, Trouble, TroubleKind, one_line

_FETCHED = 200
_FETCH = f"FETCH {_FETCHED} FROM retrace_query"
_LOST = ("08", "57P", "58", "XX", "25P03")
_CONFLICT = ("40", "53", "55P03")


class PostgresDriver:
    """Implements `drivers.Driver`. A statement's time is also limited by the server."""

    create_ledger = (
        "CREATE TABLE IF NOT EXISTS retrace_calls (idempotency_key text PRIMARY KEY, result text NOT NULL, "
        "recorded_at timestamptz NOT NULL DEFAULT now())"
    )
    ledger_exists = "SELECT 1 WHERE to_regclass('retrace_calls') IS NOT NULL"
    claim = "INSERT INTO retrace_calls (idempotency_key, result) VALUES ($1, $2) ON CONFLICT DO NOTHING"
    recorded = "SELECT result FROM retrace_calls WHERE idempotency_key = $1"
    record = "UPDATE retrace_calls SET result = $1 WHERE idempotency_key = $2"

    def __init__(self, url: str) -> None:
        self._url = url

    def connect(self, timeout_s: float) -> Any:
        return psycopg.connect(
            self._url,
            autocommit=True,
            cursor_factory=psycopg.RawCursor,
            prepare_threshold=None,  # there may be a pooler in between
            connect_timeout=max(2, int(timeout_s)),
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=30_000,
            application_name="retrace call: sql",
        )

    def begin(self, connection: Any, timeout_s: float, *, reads: bool) -> None:
        limit_ms = max(1, int(timeout_s * 1000))
        connection.execute(
            f"BEGIN ISOLATION LEVEL READ COMMITTED {'READ ONLY' if reads else 'READ WRITE'}; "
            f"SET LOCAL statement_timeout = {limit_ms}; "
            f"SET LOCAL idle_in_transaction_session_timeout = {limit_ms + 10_000}"
        )

    def execute(self, connection: Any, text: str, values: Sequence[Any], *, reads: bool) -> Rows:
        if reads:
            connection.execute(f"DECLARE retrace_query NO SCROLL CURSOR FOR {text}", values)
            cursor = connection.execute(_FETCH)
            return Rows([each.name for each in cursor.description], _fetched(connection, cursor), 0)
        cursor = connection.cursor()
        cursor.execute(text, values)
        columns = None if cursor.description is None else [each.name for each in cursor.description]
        return Rows(columns, iter(()) if columns is None else iter(cursor), max(cursor.rowcount, 0))

    def commit(self, connection: Any) -> None:
        connection.execute("COMMIT")

    def rollback(self, connection: Any) -> None:
        connection.execute("ROLLBACK")

    def close(self, connection: Any) -> None:
        connection.close()

    def interrupt(self, connection: Any) -> None:
        with contextlib.suppress(psycopg.Error):
            connection.cancel_safe(timeout=2.0)

    def placeholder(self, number: int) -> str:
        return f"${number}"

    def escape(self, text: str) -> str:
        return text

    def commits_by_itself(self, keyword: str) -> bool:
        return False

    def explain(self, problem: Exception) -> Trouble | None:
        if not isinstance(problem, psycopg.Error):
            return None
        state = problem.sqlstate
        message = one_line(problem.diag.message_primary or str(problem))
        kind: TroubleKind = "refused"
        if state is None:
            is_gone = isinstance(problem, psycopg.OperationalError | psycopg.InterfaceError)
            return Trouble("lost" if is_gone else "refused", message)
        if state.startswith("23"):
            kind = "constraint"
        elif state == "57014":
            kind = "timeout"
        elif state == "40003" or state.startswith(_LOST):
            kind = "lost"
        elif state.startswith(_CONFLICT):
            kind = "conflict"
        return Trouble(kind, message, state, problem.diag.constraint_name)


def _fetched(connection: Any, cursor: Any) -> Iterator[Sequence[Any]]:
    """Through a cursor of the server, so that a table without end does not have to fit anywhere."""
    while cursor.rowcount:
        yield from cursor
        cursor = connection.execute(_FETCH)
