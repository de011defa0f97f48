"""Ids in base 62: they look like no database's, and go into every URL as they are."""

from __future__ import annotations

from typing import Final

DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PAIRS: Final = tuple(first + second for second in DIGITS for first in DIGITS)


def base62(data: bytes) -> str:
    """22 characters that stand for the first 16 bytes and a little more, the lowest digit first."""
    number = int.from_bytes(data[:17], "big")
    pairs = []
    for _ in range(11):
        number, rest = divmod(number, 3844)
        pairs.append(_PAIRS[rest])
    return "".join(pairs)
