"""The operator's lists: what they meet, and that nothing leads past them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from yarl import URL

from adapters.callouts.http import HttpCallouts
from adapters.callouts.network import NetworkPolicy, open_session
from adapters.callouts.reach import read_rules
from adapters.callouts.secrets import EnvironmentSecrets
from adapters.settings import SettingsError, read_settings
from application.ports import Answered, Declined
from domain.errors import SPEC
from tests.integration.participants import http_callout, raw_server, read_request

pytestmark = pytest.mark.anyio


def policy(allow: str = "", deny: str = "") -> NetworkPolicy:
    return NetworkPolicy(allow_loopback=True, allow=read_rules(allow.split(",")), deny=read_rules(deny.split(",")))


@pytest.fixture
async def server() -> AsyncIterator[str]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):  # the client has gone
            while await read_request(reader):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n1")
                await writer.drain()

    async with raw_server(answer) as url:
        yield url


async def sent(rules: NetworkPolicy, *urls: str):
    session = open_session(rules, max_per_host=2)
    http = HttpCallouts(session, EnvironmentSecrets({}), policy=rules)
    try:
        return [await http.send(http_callout(method="get", endpoint=url)) for url in urls]
    finally:
        await http.close()


@pytest.mark.parametrize(
    ("allow", "deny", "reached"),
    [
        ("", "", True),
        ("127.0.0.0/8", "", True),
        ("localhost", "", True),
        ("LOCALHOST.", "", True),
        ("localhost:PORT", "", True),
        ("localhost:1", "", False),
        ("127.0.0.1:PORT,::1", "", True),
        ("127.0.0.1:1", "", False),
        ("10.0.0.0/8", "", False),
        ("example.com", "", False),
        ("10.0.0.0/8,example.com", "", False),
        ("", "localhost", False),
        ("", "127.0.0.0/8,::1", False),
        ("localhost", "127.0.0.1,::1", False),
        ("127.0.0.1,::1", "localhost:PORT", False),
        ("", "localhost:1,127.0.0.1:1,10.0.0.0/8", True),
    ],
)
async def test_what_is_reached(server, allow, deny, reached):
    port = str(URL(server).port)
    rules = policy(allow.replace("PORT", port), deny.replace("PORT", port))
    (result,) = await sent(rules, f"http://localhost:{port}/")
    if reached:
        assert result == Answered(1)
    else:
        assert isinstance(result, Declined)
        assert result.fault.type == SPEC + "configuration"
        assert "RETRACE_NETWORK_" in str(result.fault.detail)


async def test_one_request_does_not_open_the_door_for_the_next(server):
    port = URL(server).port
    rules = policy("localhost,10.0.0.0/8")
    first, second, third = await sent(
        rules, f"http://localhost:{port}/", f"http://127.0.0.1:{port}/", f"http://localhost:{port}/"
    )
    assert first == third == Answered(1)
    assert isinstance(second, Declined)


@pytest.mark.parametrize(
    ("rule", "host", "met"),
    [
        ("*.example.com", "api.example.com", True),
        ("*.example.com", "a.b.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "badexample.com", False),
        ("example.com", "api.example.com", False),
        ("example.com", "EXAMPLE.com.", True),
    ],
)
async def test_names(rule, host, met):
    assert (policy(deny=rule).name(URL(f"http://{host}/")) is not None) is met


async def test_the_address_rules_of_always_hold_for_what_is_allowed():
    rules = NetworkPolicy(allow=read_rules(["169.254.169.254", "127.0.0.1"]))
    assert "metadata" in str(rules.reach("169.254.169.254", 80))
    assert "loopback" in str(rules.reach("127.0.0.1", 80))


async def test_a_denied_network_is_met_in_every_form_of_its_addresses():
    rules = policy(deny="10.0.0.0/8")
    assert rules.reach("::ffff:10.1.2.3", 80)
    assert rules.reach("64:ff9b::a01:203", 80)
    assert rules.reach("11.0.0.1", 80) is None


@pytest.mark.parametrize(
    "entry", ["exa mple.com", "http://example.com", "example.com:0", "example.com:x", "10.0.0.300", "*"]
)
def test_what_is_no_rule_keeps_the_service_from_starting(entry, monkeypatch):
    monkeypatch.setenv("RETRACE_NETWORK_DENY", f"ok.example,{entry}")
    with pytest.raises(SettingsError, match="RETRACE_NETWORK_DENY"):
        read_settings()
