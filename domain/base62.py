"""Ids in base 62: they look like no database's, and go into every URL as they are."""

from __future__ import annotations

from typing import Final

DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
LENGTH: Final = 22
_DIGIT_OF_A_BYTE: Final = bytes(ord(DIGITS[byte % 62]) for byte in range(256))


def base62(data: bytes) -> str:
    """22 characters, one for each of the first 22 bytes, of which there must be as many. Random bytes give 131 bits: some
    digits stand for five bytes and others for four, which costs a tenth of a bit in all.
    """
    if len(data) < LENGTH:
        raise ValueError(f"{len(data)} bytes are too few for an id")
    return data[:LENGTH].translate(_DIGIT_OF_A_BYTE).decode("ascii")
