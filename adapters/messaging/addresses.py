"""Addresses of brokers in settings: where emitted events go, where events come from.

A sink is an HTTP address, ``amqp://user:password@host/vhost?exchange=events`` or
``nats://host:4222?subject=events.{type}``. A source is the variable ``RETRACE_SOURCE_<NAME>`` with ``amqp://...?queue=orders``
or ``nats://...?stream=ORDERS&consumer=retrace``; with ``RETRACE_SOURCE_<NAME>_FILE`` the address is read from a file. No
message contains an address: it may hold a password.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from typing import Final, Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

import msgspec

from adapters.named_settings import complaints_about, named_settings

PREFIX: Final = "RETRACE_SOURCE_"
_NAME = re.compile(r"[A-Z0-9_]{1,64}")
Kind = Literal["http", "amqp", "nats"]
_KINDS: Final[Mapping[str, Kind]] = {
    "http": "http",
    "https": "http",
    "amqp": "amqp",
    "amqps": "amqp",
    "nats": "nats",
    "tls": "nats",
}
_MODULES: Final = {"amqp": ("aio_pika", "amqp"), "nats": ("nats", "nats")}
MOST_IN_HAND: Final = 1000
SINK_FORMS: Final = (
    "write an HTTP address such as https://broker.example/events, amqp://user:password@host/vhost?exchange=events or "
    "nats://host:4222?subject=events"
)
_SOURCE_FORMS: Final = (
    "write amqp://user:password@host/vhost?queue=orders or nats://host:4222?stream=ORDERS&consumer=retrace"
)
_OF_SINKS: Final = {"amqp": ("exchange", "routing_key"), "nats": ("subject",)}
_OF_SOURCES: Final = {
    "amqp": ("queue", "prefetch", "dead_letter"),
    "nats": ("stream", "consumer", "subject", "prefetch", "dead_letter"),
}
_NEEDED: Final = {"amqp": ("queue",), "nats": ("stream", "consumer")}
_NATS_NAME = re.compile(r"[A-Za-z0-9_-]{1,255}")
_NATS_SUBJECT = re.compile(r"[^\s.*>]+(\.[^\s.*>]+)*")


class AddressError(ValueError):
    """An address cannot be used; the message goes on after the name of its setting."""


class Address(msgspec.Struct, frozen=True):
    """`url` is the broker's, which may hold a password; `options` are ours, taken out of its query."""

    kind: Kind
    url: str
    options: Mapping[str, str]

    def __repr__(self) -> str:
        return f"Address({self.kind!r})"

    @property
    def password(self) -> str | None:
        """What must never be seen, decoded."""
        parts = urlsplit(self.url)
        return (
            unquote(found) if (found := parts.password or (parts.username if self.kind == "nats" else None)) else None
        )


class Inlet(msgspec.Struct, frozen=True):
    """A source: its name, as logs and metrics have it, where it is, and how many messages may be in hand."""

    name: str
    address: Address

    @property
    def prefetch(self) -> int:
        return int(self.address.options.get("prefetch", "20"))


def read_sink(url: str) -> Address:
    """Raises AddressError."""
    parts, kind = _parts(url, SINK_FORMS)
    if kind == "http":
        return Address("http", url, {})
    address = _with_options(parts, kind, _OF_SINKS[kind])
    if kind == "nats" and not _NATS_SUBJECT.fullmatch(address.options.get("subject", "").replace("{type}", "t")):
        raise AddressError("names no subject; write nats://host:4222?subject=events, or subject=events.{type}")
    if kind == "amqp" and "exchange" not in address.options and "routing_key" not in address.options:
        raise AddressError(
            "names no exchange; write amqp://host/vhost?exchange=events, or routing_key=queue for the default exchange"
        )
    return address


def read_sources(environment: Mapping[str, str]) -> list[Inlet]:
    """Every source of the environment. Raises AddressError for the first that cannot be used, naming its variable."""
    found: dict[str, Inlet] = {}
    for variable, key, url in named_settings(environment, PREFIX, AddressError):
        if not _NAME.fullmatch(key):
            raise AddressError(f"{variable} has no name of letters, digits and underscores after {PREFIX}.")
        name = key.lower().replace("_", "-")
        if name in found:
            raise AddressError(f"{variable} names a source that another variable names too.")
        try:
            found[name] = Inlet(name, _source(url))
        except AddressError as problem:
            raise AddressError(f"{variable} {problem}.") from None
    return list(found.values())


def complaints(environment: Mapping[str, str]) -> list[str]:
    """What is wrong with the sources of an environment, one sentence each."""
    return complaints_about(environment, PREFIX, read_sources, AddressError)


def _source(url: str) -> Address:
    parts, kind = _parts(url, _SOURCE_FORMS)
    if kind == "http":
        raise AddressError(f"is no broker: events over HTTP are posted to /v1/events; {_SOURCE_FORMS}")
    address = _with_options(parts, kind, _OF_SOURCES[kind])
    options = address.options
    if missing := [name for name in _NEEDED[kind] if not options.get(name)]:
        raise AddressError(f"names no {' and no '.join(missing)}; {_SOURCE_FORMS}")
    prefetch = options.get("prefetch", "20")
    if not prefetch.isascii() or not prefetch.isdecimal() or not 1 <= int(prefetch[:9]) <= MOST_IN_HAND:
        raise AddressError(f"has a prefetch that is not a number from 1 to {MOST_IN_HAND}")
    if kind == "nats":
        for name in ("stream", "consumer"):
            if not _NATS_NAME.fullmatch(options[name]):
                raise AddressError(f"has a {name} whose name is more than letters, digits, dashes and underscores")
        if "dead_letter" in options and not _NATS_SUBJECT.fullmatch(options["dead_letter"]):
            raise AddressError("has a dead_letter that is no subject without wildcards")
    return address


def _parts(url: str, forms: str) -> tuple[SplitResult, Kind]:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise AddressError(f"is not a URL; {forms}") from None
    kind = _KINDS.get(parts.scheme)
    if kind is None or not parts.hostname:
        raise AddressError(f"cannot be used; {forms}")
    if kind in _MODULES:
        module, extra = _MODULES[kind]
        if importlib.util.find_spec(module) is None:
            raise AddressError(f"needs a library that is not installed: pip install 'retrace[{extra}]'")
    return parts, kind


def _with_options(parts: SplitResult, kind: Kind, known: tuple[str, ...]) -> Address:
    given = parse_qsl(parts.query, keep_blank_values=True)
    options = {name: value for name, value in given if name in known}
    others = [(name, value) for name, value in given if name not in known]
    if kind == "nats" and others:
        raise AddressError(f"has an unknown option {others[0][0][:40]}; there are {', '.join(known)}")
    return Address(kind, parts._replace(query=urlencode(others)).geturl(), options)
