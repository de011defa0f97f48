"""Authentication of callouts against servers that check it: basic, bearer, digest, OAuth 2, OpenID Connect."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from base64 import b64encode, urlsafe_b64encode
from urllib.parse import parse_qs

import pytest
from werkzeug import Request, Response

from adapters.callouts.http import HttpCallouts
from adapters.callouts.network import NetworkPolicy, open_session
from adapters.callouts.secrets import EnvironmentSecrets
from application.ports import Answered, Declined, Doubtful
from domain.errors import SPEC
from tests.integration.participants import free_port, http_callout, raw_server, reset

pytestmark = pytest.mark.anyio

USER = {"username": "ann", "password": "s3cret"}
SECRETS = {
    "RETRACE_SECRET_MY_LOGIN": '{"username": "ann", "password": "s3cret"}',
    "RETRACE_SECRET_TOKEN": "t0ken",
}


@pytest.fixture
async def http():
    session = open_session(NetworkPolicy(allow_loopback=True))
    yield HttpCallouts(session, EnvironmentSecrets(SECRETS))
    await session.close()


@pytest.fixture
def guarded(httpserver):
    """A resource for whoever sends one of the listed Authorization headers."""

    def with_headers(*accepted: str) -> str:
        def handler(request: Request) -> Response:
            if request.headers.get("Authorization") in accepted:
                return Response("yes", content_type="text/plain")
            return Response("no", 401)

        httpserver.expect_request("/guarded").respond_with_handler(handler)
        return str(httpserver.url_for("/guarded"))

    return with_headers


def call(url, authentication, **more):
    return http_callout(method="post", endpoint={"uri": url, "authentication": authentication}, body={}, **more)


BASIC = "Basic " + b64encode(b"ann:s3cret").decode()


@pytest.mark.parametrize(
    ("authentication", "header"),
    [
        ({"basic": USER}, BASIC),
        ({"basic": {"use": "my-login"}}, BASIC),
        ({"bearer": {"token": "t0ken"}}, "Bearer t0ken"),
        ({"bearer": {"use": "token"}}, "Bearer t0ken"),
    ],
)
async def test_basic_and_bearer_inline_and_from_a_secret(http, guarded, authentication, header):
    assert await http.send(call(guarded(header), authentication)) == Answered("yes")


async def test_user_info_in_the_address_is_basic_authentication_and_not_shown(http, guarded):
    url = guarded(BASIC).replace("http://", "http://ann:s3cret@")
    result = await http.send(http_callout(method="get", endpoint=url, output="response"))
    assert isinstance(result, Answered)
    assert "s3cret" not in str(result.output)
    assert result.output["request"]["headers"]["Authorization"] == "***"


@pytest.mark.parametrize(
    ("authentication", "kind"),
    [
        ({"basic": {"use": "nobody"}}, "authorization"),
        ({"use": "not-inlined"}, "authorization"),
        ({"basic": {"username": "ann"}}, "authentication"),
        ({"bearer": {"token": "a\r\nX: y"}}, "authentication"),
        ({"basic": {"username": "a:b", "password": "x"}}, "authentication"),
        ({"digest": {"username": "a:b", "password": "x"}}, "authentication"),
        ({"certificate": {}}, "configuration"),
        ({"basic": USER, "bearer": {"token": "x"}}, "configuration"),
        ("basic", "configuration"),
        ({"basic": "x"}, "configuration"),
    ],
)
async def test_what_cannot_be_authenticated_is_not_sent(http, httpserver, authentication, kind):
    result = await http.send(call(httpserver.url_for("/guarded"), authentication))
    assert isinstance(result, Declined)
    assert result.fault.type == SPEC + kind
    assert httpserver.log == []


async def test_a_refused_login_is_the_participants_own_fault(http, guarded):
    result = await http.send(call(guarded("Basic other"), {"basic": USER}))
    assert isinstance(result, Declined)
    assert (result.fault.type, result.fault.status) == (SPEC + "communication", 401)


# Digest ----------------------------------------------------------------------------------------------------------


def digest_server(algorithm: str, password: str = "s3cret"):
    """A handler that checks RFC 7616 digests."""
    hashed = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}[algorithm]

    def h(*parts: str) -> str:
        return hashed(":".join(parts).encode()).hexdigest()

    def handler(request: Request) -> Response:
        header = request.headers.get("Authorization", "")
        given = {name: quoted or plain for name, quoted, plain in re.findall(r'(\w+)=(?:"([^"]*)"|([^\s,]+))', header)}
        if given:
            a1, a2 = h(given["username"], "r", password), h(request.method, given["uri"])
            expected = h(a1, given["nonce"], given["nc"], given["cnonce"], given["qop"], a2)
            if given["nonce"] == "n1" and given["response"] == expected:
                return Response(request.get_data(), content_type="application/json")
        challenge = f'Digest realm="r", nonce="n1", qop="auth", algorithm={algorithm}'
        return Response("no", 401, {"WWW-Authenticate": challenge})

    return handler


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
async def test_digest_answers_the_challenge_with_the_same_request(http, httpserver, algorithm):
    httpserver.expect_request("/guarded").respond_with_handler(digest_server(algorithm))
    url = httpserver.url_for("/guarded") + "?a=b%20c"
    callout = http_callout(method="post", endpoint={"uri": url, "authentication": {"digest": USER}}, body={"n": 1})
    assert await http.send(callout) == Answered({"n": 1})
    assert [request.headers["Idempotency-Key"] for request, _ in httpserver.log] == ["key-1", "key-1"]


async def test_a_wrong_digest_is_refused(http, httpserver):
    httpserver.expect_request("/guarded").respond_with_handler(digest_server("MD5", "other"))
    result = await http.send(call(httpserver.url_for("/guarded"), {"digest": USER}))
    assert isinstance(result, Declined)
    assert result.fault.status == 401


async def test_a_challenge_that_cannot_be_answered_is_a_definite_failure(http, httpserver):
    challenge = {"WWW-Authenticate": 'Digest realm="r", nonce="n", algorithm=ROT13'}
    httpserver.expect_request("/guarded").respond_with_data("", 401, challenge)
    result = await http.send(call(httpserver.url_for("/guarded"), {"digest": USER}))
    assert isinstance(result, Declined)
    assert result.fault.type == SPEC + "authentication"


# OAuth 2 and OpenID Connect --------------------------------------------------------------------------------------


class Authority:
    """An authorization server that counts and records its token requests."""

    def __init__(self, httpserver):
        self.requests: list[tuple[dict[str, str], dict[str, str]]] = []
        self.expires_in: object = 3600
        self.status = 200
        self.token = "token-{n}"
        self.url = httpserver.url_for("/realm")
        for path in ("/realm/oauth2/token", "/realm/other"):
            httpserver.expect_request(path, method="POST").respond_with_handler(self._answer)

    def _answer(self, request: Request) -> Response:
        is_json = request.headers["Content-Type"] == "application/json"
        body = request.get_json() if is_json else {k: v[0] for k, v in parse_qs(request.get_data(as_text=True)).items()}
        self.requests.append((body, dict(request.headers)))
        if self.status != 200:
            return Response("", self.status, {"Retry-After": "3"})
        token = self.token.format(n=len(self.requests))
        return Response(json.dumps({"access_token": token, "expires_in": self.expires_in}), 200)


@pytest.fixture
def authority(httpserver):
    return Authority(httpserver)


def oauth2(authority, **more):
    client = {"id": "me", "secret": "my&secret"}
    return {"oauth2": {"authority": authority.url, "grant": "client_credentials", "client": client, **more}}


async def test_a_token_is_fetched_once_and_kept(http, guarded, authority):
    url = guarded("Bearer token-1")
    for _ in range(3):
        assert await http.send(call(url, oauth2(authority, scopes=["a", "b"], audiences=["x"]))) == Answered("yes")
    assert [body for body, _ in authority.requests] == [
        {
            "grant_type": "client_credentials",
            "client_id": "me",
            "client_secret": "my&secret",
            "scope": "a b",
            "audience": "x",
        }
    ]


async def test_callouts_at_the_same_time_share_one_token_request(http, guarded, authority):
    url = guarded("Bearer token-1")
    results = await asyncio.gather(*(http.send(call(url, oauth2(authority))) for _ in range(10)))
    assert results == [Answered("yes")] * 10
    assert len(authority.requests) == 1


async def test_an_expired_token_is_replaced(http, guarded, authority):
    authority.expires_in = 0
    url = guarded("Bearer token-1", "Bearer token-2")
    for _ in range(2):
        assert await http.send(call(url, oauth2(authority))) == Answered("yes")
    assert len(authority.requests) == 2


async def test_a_token_that_the_participant_refuses_is_renewed_once(http, guarded, authority):
    assert await http.send(call(guarded("Bearer token-2"), oauth2(authority))) == Answered("yes")
    assert len(authority.requests) == 2


async def test_a_renewed_token_that_is_refused_too_is_the_participants_fault(http, guarded, authority):
    result = await http.send(call(guarded("never"), oauth2(authority)))
    assert isinstance(result, Declined)
    assert (result.fault.type, result.fault.status) == (SPEC + "communication", 401)
    assert len(authority.requests) == 2


async def test_the_password_grant_and_its_token_path(http, guarded, authority):
    authentication = oauth2(authority, grant="password", endpoints={"token": "/other"}, **USER)
    assert await http.send(call(guarded("Bearer token-1"), authentication)) == Answered("yes")
    body, _ = authority.requests[0]
    assert (body["grant_type"], body["username"], body["password"]) == ("password", "ann", "s3cret")


async def test_client_secret_basic_keeps_the_secret_out_of_the_body(http, guarded, authority):
    client = {"id": "me", "secret": "my&secret", "authentication": "client_secret_basic"}
    await http.send(call(guarded("Bearer token-1"), oauth2(authority, client=client)))
    body, headers = authority.requests[0]
    assert body == {"grant_type": "client_credentials"}
    assert headers["Authorization"] == "Basic " + b64encode(b"me:my%26secret").decode()


async def test_a_token_request_as_json(http, guarded, authority):
    authentication = oauth2(authority, request={"encoding": "application/json"}, client={"authentication": "none"})
    assert await http.send(call(guarded("Bearer token-1"), authentication)) == Answered("yes")
    assert authority.requests[0][0] == {"grant_type": "client_credentials"}


async def test_the_issuer_of_a_token_is_compared(http, guarded, authority):
    payload = urlsafe_b64encode(b'{"iss": "https://good"}').decode().rstrip("=")
    authority.token = f"h.{payload}.s"
    url = guarded(f"Bearer h.{payload}.s")
    assert await http.send(call(url, oauth2(authority, issuers=["https://good"]))) == Answered("yes")
    result = await http.send(call(url, oauth2(authority, issuers=["https://other"])))
    assert isinstance(result, Declined)
    assert result.fault.type == SPEC + "authentication"


@pytest.mark.parametrize(("status", "kind"), [(400, "authentication"), (401, "authentication"), (503, "communication")])
async def test_an_authority_that_refuses_or_is_busy_leaves_the_callout_unsent(http, guarded, authority, status, kind):
    authority.status = status
    result = await http.send(call(guarded("x"), oauth2(authority)))
    assert isinstance(result, Declined)
    assert result.fault.type == SPEC + kind
    assert result.retry_after_s == (3.0 if status == 503 else None)


async def test_an_authority_that_is_gone_or_breaks_off_leaves_the_callout_unsent(http):
    async def breaks(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        reset(writer)

    async with raw_server(breaks) as url:
        for where in (f"http://127.0.0.1:{free_port()}", url):
            config = {"authority": where, "grant": "client_credentials", "client": {"id": "a", "secret": "b"}}
            result = await http.send(call("http://127.0.0.1:1/", {"oauth2": config}))
            assert isinstance(result, Declined)
            assert result.fault.type == SPEC + "communication"


async def test_an_unsupported_grant_is_a_configuration_fault(http, authority):
    result = await http.send(call("http://127.0.0.1:1/", oauth2(authority, grant="refresh_token")))
    assert isinstance(result, Declined)
    assert result.fault.type == SPEC + "configuration"


@pytest.mark.parametrize("suffix", ["", "/.well-known/openid-configuration"])
async def test_openid_connect_discovers_the_token_endpoint_once(http, httpserver, guarded, authority, suffix):
    httpserver.expect_request("/realm/.well-known/openid-configuration").respond_with_json(
        {"token_endpoint": httpserver.url_for("/realm/other")}
    )
    config = oauth2(authority)["oauth2"] | {"authority": authority.url + suffix}
    authority.expires_in = 0
    url = guarded("Bearer token-1", "Bearer token-2")
    for _ in range(2):
        assert await http.send(call(url, {"oidc": config})) == Answered("yes")
    assert [request.path for request, _ in httpserver.log].count("/realm/.well-known/openid-configuration") == 1


async def test_a_participant_that_fails_after_authentication_is_uncertain(http, httpserver, authority):
    httpserver.expect_request("/guarded").respond_with_data("", 500)
    assert isinstance(await http.send(call(httpserver.url_for("/guarded"), oauth2(authority))), Doubtful)
