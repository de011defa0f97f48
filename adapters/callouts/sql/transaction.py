"""One attempt: statements in one transaction, on a thread, and how far it came.

A transaction gives a better answer than "it was sent, so nobody knows": until ``COMMIT`` leaves, nothing has taken effect and
nothing will, whatever breaks. `Commitment` guards that line between the thread and whoever waits for it: one of them comes
first, and after the waiting one has called it off, the thread does not commit.

==================================================  ============
error or end of time before the commit              definitely not done
the commit is answered                              done
the commit is refused                               definitely not done
the connection is lost, or time ends, while it is
being committed                                     uncertain
==================================================  ============
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import msgspec

from adapters.callouts.sql.drivers import Driver, Trouble
from adapters.callouts.sql.text import Statement, bind
from adapters.callouts.sql.values import to_json, to_parameter
from adapters.nesting import DEEPEST, is_deeper

_TOO_DEEP = f"a row is nested deeper than {DEEPEST} levels"


class CalledOff(Exception):
    """Whoever waited has given up; the transaction was rolled back."""


class RefusedError(Exception):
    """The transaction was rolled back for a reason of ours: `slug` names the kind of error."""

    def __init__(self, slug: str, detail: str) -> None:
        self.slug = slug
        self.detail = detail
        super().__init__(detail)


class InDoubtError(Exception):
    """The commit was sent, and nobody knows what became of it."""

    def __init__(self, trouble: Trouble) -> None:
        self.trouble = trouble
        super().__init__(trouble.message)


class Commitment:
    """Who comes first: the thread to its commit, or the one who waits to the end of their patience."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._committing = False
        self._called_off = False
        self._stop: Callable[[], None] | None = None

    def attach(self, stop: Callable[[], None]) -> None:
        """From now on `stop` interrupts the connection. Raises CalledOff."""
        with self._lock:
            self._stop = stop
            if self._called_off:
                raise CalledOff

    def detach(self) -> None:
        """The connection is about to go away; waits for one who interrupts it."""
        with self._lock:
            self._stop = None

    def begin(self) -> None:
        """The commit is about to leave. Raises CalledOff."""
        with self._lock:
            if self._called_off:
                raise CalledOff
            self._committing = True

    def call_off(self) -> bool:
        """True: nothing will be committed. False: it is being committed, and nobody knows."""
        with self._lock:
            if not self._committing:
                self._called_off = True
            return self._called_off

    @property
    def called_off(self) -> bool:
        return self._called_off

    def interrupt(self) -> None:
        """Stop the connection. Blocks for a while: call it from a thread of its own."""
        with self._lock, contextlib.suppress(Exception):
            if self._stop is not None:
                self._stop()


class Bounds(msgspec.Struct, frozen=True):
    """The most that one task may read."""

    rows: int = 1000
    size_bytes: int = 1 << 20


class Step(msgspec.Struct, frozen=True):
    """One statement with its parameters; `expect` is how many rows it must touch (or give)."""

    statement: Statement
    parameters: Any = None
    expect: int | None = None


class Execution:
    """Runs the steps of one transaction on one connection and counts what is read."""

    def __init__(self, driver: Driver, connection: Any, commitment: Commitment, bounds: Bounds) -> None:
        self._driver = driver
        self._connection = connection
        self._commitment = commitment
        self._bounds = bounds
        self._bytes = 0

    def run(self, step: Step, *, reads: bool) -> dict[str, Any]:
        """The output of one step. Raises RefusedError, SqlTextError, CalledOff, or what the library raises."""
        if self._commitment.called_off:
            raise CalledOff
        if self._driver.commits_by_itself(step.statement.keyword):
            self._commitment.begin()
        text, values = bind(step.statement, step.parameters, self._driver.placeholder, self._driver.escape)
        given = self._driver.execute(self._connection, text, [to_parameter(each) for each in values], reads=reads)
        output: dict[str, Any] = {} if reads else {"affected": given.affected}
        if given.columns is not None:
            try:
                output |= {"columns": given.columns, "rows": self._rows(given.columns, given.rows)}
            except RecursionError:
                raise RefusedError("sql-too-large", _TOO_DEEP) from None
        elif reads:
            raise RefusedError("sql", "a query gives rows; use execute for what gives none")
        touched = len(output["rows"]) if reads else given.affected
        if step.expect is not None and touched != step.expect:
            raise RefusedError("unexpected-rows", f"the statement met {touched} rows, and {step.expect} were expected")
        return output

    def _rows(self, columns: list[str], rows: Any) -> list[dict[str, Any]]:
        if len(set(columns)) < len(columns):
            twice = next(name for name in columns if columns.count(name) > 1)
            raise RefusedError("sql", f"two columns are named {twice!r}; name them apart with AS")
        taken: list[dict[str, Any]] = []
        for row in rows:
            if len(taken) == self._bounds.rows:
                raise RefusedError(
                    "sql-too-large", f"more than {self._bounds.rows} rows; ask for less, e.g. with LIMIT"
                )
            taken.append({name: to_json(value) for name, value in zip(columns, row, strict=True)})
            text = msgspec.json.encode(taken[-1])
            if is_deeper(text):
                raise RefusedError("sql-too-large", _TOO_DEEP)
            self._bytes += len(text)
            if self._bytes > self._bounds.size_bytes:
                raise RefusedError("sql-too-large", f"more than {self._bounds.size_bytes} bytes; ask for less")
        return taken

    def ask(self, text: str, *values: Any) -> tuple[list[Any], int]:
        """First row (empty: none) and touched rows of a statement of ours."""
        given = self._driver.execute(self._connection, text, values, reads=False)
        return list(next(given.rows, ())), given.affected

    def commit(self) -> None:
        """Raises CalledOff, InDoubtError, or what the library raises when the commit was refused."""
        self._commitment.begin()
        try:
            self._driver.commit(self._connection)
        except Exception as problem:
            trouble = self._driver.explain(problem)
            if trouble is not None and trouble.kind != "lost":
                raise  # refused, e.g. by a deferred constraint
            raise InDoubtError(trouble or Trouble("lost", type(problem).__name__)) from problem
