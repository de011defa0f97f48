"""What the databases of ``call: sql`` have in common: a port with one implementation for each.

Everything is synchronous and runs on a thread of the connection's pool; only `interrupt` is called from elsewhere. A driver
raises its library's own errors and explains them with `explain`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, Protocol

import msgspec

TroubleKind = Literal["lost", "timeout", "conflict", "constraint", "refused"]


class Trouble(msgspec.Struct, frozen=True):
    """What an error of a database means.

    ``lost``: the connection, or the server behind it, is gone. ``timeout``: it was stopped because it took too long.
    ``conflict``: it may succeed when tried again (deadlock, serialization, locks). ``constraint``: the data does not allow
    it. ``refused``: the statement is at fault.
    """

    kind: TroubleKind
    message: str
    sqlstate: str | None = None
    constraint: str | None = None


class Rows(msgspec.Struct):
    """What a statement gave: columns and rows where it gives any, and how many it touched."""

    columns: list[str] | None
    rows: Iterator[Sequence[Any]]
    affected: int


class Driver(Protocol):
    """One kind of database. `connection` is the library's own object."""

    create_ledger: str
    """Makes the table of calls unless it exists."""
    ledger_exists: str
    """Gives one row when the table exists."""
    claim: str
    """Takes a key (placeholders: key, result) or touches no row; waits for one who is about to take it."""
    recorded: str
    """Gives the result of a key (placeholder: key), as it is committed now."""
    record: str
    """Puts the result of a key that was claimed (placeholders: result, key)."""

    def connect(self, timeout_s: float) -> Any:
        """A new connection."""
        ...

    def begin(self, connection: Any, timeout_s: float, *, reads: bool) -> None:
        """Begin a transaction, read-only when it `reads`; no statement of it may take longer than `timeout_s`."""
        ...

    def execute(self, connection: Any, text: str, values: Sequence[Any], *, reads: bool) -> Rows:
        """Execute one statement in the form that `placeholder` and `escape` give; `reads`: rows come as they are taken."""
        ...

    def commit(self, connection: Any) -> None: ...

    def rollback(self, connection: Any) -> None: ...

    def close(self, connection: Any) -> None: ...

    def interrupt(self, connection: Any) -> None:
        """Stop what the connection is doing, from another thread; the connection is not used afterwards."""
        ...

    def placeholder(self, number: int) -> str: ...

    def escape(self, text: str) -> str: ...

    def commits_by_itself(self, keyword: str) -> bool:
        """Whether a statement that begins with this word takes effect before the commit."""
        ...

    def explain(self, problem: Exception) -> Trouble | None:
        """What the error means; None when it is none of the library's."""
        ...


def one_line(text: str) -> str:
    """An error's text as faults carry it."""
    return " ".join(text.split())[:1000].encode("utf-8", "replace").decode()
