"""ETag, If-None-Match, If-Match (RFC 9110) and Prefer (RFC 7240).

The strong ETag of an orchestration is its version: ``"9"``. If-Match uses the strong comparison, so a weak tag never
matches; If-None-Match the weak one. A preference that cannot be read is ignored, as RFC 7240 asks for; a condition that
cannot be read is 400, since ignoring it could do harm.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from starlette.datastructures import Headers

from adapters.rest.problems import malformed

_TAGS = re.compile(r'\s*(?:(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"\s*(?:,\s*|\Z))+', re.ASCII)
_TAG = re.compile(r'((?:W/)?)"([\x21\x23-\x7e\x80-\xff]*)"')
_WAIT = re.compile(r'wait\s*=\s*"?(\d{1,9})"?', re.ASCII | re.IGNORECASE)


def etag(version: int) -> str:
    """The strong ETag of a version."""
    return f'"{version}"'


def not_modified(headers: Headers, tag: str) -> bool:
    """Whether the client has this representation already."""
    given = headers.get("if-none-match")
    if given is None:
        return False
    if given.strip() == "*":
        return True
    opaque = tag.removeprefix("W/").strip('"')
    return any(each == opaque for _, each in _read(given, "If-None-Match"))


def versions_asked_for(headers: Headers) -> list[int] | None:
    """Versions that If-Match allows; None where every one is. An empty list is satisfied by none."""
    given = headers.get("if-match")
    if given is None or given.strip() == "*":
        return None
    tags = _read(given, "If-Match")
    return [int(tag) for weak, tag in tags if not weak and tag.isascii() and tag.isdecimal() and len(tag) < 16]


def _read(given: str, name: str) -> list[tuple[str, str]]:
    if not _TAGS.fullmatch(given):
        raise malformed(f'The header {name} is a list of entity tags such as "9".')
    return _TAG.findall(given)


@dataclass(frozen=True, slots=True)
class Preferences:
    """What the client would like: to wait for the end (seconds, None: not), and to be answered 202 at once."""

    wait_s: int | None = None
    respond_async: bool = False

    @property
    def applied(self) -> str | None:
        """The value of Preference-Applied."""
        words = ["respond-async"] if self.respond_async else []
        if self.wait_s is not None:
            words.append(f"wait={self.wait_s}")
        return ", ".join(words) or None


NO_PREFERENCES = Preferences()


def preferences(headers: Headers, longest_wait_s: int) -> Preferences:
    """The preferences of a request that we know; a longer wait is cut to the longest we grant."""
    given = headers.getlist("prefer")
    if not given:
        return NO_PREFERENCES
    wait_s: int | None = None
    respond_async = False
    for preference in ",".join(given).split(","):
        name = preference.partition(";")[0].strip()
        waiting = _WAIT.fullmatch(name)
        if waiting and wait_s is None:
            wait_s = min(int(waiting[1]), longest_wait_s)
        elif name.lower() == "respond-async":
            respond_async = True
    return Preferences(wait_s, respond_async)
