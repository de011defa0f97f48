"""What the shared ports ask of a SQL database: statements by name, one writer, readers beside it.

Parameters and rows carry UUIDs, aware datetimes, text, bytes, integers and None; a row may come back in the
database's own types, which `rows.py` turns back. All writing happens on one thread and connection per process, so a
process never waits for itself; reading happens on a few others. Every failure of the database arrives as
StorageError, after which the connection it happened on is gone and the next call makes a new one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from adapters.sql.statements import Fragment

Row = tuple[Any, ...]
Params = Mapping[str, Any]
Result = TypeVar("Result")
Order = tuple[Any, ...]
"""Where a change stands among those of its transaction. The first member says what it locks, so that the others compare."""
TASK_ROWS, FUNCTION_ROWS = 1, 2
"""Attempts of remote workers by their key, then functions by name: whoever claims takes rows of attempts as well, but passes
over those that are locked.
"""


class Fence(msgspec.Struct, frozen=True):
    """Moves a partition's head, if its epoch and head are still these."""

    partition: int
    epoch: int
    position: int
    until: int
    until_hash: bytes


class Transaction(Protocol):
    """A transaction on the writer's thread; it commits when the function it was given to returns."""

    def run(self, name: str, params: Params) -> list[Row]:
        """Run one statement; its rows, if it returns any."""
        ...

    def each(self, name: str, rows: Sequence[Row]) -> None:
        """Run one statement for each of the rows, as one or few calls. Positional parameters."""
        ...

    def perform(self, statement: str, params: Params) -> list[Row]:
        """The same as `run` for a statement that was made (`projection_tables.py`)."""
        ...

    def perform_each(self, statement: str, rows: Sequence[Row]) -> None:
        """The same as `each` for a statement that was made."""
        ...


class Database(Protocol):
    """One database. `partitions` is known once it is open."""

    partitions: int

    async def open(self, lease_s: float) -> None:
        """Connect and migrate. Idempotent."""
        ...

    async def close(self) -> None: ...

    async def commit(self, fences: Sequence[Fence], changes: Sequence[tuple[str, Sequence[Row]]]) -> bool:
        """One transaction: every fence in the order given, then `each` of the changes. False when a fence did not hold;
        then nothing was done.
        """
        ...

    async def change(self, work: Callable[[Transaction], Result], order: Order = ()) -> Result:
        """Run `work` in a transaction of its own on the writer's thread; it must touch nothing else. An exception rolls
        its changes back. `order`: where it stands among others that may share the transaction (`changes.py`).
        """
        ...

    async def reshape(self, work: Callable[[Transaction], Result]) -> Result:
        """Run `work`, which makes and drops tables, in a transaction of its own that holds up nobody: it gives up, with
        StorageError, where it would have to wait for long. An exception rolls its changes back.
        """
        ...

    async def read(self, name: str, params: Params, *where: Fragment) -> list[Row]: ...

    async def select(self, statement: str, params: Params) -> list[Row]:
        """The same for a statement that was made (`projection_tables.py`)."""
        ...

    def read_now(self, name: str, params: Params, *where: Fragment) -> list[Row]:
        """The same on the calling thread, for callers that have no event loop."""
        ...

    async def across(
        self,
        name: str,
        params: Params,
        *where: Fragment,
        order: Callable[[Row], Any],
        limit: int,
        partitions: Sequence[int] | None = None,
    ) -> list[Row]:
        """The first `limit` rows over these partitions (None: all) in this order, from one index range per partition."""
        ...

    async def lease(self, work: Callable[[Transaction], Result]) -> Result:
        """Run `work` beside the writer, each of its statements in a transaction of its own: a hot path that hangs must not
        hold up the leases.
        """
        ...
