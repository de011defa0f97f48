"""Which addresses may be reached, enforced where a socket is made.

A check of the URL would not hold: a name may resolve to one address when it is checked and to another when it is
connected (DNS rebinding). aiohttp hands every *resolved* address to the connector's ``socket_factory`` just before it
connects, so the guard sits there and holds for every name, literal and odd spelling of an address.

An address that is connected to is the one that was judged; no redirect is followed, so there is no second one.

Refused always: link-local (where clouds serve machine credentials), the other known metadata addresses, multicast,
broadcast, reserved and unspecified ones, and IPv6 forms that embed any of these. Loopback only where the operator says
so. The operator's own rules (`reach`) come on top: names are looked at before a request is sent
(`NetworkPolicy.name`), addresses here.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any

import aiohttp
import msgspec
from yarl import URL

from adapters.callouts.reach import Rule

METADATA = frozenset(
    ip_address(address)
    for address in (
        "100.100.100.200",  # Alibaba Cloud
        "168.63.129.16",  # Azure
        "192.0.0.192",  # Oracle Cloud
        "fd00:ec2::254",  # AWS
        "fd00:ec2::23",  # AWS, container credentials
        "fd20:ce::254",  # Google Cloud
    )
)
"""Metadata services outside the link-local ranges."""
_LAST_32_BITS = (
    IPv6Network("64:ff9b::/96"),  # NAT64 (RFC 6052)
    IPv6Network("::/96"),  # IPv4-compatible
    IPv6Network("::ffff:0:0:0/96"),  # IPv4-translated (RFC 2765)
)
"""Networks whose addresses lead to the IPv4 address in their last 32 bits."""
_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")
"""NAT64 of an organisation (RFC 8215), which may divide it into prefixes of several lengths."""
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})
"""What stands before the IPv4 address in the interface identifier (RFC 5214)."""

_NAMED: ContextVar[bool] = ContextVar("named", default=True)
"""Whether the host of the request under way is allowed by its name. What the operator's settings name always is."""


def name_was_judged() -> None:
    """The request whose name was judged has its connection; the task may go on to something else."""
    _NAMED.set(True)


class AddressRefusedError(OSError):
    """The network policy does not allow this address; nothing was sent."""


class NetworkPolicy(msgspec.Struct, frozen=True):
    """What the operator allows. Private ranges are allowed: participants usually live there."""

    allow_loopback: bool = False
    allow_files: bool = False
    """Whether OpenAPI documents may be read from ``file://`` addresses."""
    allow: tuple[Rule, ...] = ()
    """With any, nothing else is reached."""
    deny: tuple[Rule, ...] = ()

    def name(self, url: URL) -> str | None:
        """Why the host of this URL may not be reached; None when it may, as far as its name goes. The answer holds for the
        connection that the calling task makes next.
        """
        if not self.allow and not self.deny:
            return None
        host, port = (url.raw_host or "").lower().rstrip("."), url.port or 0
        if any(rule.meets_name(host, port) for rule in self.deny):
            return f"{host} is refused by RETRACE_NETWORK_DENY"
        is_named = not self.allow or any(rule.meets_name(host, port) for rule in self.allow)
        if not is_named and all(rule.network is None for rule in self.allow):
            return f"{host} is not among RETRACE_NETWORK_ALLOW"
        _NAMED.set(is_named)
        return None

    def reach(self, address: str, port: int) -> str | None:
        """Why this resolved address may not be connected to, by any rule; None when it may."""
        if not self.allow and not self.deny:
            return self.complaint(address)
        shapes = list(_forms(ip_address(address)))
        if any(rule.meets_address(each, port) for rule in self.deny for each in shapes):
            return f"{address} is refused by RETRACE_NETWORK_DENY"
        if not _NAMED.get() and not any(rule.meets_address(each, port) for rule in self.allow for each in shapes):
            return f"{address} is not among RETRACE_NETWORK_ALLOW"
        return self.complaint(address)

    def complaint(self, address: str) -> str | None:
        """Why this resolved address may not be reached, and what to do about it; None when it may."""
        for each in _forms(ip_address(address)):
            kind = self._refused_kind(each)
            if kind == "loopback":
                return f"{address} is a loopback address; set RETRACE_ALLOW_LOOPBACK=true if this is meant"
            if kind:
                return f"{address} is a {kind} address, which callouts never reach; use the participant's own address"
        return None

    def _refused_kind(self, address: IPv4Address | IPv6Address) -> str | None:
        if address.is_loopback:
            return None if self.allow_loopback else "loopback"
        if address in METADATA or address.is_link_local:
            return "metadata or link-local"
        if address.is_multicast:
            return "multicast"
        if address.is_unspecified or (address.version == 4 and int(address) >> 24 == 0):
            return "unspecified"
        if address.version == 4 and address.is_reserved:
            return "reserved"
        return None


