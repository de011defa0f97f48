"""The operator's own rules of which hosts callouts may reach: ``RETRACE_NETWORK_ALLOW`` and ``RETRACE_NETWORK_DENY``.

A rule is a network (``10.0.0.0/8``, ``192.168.1.7``), a host name (``api.example.com``) or all names below one
(``*.example.com``), each with or without a port (``api.example.com:443``, ``[fd00::/8]:443``). Networks are compared with
the address that is connected to, names with the name in the URL. What any deny rule meets is refused; with allow rules, what
none of them meets is refused too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

import msgspec

_NAME = re.compile(r"(?:\*\.)?(?:[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?")
_FORMS = "write networks (10.0.0.0/8), hosts (api.example.com) or *.example.com, each with or without :port"


class Rule(msgspec.Struct, frozen=True):
    """One entry of a list: a name or a network, never both."""

    name: str | None = None
    network: IPv4Network | IPv6Network | None = None
    port: int | None = None

    def meets_name(self, host: str, port: int) -> bool:
        """Whether a host of a URL (lower case, no dot at the end) is meant."""
        if self.name is None or self.port not in (None, port):
            return False
        return host.endswith(self.name[1:]) if self.name.startswith("*.") else host == self.name

    def meets_address(self, address: IPv4Address | IPv6Address, port: int) -> bool:
        """Whether an address that is about to be connected is meant."""
        return self.network is not None and self.port in (None, port) and address in self.network


def read_rules(entries: Iterable[str]) -> tuple[Rule, ...]:
    """Rules of a list. Raises ValueError with what can be written."""
    return tuple(_rule(entry.strip().lower()) for entry in entries if entry.strip())


def _rule(entry: str) -> Rule:
    network = _network(entry)
    if network is not None:
        return Rule(network=network)
    place, separator, digits = entry.rpartition(":")
    port: int | None = None
    if separator:
        if not digits.isdecimal() or not 0 < int(digits) < 65536:
            raise ValueError(f"{entry!r} has no port from 1 to 65535 after the colon; {_FORMS}")
        port = int(digits)
    else:
        place = entry
    network = _network(place.removeprefix("[").removesuffix("]"))
    if network is not None:
        return Rule(network=network, port=port)
    if not _NAME.fullmatch(place.rstrip(".")) or place.replace(".", "").isdecimal():
        raise ValueError(f"{entry!r} is neither a network nor a name; {_FORMS}")
    return Rule(name=place.rstrip("."), port=port)


def _network(text: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None
