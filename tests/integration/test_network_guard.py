"""The guard in front of every connection: names, literals and odd spellings of addresses that must not be reached."""

from __future__ import annotations

import socket

import pytest
from aiohttp.resolver import ThreadedResolver

from adapters.callouts.http import HttpCallouts
from adapters.callouts.network import NetworkPolicy, open_session
from adapters.callouts.secrets import EnvironmentSecrets
from application.ports import Answered, Declined
from domain.errors import SPEC
from tests.integration.participants import http_callout

pytestmark = pytest.mark.anyio

STRICT, LOCAL = NetworkPolicy(), NetworkPolicy(allow_loopback=True)


@pytest.fixture
async def strict():
    session = open_session(STRICT)
    yield HttpCallouts(session, EnvironmentSecrets({}))
    await session.close()


@pytest.mark.parametrize("policy", [STRICT, LOCAL])
@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254", "169.254.1.1", "fe80::1", "fe80::1%eth0", "fd00:ec2::254", "fd20:ce::254", "100.100.100.200",
        "168.63.129.16", "224.0.0.1", "ff02::1", "0.0.0.0", "0.1.2.3", "::", "255.255.255.255", "240.0.0.1",
        "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "::169.254.169.254",
        "::ffff:0:a9fe:a9fe", "64:ff9b:1::a9fe:a9fe", "64:ff9b:1:a9fe:a9:fe00::", "64:ff9b:1:fe:a9:fea9:fe00:0",
        "64:ff9b:1:1:a9:fea9:fe00:0", "2001:db8::5efe:169.254.169.254", "2001:0:a9fe:a9fe::1",
        "2001:0:4136:e378:8000:63bf:5601:5601", "::ffff:100.100.100.200", "::ffff:0.0.0.0", "64:ff9b::168.63.129.16",
    ],
)  # fmt: skip
async def test_refused_whatever_the_operator_allows(policy, address):
    assert policy.complaint(address)


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2001:db8::5efe:127.0.0.1"]
)
async def test_loopback_only_where_the_operator_says_so(address):
    assert "RETRACE_ALLOW_LOOPBACK" in (STRICT.complaint(address) or "")
    assert LOCAL.complaint(address) is None


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "192.168.1.1", "172.16.0.1", "93.184.216.34", "fd12::1", "2606:2800::1"]
)
async def test_private_and_public_addresses_are_allowed(address):
    assert STRICT.complaint(address) is None


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "127.1", "2130706433", "0x7f.1"]
)
async def test_no_spelling_of_loopback_gets_through(strict, httpserver, host):
    httpserver.expect_request("/").respond_with_json(1)
    result = await strict.send(http_callout(method="get", endpoint=f"http://{host}:{httpserver.port}/"))
    assert isinstance(result, Declined)
    assert httpserver.log == []


async def test_a_refused_address_tells_what_to_do(strict):
    result = await strict.send(http_callout(method="get", endpoint="http://127.0.0.1:1/"))
    assert isinstance(result, Declined)
    assert result.fault.type == SPEC + "configuration"
    assert "RETRACE_ALLOW_LOOPBACK=true" in (result.fault.detail or "")


@pytest.fixture
def resolving_to(monkeypatch):
    """Makes every name resolve to the given addresses, whatever event loop runs."""

    def resolve_to(*addresses):
        async def resolve(self, host, port=0, family=socket.AF_INET):
            return [
                {"hostname": host, "host": address, "port": port, "family": socket.AF_INET, "proto": 6, "flags": 0}
                for address in addresses
            ]

        monkeypatch.setattr(ThreadedResolver, "resolve", resolve)

    return resolve_to


async def test_metadata_is_refused_by_name_too(strict, resolving_to):
    """DNS rebinding: what counts is the address that is about to be connected."""
    resolving_to("169.254.169.254")
    result = await strict.send(http_callout(method="get", endpoint="http://innocent.example/latest/meta-data/"))
    assert isinstance(result, Declined)
    assert "169.254.169.254" in (result.fault.detail or "")


async def test_a_name_with_several_refused_addresses_is_refused(strict, resolving_to):
    resolving_to("169.254.169.254", "127.0.0.1")
    result = await strict.send(http_callout(method="get", endpoint="http://innocent.example/"))
    assert isinstance(result, Declined)
    assert result.fault.type == SPEC + "configuration"


async def test_a_name_with_a_refused_and_an_allowed_address_uses_the_allowed_one(httpserver, resolving_to):
    resolving_to("169.254.169.254", "127.0.0.1")
    httpserver.expect_request("/").respond_with_json(1)
    async with open_session(LOCAL) as session:
        http = HttpCallouts(session, EnvironmentSecrets({}))
        result = await http.send(http_callout(method="get", endpoint=f"http://two.example:{httpserver.port}/"))
    assert result == Answered(1)