def _forms(address: IPv4Address | IPv6Address) -> Iterator[IPv4Address | IPv6Address]:
    """The address, and every IPv4 address that an IPv6 one may lead to."""
    if isinstance(address, IPv4Address):
        yield address
        return
    yield from _embedded(address)
    # An IPv4-mapped address has no meaning of its own; the others are also judged as what they are.
    if address.ipv4_mapped is None:
        yield address


def _embedded(address: IPv6Address) -> Iterator[IPv4Address]:
    number = int(address)
    if (plain := address.ipv4_mapped or address.sixtofour) is not None:
        yield plain
    if address.teredo is not None:
        yield from address.teredo  # the relay, and the host behind it
    if number > 1 and any(address in network for network in _LAST_32_BITS):
        yield IPv4Address(number & 0xFFFFFFFF)
    if (number >> 32) & 0xFFFFFFFF in _ISATAP:
        yield IPv4Address(number & 0xFFFFFFFF)
    if address in _LOCAL_NAT64:
        # RFC 6052, 2.2: bits 64 to 71 are left out, wherever the prefix ends.
        whole = (number >> 64) << 56 | number & ((1 << 56) - 1)
        for length in (48, 56, 64):
            yield IPv4Address((whole >> (120 - length - 32)) & 0xFFFFFFFF)
        yield IPv4Address(number & 0xFFFFFFFF)


def guarded_sockets(policy: NetworkPolicy) -> Callable[[tuple[Any, ...]], socket.socket]:
    """A socket factory for aiohttp that refuses, before it connects, whatever the policy does not allow."""

    def open_socket(info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, sockaddr = info
        complaint = policy.reach(str(sockaddr[0]).partition("%")[0], int(sockaddr[1]))
        if complaint is not None:
            raise AddressRefusedError(errno.EPERM, complaint)
        return socket.socket(family, kind, protocol)

    return open_socket


def open_session(policy: NetworkPolicy, *, max_connections: int = 500, max_per_host: int = 0) -> aiohttp.ClientSession:
    """The one session that everything outbound shares. Call it on the running loop; whoever opens it closes it.

    No proxy or netrc from the environment, no cookies kept between requests, nothing sent twice by itself. `max_per_host`
    limits the connections to one host and port, 0 does not; who waits for one has sent nothing yet.
    """
    connector = aiohttp.TCPConnector(
        limit=max_connections,
        limit_per_host=max_per_host,
        socket_factory=guarded_sockets(policy),
        # Most servers drop an idle connection after 5 s; reusing one that is about to go makes an outcome uncertain.
        keepalive_timeout=4.0,
    )
    session = aiohttp.ClientSession(
        connector=connector,
        trust_env=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=10.0),
        trace_configs=[_tell_when_connected()],
    )
    # aiohttp sends PUT, DELETE and GET a second time when a kept connection breaks; how often something is sent is the
    # engine's decision alone. There is no public switch; its own test client uses this one.
    session._retry_connection = False  # noqa: SLF001
    return session


class Progress:
    """How far one request came; handed to aiohttp as ``trace_request_ctx``."""

    __slots__ = ("connected",)

    def __init__(self) -> None:
        self.connected = False


def _tell_when_connected() -> aiohttp.TraceConfig:
    async def connected(_session: aiohttp.ClientSession, context: Any, _params: Any) -> None:
        progress = context.trace_request_ctx
        if isinstance(progress, Progress):
            progress.connected = True

    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(connected)
    trace.on_connection_reuseconn.append(connected)
    return trace
