"""Small changes share a commit: what arrives while the writer is busy goes into its next transaction.

The registers and views commit one row or a few at a time; a commit of its own for each would hold up the log behind
as many syncs of the disk. Each change runs inside a savepoint, so one that fails does not fail its neighbours; only
when the commit itself fails is everyone told that nothing is known.

The changes of a transaction hold their locks to its end, and other processes do the same: so those that lock rows which other
processes lock too say which (`order`), and within a transaction run in that order, or two would wait for each other.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from adapters.sql.database import Order, Transaction
from adapters.sql.threads import C, Threads, unusable

Result = TypeVar("Result")

_MOST_TOGETHER = 64
_Change = tuple[Callable[[Transaction], Any], Future[Any], Order]
_Outcome = tuple[Any, BaseException | None]


class Changes(Generic[C]):
    """Queues changes for the writer's thread."""

    def __init__(
        self,
        threads: Threads[C],
        *,
        begin: str,
        execute: Callable[[C, str], object],
        transaction: Callable[[C], Transaction],
        errors: tuple[type[Exception], ...],
    ) -> None:
        self._threads = threads
        self._begin = begin
        self._execute = execute
        self._transaction = transaction
        self._errors = errors
        self._waiting: deque[_Change] = deque()

    async def change(self, work: Callable[[Transaction], Result], order: Order = ()) -> Result:
        done: Future[Result] = Future()
        self._waiting.append((work, done, order))
        # One turn of the writer per change: the first takes all that wait, the others find nothing left.
        self._threads.on_writer(self._turn)
        return await asyncio.wrap_future(done)

    def _turn(self) -> None:
        batch = self._take()
        if not batch:
            return
        try:
            outcomes = self._threads.write_here(lambda connection: self._commit(connection, batch))
        except BaseException as error:  # noqa: BLE001 - every waiter must hear of it
            outcomes = [(None, error)] * len(batch)
        for (_, done, _), (result, problem) in zip(batch, outcomes, strict=True):
            if problem is None:
                done.set_result(result)
            else:
                done.set_exception(problem)

    def _take(self) -> list[_Change]:
        batch: list[_Change] = []
        while self._waiting and len(batch) < _MOST_TOGETHER:
            change = self._waiting.popleft()
            if change[1].set_running_or_notify_cancel():
                batch.append(change)
        batch.sort(key=_order)
        return batch

    def _commit(self, connection: C, batch: list[_Change]) -> list[_Outcome]:
        self._execute(connection, self._begin)
        outcomes = [self._attempt(connection, work) for work, _, _ in batch]
        self._execute(connection, "COMMIT")
        return outcomes

    def _attempt(self, connection: C, work: Callable[[Transaction], Any]) -> _Outcome:
        self._execute(connection, "SAVEPOINT change")
        try:
            result = work(self._transaction(connection))
        except Exception as error:  # noqa: BLE001 - whatever it is, it concerns this change alone
            self._execute(connection, "ROLLBACK TO SAVEPOINT change")
            return None, unusable(error) if isinstance(error, self._errors) else error
        self._execute(connection, "RELEASE SAVEPOINT change")
        return result, None


def _order(change: _Change) -> Order:
    return change[2]
