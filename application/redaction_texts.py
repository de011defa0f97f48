"""Values inside longer texts, replaced in time that does not grow with how many values there are.

A regular expression of all values would hold the interpreter for as long as it searches: minutes, where an input of a few
thousand texts is redacted. Here each place of a text is looked up by the four characters that follow.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Final
from urllib.parse import quote, quote_plus

SHORTEST: Final = 4
"""Characters of a value that is looked for in longer texts."""


def spellings(value: str) -> Iterable[str]:
    """A text as it stands in others: as it is, in JSON, and percent-encoded."""
    escaped = (json.dumps(value, ensure_ascii=ascii_)[1:-1] for ascii_ in (False, True))
    coded = (how(value, safe="", errors="replace") for how in (quote, quote_plus))
    return dict.fromkeys((value, *escaped, *coded))


class Texts:
    """Replaces what it finds of some texts of at least `SHORTEST` characters, the longest first."""

    def __init__(self, replacements: Mapping[str, str]) -> None:
        by_start: dict[str, dict[int, dict[str, str]]] = {}
        for wanted, instead in replacements.items():
            by_start.setdefault(wanted[:SHORTEST], {}).setdefault(len(wanted), {})[wanted] = instead
        self._by_start = {start: sorted(found.items(), reverse=True) for start, found in by_start.items()}

    def replaced(self, text: str) -> str:
        """The text without them."""
        pieces: list[str] = []
        done = 0
        for begins, ends, instead in self._found(text):
            pieces += (text[done:begins], instead)
            done = ends
        return "".join((*pieces, text[done:])) if pieces else text

    def _found(self, text: str) -> Iterator[tuple[int, int, str]]:
        by_start, place, last = self._by_start, 0, len(text) - SHORTEST
        while by_start and place <= last:
            for length, wanted in by_start.get(text[place : place + SHORTEST], ()):
                instead = wanted.get(text[place : place + length])
                if instead is not None:
                    yield place, place + length, instead
                    place += length
                    break
            else:
                place += 1
