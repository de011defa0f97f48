"""The databases that ``call: sql`` may reach: ``RETRACE_CONNECTION_<NAME>``, from the environment, never from definitions.

The value is a URL, or with ``RETRACE_CONNECTION_<NAME>_FILE`` the name of a file that holds it. Names are compared in upper
case with dashes as underscores, as those of secrets. No message contains the URL, which may hold a password.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

import msgspec

from adapters.named_settings import complaints_about, named_settings

PREFIX = "RETRACE_CONNECTION_"
_NAME = re.compile(r"[A-Z0-9_]+")
_KINDS = {"postgresql": "postgres", "postgres": "postgres", "sqlite": "sqlite", "mysql": "mysql", "mariadb": "mysql"}
_FORMS = "write postgresql://user:password@host/name, sqlite:///file, sqlite:////absolute/file or mysql://user:password@host/name"


class TargetError(ValueError):
    """A connection cannot be used; the message is a sentence that names the variable."""


class Target(msgspec.Struct, frozen=True):
    """One database. `url` may hold a password and is shown nowhere."""

    name: str
    kind: str
    """postgres, sqlite or mysql."""
    url: str

    def __repr__(self) -> str:
        return f"Target({self.name!r}, {self.kind!r})"

    @property
    def password(self) -> str | None:
        """What must never be seen, decoded."""
        found = urlsplit(self.url).password
        return unquote(found) if found else None


def key_of(name: str) -> str:
    """The name of a connection as the table of connections has it."""
    return name.upper().replace("-", "_")


class Connections:
    """Implements `application.ports.Connections`."""

    def __init__(self, targets: Mapping[str, Target]) -> None:
        self._targets = targets

    def missing(self, name: str) -> str | None:
        """The setting that would make a connection of this name; None: it is there."""
        key = key_of(name)
        return None if key in self._targets else f"{PREFIX}{key}"


def read_targets(environment: Mapping[str, str]) -> dict[str, Target]:
    """Every connection of the environment by its key. Raises TargetError for the first that cannot be used."""
    found: dict[str, Target] = {}
    for variable, key, url in named_settings(environment, PREFIX, TargetError):
        if key in found:
            raise TargetError(f"{variable} names a connection that another variable names too.")
        found[key] = _target(variable, key, url)
    return found


def complaints(environment: Mapping[str, str]) -> list[str]:
    """What is wrong with the connections of an environment, one sentence each."""
    return complaints_about(environment, PREFIX, read_targets, TargetError)


def _target(variable: str, key: str, url: str) -> Target:
    if not _NAME.fullmatch(key):
        raise TargetError(f"{variable} has no name of letters, digits and underscores after {PREFIX}.")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise TargetError(f"{variable} is not a URL; {_FORMS}.") from None
    kind = _KINDS.get(parts.scheme)
    if kind is None:
        raise TargetError(f"{variable} is not the URL of a database that call: sql can reach; {_FORMS}.")
    if kind == "sqlite" and (parts.netloc or not parts.path.strip("/") or ":memory:" in url):
        raise TargetError(f"{variable} names no SQLite file; {_FORMS}.")
    if kind == "mysql" and not parts.path.strip("/"):
        raise TargetError(f"{variable} names no database; {_FORMS}.")
    if kind == "mysql" and importlib.util.find_spec("pymysql") is None:
        raise TargetError(f"{variable} needs the driver of MySQL; install retrace[mysql].")
    return Target(key, kind, url)
