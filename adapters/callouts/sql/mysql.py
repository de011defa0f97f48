"""MySQL and MariaDB as targets of ``call: sql``, through PyMySQL (the extra ``retrace[mysql]``).

What InnoDB does not roll back takes effect at once: statements that change the schema, and every table of another engine.
The former are known by their first word; the latter are the operator's to avoid.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

import pymysql
from pymysql.constants import CLIENT
from pymysql.cursors import SSCursor

from adapters.callouts.sql.drivers import Rows, Trouble, TroubleKind, one_line

_IN_TRANSACTIONS = frozenset({"DELETE", "INSERT", "REPLACE", "SELECT", "SHOW", "TABLE", "UPDATE", "VALUES", "WITH"})
_LOST = frozenset(
    {0, 1040, 1053, 1077, 1079, 1129, 1152, 1159, 1161, 1184, 1927, 2002, 2003, 2006, 2013, 2014, 2055, 4031}
)
_TIMEOUT = frozenset({1317, 1969, 3024})
_CHECKS = frozenset({3819, 4025})
_CONFLICT = {1205: "HY000", 1213: "40001", 1614: "40001"}
_STATES = {1064: "42000", 1146: "42S02", 1054: "42S22", 1142: "42000", 1264: "22003", 1406: "22001", 1792: "25006"}


class MysqlDriver:
    """Implements `drivers.Driver`. Affected rows are those that were found, as in the other databases."""

    create_ledger = (
        "CREATE TABLE IF NOT EXISTS retrace_calls (idempotency_key varchar(255) CHARACTER SET ascii COLLATE ascii_bin "
        "PRIMARY KEY, result longtext NOT NULL, recorded_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP) ENGINE = InnoDB"
    )
    ledger_exists = (
        "SELECT 1 FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = 'retrace_calls'"
    )
    claim = "INSERT IGNORE INTO retrace_calls (idempotency_key, result) VALUES (%s, %s)"
    recorded = "SELECT result FROM retrace_calls WHERE idempotency_key = %s LOCK IN SHARE MODE"
    record = "UPDATE retrace_calls SET result = %s WHERE idempotency_key = %s"

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)

    def connect(self, timeout_s: float) -> Any:
        parts = self._parts
        return pymysql.connect(
            host=parts.hostname or "localhost",
            port=parts.port or 3306,
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            database=unquote(parts.path.strip("/")),
            charset="utf8mb4",
            connect_timeout=min(max(1, int(timeout_s)), 3600),
            client_flag=CLIENT.FOUND_ROWS,
            autocommit=True,
        )

    def begin(self, connection: Any, timeout_s: float, *, reads: bool) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SET SESSION innodb_lock_wait_timeout = {max(1, int(timeout_s))}")
            cursor.execute(f"START TRANSACTION {'READ ONLY' if reads else 'READ WRITE'}")

    def execute(self, connection: Any, text: str, values: Sequence[Any], *, reads: bool) -> Rows:
        cursor = connection.cursor(SSCursor) if reads else connection.cursor()
        cursor.execute(text, tuple(values))
        columns = [each[0] for each in cursor.description] if cursor.description else None
        return Rows(columns, iter(()) if columns is None else iter(cursor), 0 if reads else max(cursor.rowcount, 0))

    def commit(self, connection: Any) -> None:
        connection.query("COMMIT")

    def rollback(self, connection: Any) -> None:
        connection.query("ROLLBACK")

    def close(self, connection: Any) -> None:
        # A result that was not read to its end would be, by a polite end; there is no public way to leave without that.
        unread, connection._result = connection._result, None  # noqa: SLF001
        if unread is not None:
            unread.unbuffered_active = False
        connection._force_close()  # noqa: SLF001

    def interrupt(self, connection: Any) -> None:
        with contextlib.suppress(pymysql.Error, OSError):
            other = self.connect(2.0)
            try:
                other.query(f"KILL CONNECTION {int(connection.thread_id())}")
            finally:
                other.close()

    def placeholder(self, number: int) -> str:
        return "%s"

    def escape(self, text: str) -> str:
        return text.replace("%", "%%")

    def commits_by_itself(self, keyword: str) -> bool:
        return keyword not in _IN_TRANSACTIONS

    def explain(self, problem: Exception) -> Trouble | None:
        if not isinstance(problem, pymysql.Error):
            return Trouble("lost", one_line(str(problem))) if isinstance(problem, OSError) else None
        code = problem.args[0] if problem.args and isinstance(problem.args[0], int) else -1
        message = one_line(str(problem.args[-1])) if problem.args else type(problem).__name__
        kind: TroubleKind = "refused"
        if code in _LOST or isinstance(problem, pymysql.InterfaceError):
            return Trouble("lost", message, "08S01")
        if code in _TIMEOUT:
            kind = "timeout"
        elif code in _CONFLICT:
            return Trouble("conflict", message, _CONFLICT[code])
        elif isinstance(problem, pymysql.IntegrityError) or code in _CHECKS:
            return Trouble("constraint", message, "23000")
        return Trouble(kind, message, _STATES.get(code, "HY000"))
