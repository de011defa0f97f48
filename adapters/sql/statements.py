"""Named SQL statements, kept in `.sql` files beside the adapter that runs them.

A file is a sequence of blocks, each opened by a line `-- name: some_name`; other comments are for people and are
dropped. A statement may hold the line `/* where */`: `text(name, "fragment", ...)` puts the named fragments there,
joined by AND. So a list with few filters stays a statement that an index can serve, and no SQL is written in Python.
A fragment that may be used several times in one statement numbers its parameters with `{n}`: it is asked for as
`("fragment", n)`.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

Fragment = str | tuple[str, int]

_NAME = re.compile(r"^-- name: (\w+)[ \t]*$", re.MULTILINE)
_COMMENT = re.compile(r"^\s*--.*\n?", re.MULTILINE)
_WHERE = "/* where */"


def parse(source: str) -> dict[str, str]:
    """Name -> statement. Raises ValueError when a name appears twice."""
    pieces = _NAME.split(source)
    found: dict[str, str] = {}
    for name, body in zip(pieces[1::2], pieces[2::2], strict=True):
        if name in found:
            raise ValueError(f"Two statements are named {name}.")
        found[name] = _COMMENT.sub("", body).strip().rstrip(";")
    return found


class Statements:
    """The statements of one package's `queries.sql`."""

    def __init__(self, package: str) -> None:
        self._named = parse(files(package).joinpath("queries.sql").read_text(encoding="utf-8"))
        # Few combinations of filters occur in a process, so the cache stays small.
        self.text = cache(self._text)

    def _text(self, name: str, *fragments: Fragment) -> str:
        statement = self._named[name]
        if _WHERE not in statement:
            return statement
        return statement.replace(_WHERE, "".join(f"\n  AND ({self._fragment(each)})" for each in fragments))

    def _fragment(self, fragment: Fragment) -> str:
        if isinstance(fragment, str):
            return self._named[fragment]
        name, number = fragment
        return self._named[name].replace("{n}", str(number))
