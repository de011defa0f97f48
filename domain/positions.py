"""Places of a definition by name: what stays the same of a task when others are added before it or around it.

The JSON Pointer of a task has indices of lists in it (``/do/2/book/do/0/hotel``). Its *path* leaves them out, and its *short*
name says only what a person would: ``book/hotel``, ``book/catch/apologize``, ``hotel/compensate``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

Path = tuple[str, ...]

_LISTS: Final = frozenset({"do", "try", "branches"})
"""Members whose value is a list of named tasks."""
_UNSAID: Final = frozenset({"do", "try", "fork", "branches", "foreach"})


def tokens(pointer: str) -> list[str]:
    """The tokens of a JSON Pointer, unescaped."""
    return [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]


def name_at(pointer: str) -> str:
    """The name of the task at a pointer: its last token."""
    return tokens(pointer)[-1]


def _parts(pointer: str) -> Iterator[tuple[str, bool]]:
    """(token, whether it is the name of a task or a function), without indices of lists."""
    given = iter(tokens(pointer))
    for member in given:
        yield member, False
        if member in _LISTS:
            next(given, None)
        if member in _LISTS or member == "call":
            yield from ((name, True) for name in (next(given, None),) if name is not None)


def path(pointer: str) -> Path:
    """The tokens without indices of lists."""
    return tuple(token for token, _ in _parts(pointer))


def short(pointer: str) -> str:
    """What a person would call the task."""
    return "/".join(token for token, named in _parts(pointer) if named or token not in _UNSAID)


def by_path(pointers: Iterable[str]) -> dict[Path, str]:
    """Path -> pointer."""
    return {path(pointer): pointer for pointer in pointers}
