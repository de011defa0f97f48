"""SQLite as a target of ``call: sql``: a file on the machine of the service."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from adapters.callouts.sql.drivers import Rows, Trouble, one_line

_STATES = {275: "23514", 787: "23503", 1299: "23502", 1555: "23505", 2067: "23505", 2579: "23505"}
"""Extended codes of constraints -> SQLSTATE."""
_LOST = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_CONFLICT = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL})


class SqliteDriver:
    """Implements `drivers.Driver`. Writers come one after the other: a transaction that writes begins as a writer."""

    create_ledger = (
        "CREATE TABLE IF NOT EXISTS retrace_calls (idempotency_key TEXT PRIMARY KEY, result TEXT NOT NULL, "
        "recorded_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)"
    )
    ledger_exists = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'retrace_calls'"
    claim = "INSERT INTO retrace_calls (idempotency_key, result) VALUES (?, ?) ON CONFLICT DO NOTHING"
    recorded = "SELECT result FROM retrace_calls WHERE idempotency_key = ?"
    record = "UPDATE retrace_calls SET result = ? WHERE idempotency_key = ?"

    def __init__(self, url: str) -> None:
        self._path = unquote(urlsplit(url).path)[1:]

    def connect(self, timeout_s: float) -> Any:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=timeout_s)
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    def begin(self, connection: Any, timeout_s: float, *, reads: bool) -> None:
        connection.execute(f"PRAGMA busy_timeout = {max(1, int(timeout_s * 1000))}")
        connection.execute(f"PRAGMA query_only = {'ON' if reads else 'OFF'}")
        connection.execute("BEGIN" if reads else "BEGIN IMMEDIATE")

    def execute(self, connection: Any, text: str, values: Sequence[Any], *, reads: bool) -> Rows:
        cursor = connection.execute(text, values)
        if cursor.description is None:
            return Rows(None, iter(()), max(cursor.rowcount, 0))
        columns = [each[0] for each in cursor.description]
        if reads:
            return Rows(columns, cursor, 0)
        rows = cursor.fetchall()  # how many were touched is only known after the last one
        return Rows(columns, iter(rows), max(cursor.rowcount, 0))

    def commit(self, connection: Any) -> None:
        connection.execute("COMMIT")

    def rollback(self, connection: Any) -> None:
        if connection.in_transaction:
            connection.execute("ROLLBACK")

    def close(self, connection: Any) -> None:
        connection.close()

    def interrupt(self, connection: Any) -> None:
        with contextlib.suppress(sqlite3.Error):
            connection.interrupt()

    def placeholder(self, number: int) -> str:
        return "?"

    def escape(self, text: str) -> str:
        return text

    def commits_by_itself(self, keyword: str) -> bool:
        return False

    def explain(self, problem: Exception) -> Trouble | None:
        if isinstance(problem, OverflowError):
            return Trouble("refused", "an integer does not fit into 64 bits", "22003")
        if not isinstance(problem, sqlite3.Error):
            return None
        code = getattr(problem, "sqlite_errorcode", None)
        message = one_line(str(problem))
        if code is None:
            return Trouble("refused", message, "HY000")
        if code & 0xFF == sqlite3.SQLITE_CONSTRAINT:
            return Trouble("constraint", message, _STATES.get(code, "23000"))
        if code & 0xFF == sqlite3.SQLITE_INTERRUPT:
            return Trouble("timeout", message, "57014")
        if code & 0xFF in _CONFLICT:
            return Trouble("conflict", message, "40001")
        return Trouble("lost" if code & 0xFF in _LOST else "refused", message, "HY000")
