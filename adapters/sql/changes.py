"""Small changes share a commit: what arrives while the writer is busy goes into its next transaction.

The registers and views commit one row or a few at a time; a commit of its own for each would hold up the log behind
as many syncs of the disk. Each change runs inside a savepoint, so one that fails does not fail its neighbours; only
when the commit itself fails is everyone told that nothing is known.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from adapters.sql.database import Transaction
from adapters.sql.threads import C, Threads, unusable

Result = TypeVar("Result")

_MOST_TOGETHER = 64


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
        self._waiting: deque[tuple[Callable[[Transaction], Any], Future[Any]]] = deque()

    async def change(self, work: Callable[[Transaction], Result]) -> Result:
        done: Future[Result] = Future()
        self._waiting.append((work, done))
        # One turn of the writer per change: the first takes all that wait, the others find nothing left.
        self._threads.submit(self._commit_waiting)
        return await asyncio.wrap_future(done)

    def _commit_waiting(self, connection: C) -> None:
        batch = self._take()
        if not batch:
            return
        try:
            self._execute(connection, self._begin)
            outcomes = [self._attempt(connection, work) for work, _ in batch]
            self._execute(connection, "COMMIT")
        except BaseException as error:
            failure = unusable(error) if isinstance(error, self._errors) else error
            for _, done in batch:
                done.set_exception(failure)
            raise
        for (_, done), (result, problem) in zip(batch, outcomes, strict=True):
            if problem is None:
                done.set_result(result)
            else:
                done.set_exception(problem)

    def _take(self) -> list[tuple[Callable[[Transaction], Any], Future[Any]]]:
        batch: list[tuple[Callable[[Transaction], Any], Future[Any]]] = []
        while self._waiting and len(batch) < _MOST_TOGETHER:
            work, done = self._waiting.popleft()
            if done.set_running_or_notify_cancel():
                batch.append((work, done))
        return batch

    def _attempt(self, connection: C, work: Callable[[Transaction], Any]) -> tuple[Any, Exception | None]:
        self._execute(connection, "SAVEPOINT change")
        try:
            result = work(self._transaction(connection))
        except Exception as error:  # noqa: BLE001 - whatever it is, it concerns this change alone
            self._execute(connection, "ROLLBACK TO SAVEPOINT change")
            return None, unusable(error) if isinstance(error, self._errors) else error
        self._execute(connection, "RELEASE SAVEPOINT change")
        return result, None
