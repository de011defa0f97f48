"""``use``: what a document gives names to. Everything is checked here, whether it is used or not.

Functions are the exception: they are compiled where they are called (and once more for themselves when nobody calls
them), because each call has nodes of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeVar

from adapters.documents import policies
from adapters.documents.authentication import policy
from adapters.documents.data import Secrecy
from adapters.documents.reader import Cursor
from domain.plan import Duration, Retry, Template

BUILT_IN = frozenset({"http", "openapi", "sql", "grpc", "asyncapi", "a2a", "mcp"})
T = TypeVar("T")


class Reusables:
    """The named parts of one document, and how a reference to one is resolved."""

    def __init__(self, use: dict[str, Cursor], secrecy: Secrecy) -> None:
        self.secrecy = secrecy
        self._timeouts = self._compiled(use.get("timeouts"), policies.timeout)
        self._errors = self._compiled(use.get("errors"), policies.error)
        self._authentications = self._compiled(use.get("authentications"), lambda cursor: policy(cursor, secrecy))
        self._retries = dict(use["retries"].entries()) if "retries" in use else {}
        for cursor in self._retries.values():
            policies.retry(cursor, "caught")
        self.functions = dict(use["functions"].entries()) if "functions" in use else {}
        for name, cursor in self.functions.items():
            if name in BUILT_IN:
                cursor.refuse(f"{name!r} is a call of its own; give the function another name")
        self.called: set[str] = set()

    def timeout(self, cursor: Cursor) -> Duration:
        """A timeout, or the name of one."""
        if isinstance(cursor.value, str):
            return self._named(cursor, self._timeouts, "use.timeouts", Duration())
        return policies.timeout(cursor)

    def error(self, cursor: Cursor) -> Template:
        """An error, or the name of one."""
        if isinstance(cursor.value, str):
            return self._named(cursor, self._errors, "use.errors", Template())
        return policies.error(cursor)

    def retry(self, cursor: Cursor, on: Literal["caught", "transient", "doubt"]) -> Retry:
        """A retry policy, or the name of one."""
        if isinstance(cursor.value, str):
            nothing = Cursor({}, cursor.pointer, cursor.log)
            return policies.retry(self._named(cursor, self._retries, "use.retries", nothing), on)
        return policies.retry(cursor, on)

    def authentication(self, cursor: Cursor) -> Template:
        """An authentication policy, or ``{use: name}``."""
        if isinstance(cursor.value, dict) and "use" in cursor.value:
            return self._named(
                cursor.members(("use",))["use"], self._authentications, "use.authentications", Template()
            )
        return policy(cursor, self.secrecy)

    @staticmethod
    def _compiled(cursor: Cursor | None, compiled: Callable[[Cursor], T]) -> dict[str, T]:
        return {name: compiled(entry) for name, entry in cursor.entries()} if cursor else {}

    @staticmethod
    def _named(cursor: Cursor, table: dict[str, T], where: str, otherwise: T) -> T:
        name = cursor.text("a name")
        if name and name not in table:
            cursor.refuse(f"there is no {name!r} in {where}", "unknown-reference")
        return table.get(name, otherwise)


def secrecy_of(use: dict[str, Cursor]) -> Secrecy:
    """The secrets that the document declares."""
    names = [item.text("the name of a secret") for item in use["secrets"].items()] if "secrets" in use else []
    return Secrecy(frozenset(name for name in names if name))
