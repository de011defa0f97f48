"""Hides secrets by value, in whatever form a participant gives them back.

Besides the text itself: percent-encoded and as a form writes it, in a JSON string, in hexadecimal and in base64, also
where it stands inside a longer text that was encoded as a whole (``user:password`` of basic authentication). Base64 of a
part depends on where the part begins, so there are three forms, each without the characters that depend on neighbours.
Which characters of a URL are percent-encoded every client decides for itself, so there each may be or not.

Longest first, so that no part of a longer one survives. Texts under 4 characters are left alone: replacing them would
shred innocent values and hides nothing worth hiding; encoded forms need 6, and inside a longer text 8.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import unquote_to_bytes

MASK = "***"
_SHORTEST = 4
_SHORTEST_ENCODED = 6
_SHORTEST_WITHIN = 8
_OCTET = re.compile(rb"%[0-9A-Fa-f]{2}|.", re.DOTALL)
"""One octet of what a URL stands for."""


class Redaction:
    """The texts that nobody may see; more may be added at any time, none are forgotten."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._forms: tuple[str, ...] = ()
        self._pattern: re.Pattern[str] | None = None
        self._in_urls: tuple[bytes, ...] = ()
        self.add(texts)

    def add(self, texts: Iterable[str]) -> None:
        """Hide these from now on."""
        hidden = [text for text in texts if len(text) >= _SHORTEST]
        self._in_urls = tuple(
            sorted({*self._in_urls, *(_spaced(_octets(text)) for text in hidden)}, key=len, reverse=True)
        )
        known = {*self._forms, *(form for text in hidden for form in forms(text))}
        if len(known) == len(self._forms):
            return
        self._forms = tuple(sorted(known, key=lambda form: (-len(form), form)))
        self._pattern = re.compile("|".join(map(re.escape, self._forms)))

    def apply(self, value: Any) -> Any:
        """The JSON value with every one of them replaced, in members' names too."""
        return value if self._pattern is None else self._applied(value, self._pattern)

    def _applied(self, value: Any, pattern: re.Pattern[str]) -> Any:
        if isinstance(value, str):
            value = self._applied_to_urls(value)
            # A search for each is far quicker than the pattern, and nearly always finds nothing.
            return pattern.sub(MASK, value) if any(form in value for form in self._forms) else value
        if isinstance(value, dict):
            return {self._applied(name, pattern): self._applied(each, pattern) for name, each in value.items()}
        if isinstance(value, list):
            return [self._applied(each, pattern) for each in value]
        return value

    def _applied_to_urls(self, value: str) -> str:
        """The text without those that a URL or a form in it may hold; first, so that no part of a longer one survives."""
        if "%" not in value and "+" not in value:
            return value
        whole = _octets(value)
        unquoted = _spaced(unquote_to_bytes(whole))
        if not (found := [each for each in self._in_urls if each in unquoted]):
            return value
        places = [*(each.start() for each in _OCTET.finditer(whole)), len(whole)]
        pieces, done = [], 0
        for each in re.finditer(b"|".join(map(re.escape, found)), unquoted):
            pieces.append(whole[done : places[each.start()]])
            done = places[each.end()]
        return MASK.join(piece.decode("utf-8", "surrogatepass") for piece in (*pieces, whole[done:]))


def forms(text: str) -> set[str]:
    """Everything that a secret may look like, outside URLs."""
    octets = _octets(text)
    encoded = {
        octets.hex(),
        octets.hex().upper(),
        *(whole.decode().rstrip("=") for whole in (b64encode(octets), urlsafe_b64encode(octets))),
        *_within_base64(octets),
    }
    return {text, repr(text)[1:-1], *_in_json(text)} | {form for form in encoded if len(form) >= _SHORTEST_ENCODED}


def _in_json(text: str) -> Iterator[str]:
    for ascii_ in (True, False):
        plain = json.dumps(text, ensure_ascii=ascii_)[1:-1]
        for form in (plain, re.sub("[<>&]", lambda found: f"\\u{ord(found[0]):04x}", plain)):
            for slashed in (form, form.replace("/", r"\/")):
                yield slashed
                yield re.sub(r"\\u[0-9a-f]{4}", lambda found: "\\u" + found[0][2:].upper(), slashed)


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _spaced(octets: bytes) -> bytes:
    """A plus in a URL or a form may be a space: which of the two it is, only its author knows."""
    return octets.replace(b"+", b" ")


def _within_base64(octets: bytes) -> Iterator[str]:
    for before in range(3):
        # The first characters depend on what stands before, the last on what follows.
        first = (before * 8 + 5) // 6
        last = (before + len(octets)) * 8 // 6
        for whole in (b64encode(bytes(before) + octets), urlsafe_b64encode(bytes(before) + octets)):
            if last - first >= _SHORTEST_WITHIN:
                yield whole[first:last].decode()
