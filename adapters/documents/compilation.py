"""What one compilation carries along: what the document gives names to, how many tasks it has, and where we are.

A task is addressed by its JSON Pointer. Only inside a function of ``use.functions``, which is compiled anew for each
of its callers, address and pointer differ: problems are told at the function, nodes live under the caller.
`Surroundings` keeps that difference, and what the tasks around allow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from adapters.documents.data import Secrecy
from adapters.documents.reader import Cursor, Log
from adapters.documents.reusables import Reusables
from domain.plan import END, EXIT, Retry, Scope

MAX_TASKS = 10_000
"""Nodes of a plan; functions count once per caller."""
MAX_NESTING = 48
"""Scopes inside scopes. A document of 100 levels stays below; functions that call functions may not."""


class TooManyTasksError(Exception):
    """The plan has more than `MAX_TASKS` nodes; nothing more is compiled."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where a task list stands, and what may be in it."""

    origin: str = ""
    address: str = ""
    within: str | None = None
    """Why a pivot is refused here, e.g. ``a fork``."""
    undo: bool = False
    functions: tuple[str, ...] = ()
    depth: int = 0

    def at(self, pointer: str) -> str:
        """The address of what stands at `pointer` of the document."""
        return self.address + pointer[len(self.origin) :] if self.functions else pointer

    def inside(self, what: str | None = None) -> Surroundings:
        """One scope deeper; `what` names a surrounding in which there can be no pivot."""
        return replace(self, depth=self.depth + 1, within=self.within or what)

    def undoing(self) -> Surroundings:
        """Inside a compensation."""
        return replace(self, depth=self.depth + 1, within=self.within or "a compensation", undo=True)

    def calling(self, name: str, origin: str, address: str) -> Surroundings:
        """Inside the function `name`."""
        functions = (*self.functions, name)
        return replace(self, origin=origin, address=address, functions=functions, depth=self.depth + 1)


@dataclass(frozen=True, slots=True)
class Siblings:
    """Where the tasks of one list are, and which comes next."""

    addresses: dict[str, str] = field(default_factory=dict)
    next: str = EXIT

    def directive(self, cursor: Cursor, around: Surroundings) -> str:
        """Where a flow directive leads: an address, EXIT or END."""
        name = cursor.text("continue, exit, end, or the name of a task")
        if name in ("", "continue"):
            return self.next
        if name == "exit":
            return EXIT
        if name == "end":
            if around.undo:
                cursor.refuse("a compensation cannot end the orchestration; use exit", "unsupported")
            return END
        if name not in self.addresses:
            known = ", ".join(list(self.addresses)[:10])
            detail = f"there is no task {name!r} in this list" + (f"; there are {known}" if known else "")
            cursor.refuse(detail, "unknown-then")
            return EXIT
        return self.addresses[name]


class Compilation:
    """The state of compiling one document."""

    def __init__(
        self,
        log: Log,
        secrecy: Secrecy,
        use: Reusables,
        undo_retry: Retry,
        *,
        task_list: Callable[[Cursor, Surroundings, Compilation], Scope],
        single: Callable[[Cursor, str, Surroundings, Compilation], Scope],
    ) -> None:
        self.log = log
        self.secrecy = secrecy
        self.use = use
        self.undo_retry = undo_retry
        self._tasks = 0
        self._task_list = task_list
        self._single = single

    def scope(self, cursor: Cursor, around: Surroundings) -> Scope:
        """A task list as a scope."""
        return self._task_list(cursor, around, self)

    def single(self, cursor: Cursor, name: str, around: Surroundings) -> Scope:
        """One task as a scope of its own, at the address of the pointer's parent."""
        return self._single(cursor, name, around, self)

    def count(self) -> None:
        """Count one more task.

        Raises:
            TooManyTasksError: this one is beyond the limit.
        """
        self._tasks += 1
        if self._tasks > MAX_TASKS:
            raise TooManyTasksError


@dataclass(frozen=True, slots=True)
class Task:
    """One task being compiled: where it stands, its members, and what is around it."""

    cursor: Cursor
    members: dict[str, Cursor]
    around: Surroundings
    making: Compilation
    siblings: Siblings
