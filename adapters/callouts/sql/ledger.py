"""Exactly once: the key of a call and its result are written in the transaction of the call itself.

A repeat under the same key (after a crash, a lost answer, by another node at the same time) finds the row and answers the
recorded result; two at the same time wait for each other at the primary key. What was rolled back left no row and is done
anew.

An undo also takes the key of the call that it undoes. Either that is recorded, so it happened; or from now on it cannot
happen any more, however late an attempt of it comes: it meets the row and is refused. So with ``only_if_recorded`` an undo of
an uncertain call undoes just what was done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from adapters.callouts.sql.drivers import Driver
from adapters.callouts.sql.transaction import Execution, RefusedError

VOID = "void"
"""Instead of a result: the call was undone before it came."""
_PENDING = "pending"


class Ledger:
    """The table of calls, within one transaction."""

    def __init__(self, execution: Execution, driver: Driver) -> None:
        self._execution = execution
        self._driver = driver

    def exists(self) -> bool:
        """Whether the database has the table."""
        return bool(self._execution.ask(self._driver.ledger_exists)[0])

    def once(self, key: str, undoes: str | None, work: Callable[[bool], dict[str, Any]]) -> dict[str, Any]:
        """The recorded result of `key`, or that of `work`, which is recorded.

        Args:
            key: of this call.
            undoes: key of the call that this one undoes.
            work: does it; told whether the call that it undoes is recorded (False without one).

        Raises:
            RefusedError: the call was undone before it came.
        """
        if not self._claimed(key, _PENDING):
            result = self._recorded(key)
            if result in (VOID, _PENDING):
                raise RefusedError("undone-before", "the call came after its undo, and was not made")
            recorded: dict[str, Any] = msgspec.json.decode(result)
            return recorded
        happened = undoes is not None and not self._claimed(undoes, VOID) and self._recorded(undoes) != VOID
        output = work(happened)
        self._execution.ask(self._driver.record, msgspec.json.encode(output).decode(), key)
        return output

    def _claimed(self, key: str, result: str) -> bool:
        return self._execution.ask(self._driver.claim, key, result)[1] == 1

    def _recorded(self, key: str) -> str:
        row, _ = self._execution.ask(self._driver.recorded, key)
        return str(row[0]) if row else VOID
