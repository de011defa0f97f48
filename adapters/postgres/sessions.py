"""What every session with PostgreSQL has in common.

A session that hangs must not hold a partition's row longer than a lease can bear: statements, idle transactions and
dead links all end below half a lease, and so does the wait for an answer on a link that looks alive, which nothing else
would ever end when a connection pooler hangs. The settings are made by a statement after connecting, not by the
`options` of the URL, which poolers refuse.
"""

from __future__ import annotations

from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from adapters.postgres.arrays import register

_SETTINGS = b"""SELECT
    set_config('statement_timeout', %(timeout_ms)s, false),
    set_config('idle_in_transaction_session_timeout', %(timeout_ms)s, false),
    set_config('synchronous_commit', 'on', false),
    set_config('TimeZone', 'UTC', false),
    set_config('application_name', 'retrace', false)"""

_PARTS_OF_A_LEASE = 0.4
_PATIENCE_OF_A_LEASE = 0.5
"""A little more, so that a server that is merely slow can say so itself."""
_LOOKS_EVERY_S = 0.1

Answer = TypeVar("Answer")


class Session(psycopg.Connection):
    """A connection that is closed when the server says nothing for `patience_s`: what was asked may have happened."""

    patience_s: float = 5.0

    def wait(self, gen: PQGen[Answer], interval: float = _LOOKS_EVERY_S, timeout: float | None = None) -> Answer:
        """Raises psycopg.OperationalError after `patience_s`, like a link that broke."""
        try:
            return super().wait(gen, interval, self.patience_s if timeout is None else timeout)
        except psycopg.errors._WaitTimeout:  # noqa: SLF001 - an OperationalError that has no public name
            self.close()
            raise


class Sessions:
    """Opens sessions with one database."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._conninfo = url
        self._timeout_ms = 4000
        self.lease_s = 10.0

    @property
    def lease_s(self) -> float:
        """How long a partition is ours; sessions opened from now on keep below it."""
        return self._lease_s

    @lease_s.setter
    def lease_s(self, lease_s: float) -> None:
        self._lease_s = lease_s
        bound_s = lease_s * _PARTS_OF_A_LEASE
        self._timeout_ms = max(1, int(bound_s * 1000))
        probes = max(1, int(bound_s / 2))
        parameters: dict[str, Any] = {
            "connect_timeout": max(2, int(bound_s)),
            "keepalives": 1,
            "keepalives_idle": probes,
            "keepalives_interval": 1,
            "keepalives_count": probes,
            "tcp_user_timeout": self._timeout_ms,
        }
        # What the URL says wins: its author knows the network.
        parameters.update(conninfo_to_dict(self._url))
        self._conninfo = make_conninfo(**parameters)

    def connect(self) -> Session:
        """A session in autocommit: transactions are begun by name."""
        connection = Session.connect(self._conninfo, autocommit=True)
        connection.patience_s = self._lease_s * _PATIENCE_OF_A_LEASE
        register(connection)
        try:
            connection.execute(_SETTINGS, {"timeout_ms": str(self._timeout_ms)})
        except BaseException:
            connection.close()
            raise
        return connection
