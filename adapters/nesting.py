"""How deep JSON nests, counted in its text: the same on every Python.

That a parser gave up is no measure: C code of Python 3.11 stops before a thousand levels, that of later versions after many
thousands. What walks a value in Python still has a thousand frames, and jq and PostgreSQL have limits of their own.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Final

DEEPEST: Final = 256
"""Levels of a value from outside: an answer, the result of an expression."""

_OPENING, _CLOSING = b"[{", b"]}"
_STEPS = bytes.maketrans(_OPENING + _CLOSING, b"\x01\x01\xff\xff")  # one up, one down
_ANYTHING_ELSE = bytes(set(range(256)) - set(_OPENING + _CLOSING))


def is_deeper(text: bytes, most: int = DEEPEST) -> bool:
    """Whether JSON in UTF-8 nests more than `most` levels. Linear; of a text with few brackets they are only counted."""
    if text.count(b"{") + text.count(b"[") <= most:
        return False
    without_escapes = text.replace(rb"\\", b"").replace(rb"\"", b"")
    outside_of_strings = b"".join(without_escapes.split(b'"')[::2])
    steps = outside_of_strings.translate(_STEPS, _ANYTHING_ELSE)
    return any(map(most.__lt__, accumulate(memoryview(steps).cast("b"))))
