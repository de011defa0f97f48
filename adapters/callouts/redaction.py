"""Hides secrets by value, in whatever form a participant gives them back.

Besides the text itself: percent-encoded and as a form writes it, in a JSON string, in hexadecimal and in base64, also
where it stands inside a longer text that was encoded as a whole (``user:password`` of basic authentication). Base64 of a
part depends on where the part begins, so there are three forms, each without the characters that depend on neighbours.

Longest first, so that no part of a longer one survives. Texts under 4 characters are left alone: replacing them would
shred innocent values and hides nothing worth hiding; encoded forms need 6, and inside a longer text 8.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote, quote_plus

MASK = "***"
_SHORTEST = 4
_SHORTEST_ENCODED = 6
_SHORTEST_WITHIN = 8


class Redaction:
    """The texts that nobody may see; more may be added at any time, none are forgotten."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._forms: tuple[str, ...] = ()
        self._pattern: re.Pattern[str] | None = None
        self.add(texts)

    def add(self, texts: Iterable[str]) -> None:
        """Hide these from now on."""
        known = {*self._forms, *(form for text in texts if len(text) >= _SHORTEST for form in forms(text))}
        if len(known) == len(self._forms):
            return
        self._forms = tuple(sorted(known, key=lambda form: (-len(form), form)))
        self._pattern = re.compile("|".join(map(re.escape, self._forms)))

    def apply(self, value: Any) -> Any:
        """The JSON value with every one of them replaced, in members' names too."""
        return value if self._pattern is None else self._applied(value, self._pattern)

    def _applied(self, value: Any, pattern: re.Pattern[str]) -> Any:
        if isinstance(value, str):
            # A search for each is far quicker than the pattern, and nearly always finds nothing.
            return pattern.sub(MASK, value) if any(form in value for form in self._forms) else value
        if isinstance(value, dict):
            return {self._applied(name, pattern): self._applied(each, pattern) for name, each in value.items()}
        if isinstance(value, list):
            return [self._applied(each, pattern) for each in value]
        return value


def forms(text: str) -> set[str]:
    """Everything that a secret may look like."""
    octets = text.encode("utf-8", "surrogatepass")
    encoded = {
        octets.hex(),
        octets.hex().upper(),
        *(whole.decode().rstrip("=") for whole in (b64encode(octets), urlsafe_b64encode(octets))),
        *_within_base64(octets),
    }
    written = {json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], repr(text)[1:-1]}
    for quoted in (quote(octets), quote(octets, safe=""), quote_plus(octets)):
        written |= {quoted, re.sub(r"%[0-9A-F]{2}", lambda found: found[0].lower(), quoted)}
    return {text} | written | {form for form in encoded if len(form) >= _SHORTEST_ENCODED}


def _within_base64(octets: bytes) -> Iterator[str]:
    for before in range(3):
        # The first characters depend on what stands before, the last on what follows.
        first = (before * 8 + 5) // 6
        last = (before + len(octets)) * 8 // 6
        for whole in (b64encode(bytes(before) + octets), urlsafe_b64encode(bytes(before) + octets)):
            if last - first >= _SHORTEST_WITHIN:
                yield whole[first:last].decode()
