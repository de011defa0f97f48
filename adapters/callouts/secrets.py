"""Secrets from the environment: ``RETRACE_SECRET_<NAME>``.

A name is looked up in upper case with dashes as underscores (``my-secret`` is ``RETRACE_SECRET_MY_SECRET``). A value
that is a JSON object is one; everything else is text. Read once, when the service starts.

`redact` replaces secrets by value, longest first, so that no part of a longer one survives. Texts under 4 characters
are left alone: replacing them would shred innocent values and hides nothing worth hiding.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

PREFIX = "RETRACE_SECRET_"
MASK = "***"
_SHORTEST = 4


class EnvironmentSecrets:
    """Implements application.ports.Secrets."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        source = os.environ if environment is None else environment
        self._secrets = {
            name[len(PREFIX) :].upper(): _parse(value)
            for name, value in source.items()
            if name.upper().startswith(PREFIX)
        }
        known = {text for secret in self._secrets.values() for text in _texts(secret) if len(text) >= _SHORTEST}
        longest_first = sorted(known, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def get(self, name: str) -> Any | None:
        """The secret of this name, an object or a text; None if there is none."""
        return self._secrets.get(name.upper().replace("-", "_"))

    def redact(self, value: Any) -> Any:
        """The JSON value with every secret's text replaced by ``***``, in members' names too."""
        return value if self._pattern is None else self._redacted(value, self._pattern)

    def _redacted(self, value: Any, pattern: re.Pattern[str]) -> Any:
        if isinstance(value, str):
            return pattern.sub(MASK, value)
        if isinstance(value, dict):
            return {pattern.sub(MASK, name): self._redacted(each, pattern) for name, each in value.items()}
        if isinstance(value, list):
            return [self._redacted(each, pattern) for each in value]
        return value


def _parse(value: str) -> Any:
    if value.lstrip().startswith("{"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _texts(secret: Any) -> Iterator[str]:
    if isinstance(secret, str):
        yield secret
    elif isinstance(secret, dict):
        for each in secret.values():
            yield from _texts(each)
    elif isinstance(secret, list):
        for each in secret:
            yield from _texts(each)
    elif isinstance(secret, (int, float)) and not isinstance(secret, bool):
        yield str(secret)
