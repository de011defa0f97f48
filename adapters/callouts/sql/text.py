"""The text of a statement: which placeholders it has, and how a database wants them.

A definition writes ``:name`` (with an object of parameters) or ``?`` (with a list); nothing else of a value ever becomes
text. Literals, quoted names, comments, dollar quotes and ``::`` casts are left alone. One text is one statement, and none
that would end the transaction, which is the task's, or change the session, which others use after it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

_TOKEN = re.compile(
    r"""
      (?P<comment> --[^\n]* | /\*.*?(?:\*/|\Z) )
    | (?P<quoted> [eE]'(?:[^'\\]|''|\\.)*' | '(?:[^']|'')*' | "(?:[^"]|"")*" | `[^`]*`
                | (?P<tag>\$(?:[A-Za-z_]\w*)?\$).*?(?P=tag) )
    | (?P<cast> ::)
    | :(?P<name>[A-Za-z_]\w*)
    | (?P<mark> \?)
    | (?P<end> ;)
    | (?P<word> \w+)
    """,
    re.DOTALL | re.VERBOSE,
)
_TRANSACTION = ("ABORT", "BEGIN", "COMMIT", "END", "PREPARE", "RELEASE", "ROLLBACK", "SAVEPOINT", "START", "XA")
_SESSION = ("DEALLOCATE", "DECLARE", "DISCARD", "EXECUTE", "LISTEN", "PRAGMA", "RESET", "SET", "UNLOCK", "USE")
_FILES = ("ATTACH", "DETACH", "VACUUM")
_NOT_OURS = frozenset((*_TRANSACTION, *_SESSION, *_FILES))


class SqlTextError(ValueError):
    """The text cannot be used, or does not go with its parameters; the message says why."""


class Statement(msgspec.Struct, frozen=True):
    """A text that was looked through: `pieces` are (kind, text), kind one of text, name, mark."""

    pieces: tuple[tuple[str, str], ...]
    keyword: str
    """The first word, in upper case."""

    @property
    def names(self) -> list[str]:
        """Names of its placeholders, in order, repeated ones too."""
        return [text for kind, text in self.pieces if kind == "name"]

    @property
    def marks(self) -> int:
        """How many ``?`` it has."""
        return sum(kind == "mark" for kind, _ in self.pieces)


def read(text: str) -> Statement:
    """Look through a text. Raises SqlTextError."""
    pieces: list[tuple[str, str]] = []
    keyword, at, ended = "", 0, False
    for token in _TOKEN.finditer(text):
        between = text[at : token.start()]
        at = token.end()
        kind = str(token.lastgroup if token["tag"] is None else "quoted")
        if ended and (between.strip() or kind != "comment"):
            raise SqlTextError("a text is one statement; write several as a list under execute")
        keyword = keyword or (token[0].upper() if kind == "word" else "")
        ended = ended or kind == "end"
        pieces.append(("text", between))
        pieces.append((kind, token[kind]) if kind in ("name", "mark") else ("text", "" if ended else token[0]))
    if ended and text[at:].strip():
        raise SqlTextError("a text is one statement; write several as a list under execute")
    pieces.append(("text", text[at:]))
    if not keyword:
        raise SqlTextError("the text has no statement")
    if keyword in _NOT_OURS:
        raise SqlTextError(f"{keyword} cannot be sent: the transaction and the session belong to Retrace")
    return Statement(tuple(pieces), keyword)


def check(statement: Statement, parameters: Any) -> None:
    """Whether the parameters (an object, a list, or None) go with the statement. Raises SqlTextError."""
    if isinstance(parameters, list):
        if len(parameters) != statement.marks:
            raise SqlTextError(f"the statement has {statement.marks} ?, and there are {len(parameters)} parameters")
        return
    given = parameters or {}
    if not isinstance(given, dict):
        raise SqlTextError("parameters must be an object (for :name) or a list (for ?)")
    if missing := [name for name in statement.names if name not in given]:
        raise SqlTextError(f"the parameter {missing[0]!r} is missing")
    if unused := given.keys() - set(statement.names):
        raise SqlTextError(f"no :{min(unused)} in the statement takes the parameter {min(unused)!r}")


def bind(
    statement: Statement, parameters: Any, placeholder: Callable[[int], str], escape: Callable[[str], str]
) -> tuple[str, list[Any]]:
    """The text as a database wants it, and the values of its placeholders in order.

    Args:
        statement: what `read` gave.
        parameters: an object, a list, or None; with a list ``?`` are the placeholders, else ``:name``.
        placeholder: writes the placeholder of a number, from 1.
        escape: what all other text needs.

    Raises:
        SqlTextError: parameters and placeholders do not go together.
    """
    check(statement, parameters)
    by_place = isinstance(parameters, list)
    written: list[str] = []
    values: list[Any] = []
    for kind, text in statement.pieces:
        if kind == "mark" and by_place:
            values.append(parameters[len(values)])
        elif kind == "name" and not by_place:
            values.append(parameters[text])
        else:
            written.append(escape(f":{text}" if kind == "name" else text))
            continue
        written.append(placeholder(len(values)))
    return "".join(written), values
