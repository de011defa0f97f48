"""JSON Pointers, and where in a text the value behind one stands.

A reader of YAML or JSON builds a tree of marks beside the value; a place is looked up only when a problem has to be
shown, so that a document without problems pays nothing for it. Lines and columns count from 1. A member of an object
stands where its name stands, an item of a list where it begins; what an alias repeats stands where it was written.
"""

from __future__ import annotations


class Mark:
    """Where one value was written, how many values it holds and how deep it nests."""

    __slots__ = ("children", "column", "depth", "line", "size")

    def __init__(self, line: int, column: int) -> None:
        self.line = line
        self.column = column
        self.size = 1
        self.depth = 0
        self.children: dict[str | int, tuple[int, int, Mark]] | None = None


def escape(step: str | int) -> str:
    """One reference token of a JSON Pointer (RFC 6901)."""
    text = str(step)
    return text.replace("~", "~0").replace("/", "~1") if "~" in text or "/" in text else text


def join(pointer: str, *steps: str | int) -> str:
    """The pointer of something inside what `pointer` names."""
    return "".join((pointer, *("/" + escape(step) for step in steps)))


def split(pointer: str) -> list[str]:
    """The unescaped tokens of a JSON Pointer."""
    return [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]


def locate(root: Mark | None, pointer: str) -> tuple[int, int]:
    """Line and column of a pointer, or of its nearest ancestor that exists."""
    if root is None:
        return 1, 1
    mark, place = root, (root.line, root.column)
    for token in split(pointer):
        children = mark.children or {}
        entry = children.get(token)
        if entry is None and token.isdecimal():
            entry = children.get(int(token))
        if entry is None:
            break
        place, mark = entry[:2], entry[2]
    return place
