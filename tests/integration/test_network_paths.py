"""Everything that leaves goes through one guard: callouts, tokens, documents, schemas, sinks, checkpoints; by address, size, time."""

from __future__ import annotations

import asyncio
import json

import pytest

from adapters.callouts.http import HttpCallouts
from adapters.callouts.network import NetworkPolicy, open_session
from adapters.callouts.openapi import OpenApiCallouts
from adapters.callouts.resources import HttpResources
from adapters.callouts.secrets import EnvironmentSecrets
from adapters.callouts.sink import HttpEventSink
from adapters.checkpoint_outlets import CheckpointReceiver
from application.ports import Answered, Declined, DeliveryError, Doubtful, ResourceError, Unusable
from tests.integration.participants import http_callout, raw_server, read_request

pytestmark = pytest.mark.anyio

METADATA = "http://169.254.169.254"
LOCAL = NetworkPolicy(allow_loopback=True)
CAP = 2000


class Outbound:
    """All that sends, over one session."""

    def __init__(self, session, policy):
        self.session = session
        self.http = HttpCallouts(session, EnvironmentSecrets({}), max_answer_bytes=CAP, policy=policy)
        self.openapi = OpenApiCallouts(self.http, policy)
        self.resources = HttpResources(self.http)

    async def callout(self, url):
        return _told(await self.http.send(http_callout(method="get", endpoint=f"{url}/x")))

    async def token(self, url):
        oauth = {"oauth2": {"authority": url, "grant": "client_credentials", "client": {"id": "x"}}}
        return await self._authenticated(oauth)

    async def discovery(self, url):
        return await self._authenticated(
            {"oidc": {"authority": url, "grant": "client_credentials", "client": {"id": "x"}}}
        )

    async def _authenticated(self, authentication):
        endpoint = {"uri": "http://127.0.0.1:9/", "authentication": authentication}
        return _told(await self.http.send(http_callout(method="get", endpoint=endpoint, timeout_s=1)))

    async def document(self, url):
        call = http_callout(document={"endpoint": f"{url}/openapi.json"}, operationId="x", timeout_s=1)
        return _told(await self.openapi.send(call))

    async def schema(self, url):
        try:
            return json.dumps(await self.resources.fetch({"endpoint": f"{url}/schema.json"}))
        except ResourceError as error:
            return str(error)

    async def sink(self, url):
        return await _delivered(HttpEventSink(url, self.session, timeout_s=1).publish({"id": "1"}))

    async def checkpoint(self, url):
        return await _delivered(CheckpointReceiver(url, self.session, timeout_s=1).put([{"n": 1}]))


def _told(result):
    assert isinstance(result, (Declined, Doubtful, Unusable, Answered))
    return "done" if isinstance(result, Answered) else str(result.fault.detail)


async def _delivered(delivery):
    try:
        await delivery
    except DeliveryError as error:
        return str(error)
    return "done"


WAYS = ["callout", "token", "discovery", "document", "schema", "sink", "checkpoint"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "host", [METADATA, "http://127.0.0.1:9", "http://[::ffff:169.254.169.254]", "http://[fe80::1]"]
)
async def test_no_way_leads_to_what_is_refused(way, host):
    async with open_session(NetworkPolicy()) as session:
        told = await getattr(Outbound(session, NetworkPolicy()), way)(host)
    assert "RETRACE_ALLOW_LOOPBACK" in told or "callouts never reach" in told, told


def redirecting(asked):
    async def serve(reader, writer):
        asked.append(await read_request(reader))
        writer.write(f"HTTP/1.1 307 Elsewhere\r\nLocation: {METADATA}/\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()

    return serve


@pytest.mark.parametrize("way", WAYS)
async def test_no_way_follows_a_redirect(way):
    asked: list[bytes] = []
    async with raw_server(redirecting(asked)) as url, open_session(LOCAL) as session:
        told = await getattr(Outbound(session, LOCAL), way)(url)
    assert "307" in told
    assert "169.254" not in told
    assert len(asked) == 1


async def test_a_token_endpoint_that_a_discovery_names_is_judged_too(httpserver):
    known = {"issuer": "x", "token_endpoint": f"{METADATA}/token"}
    httpserver.expect_request("/.well-known/openid-configuration").respond_with_json(known)
    async with open_session(LOCAL) as session:
        told = await Outbound(session, LOCAL).discovery(httpserver.url_for("").rstrip("/"))
    assert "callouts never reach" in told


async def test_a_server_that_a_document_names_is_judged_too(httpserver):
    document = {"openapi": "3.0.0", "servers": [{"url": METADATA}], "paths": {"/": {"get": {"operationId": "x"}}}}
    httpserver.expect_request("/openapi.json").respond_with_json(document)
    async with open_session(LOCAL) as session:
        told = await Outbound(session, LOCAL).document(httpserver.url_for("").rstrip("/"))
    assert "callouts never reach" in told


def pouring(asked):
    """Answers without end."""

    async def serve(reader, writer):
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not writer.is_closing():
            asked[0] += 1
            writer.write(b"400\r\n" + b"1" * 1024 + b"\r\n")
            await writer.drain()

    return serve


@pytest.mark.parametrize("way", WAYS)
async def test_no_way_reads_without_end(way):
    asked = [0]
    async with raw_server(pouring(asked)) as url, open_session(LOCAL) as session:
        async with asyncio.timeout(20):
            told = await getattr(Outbound(session, LOCAL), way)(url)
    # A receipt is known by its status line: what follows is not read at all.
    assert told == "done" if way in ("sink", "checkpoint") else "larger than 2000 bytes" in told


@pytest.mark.parametrize("way", [each for each in WAYS if each not in ("callout", "schema")])
async def test_no_way_waits_without_end(way):
    async def silent(reader, _writer):
        await reader.read(-1)

    async with raw_server(silent) as url, open_session(LOCAL) as session:
        async with asyncio.timeout(20):
            assert await getattr(Outbound(session, LOCAL), way)(url) != "done"
