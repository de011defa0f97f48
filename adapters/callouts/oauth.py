"""Access tokens: OAuth 2 (RFC 6749) and OpenID Connect discovery, fetched over the guarded session.

A token is kept until shortly before it expires and shared by every callout of the same configuration; of several
callouts that need a new one at once, one asks and the others wait. Cache keys are digests: no credential is kept as a
key.

A token endpoint that refuses (4xx) is an ``authentication`` fault; one that cannot be reached or is busy is a
``communication`` fault, which retry policies repeat. Either way the callout itself was not sent.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from base64 import b64encode, urlsafe_b64decode
from collections import OrderedDict
from typing import Any, Literal
from urllib.parse import quote, urlencode

import msgspec
from yarl import URL

from adapters.callouts.content import FORM, UnreadableError, read_json
from adapters.callouts.exchange import Exchange, LostError, Reply, Request, UnsentError
from adapters.callouts.outcome import read_retry_after
from adapters.callouts.uris import address
from domain.errors import fault

DISCOVERY = ".well-known/openid-configuration"
_KEPT = 256
_LEEWAY_S = 30.0
_UNKNOWN_LIFETIME_S = 60.0
_DISCOVERY_LIFETIME_S = 3600.0
_BUSY = {408, 425, 429}


class Client(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who asks for tokens."""

    id: str | None = None
    secret: str | None = None
    assertion: str | None = None
    authentication: Literal["client_secret_post", "client_secret_basic", "private_key_jwt", "none"] = (
        "client_secret_post"
    )


class Endpoints(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Paths below the authority. Tokens are only fetched; the other two are understood and not needed."""

    token: str = "/oauth2/token"  # noqa: S105 - a path
    revocation: str | None = None
    introspection: str | None = None


class TokenRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    encoding: Literal["application/x-www-form-urlencoded", "application/json"] = "application/x-www-form-urlencoded"


class OAuth(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The properties of ``oauth2`` and ``oidc`` that are supported; what is not is an error, not ignored."""

    authority: str
    grant: Literal["client_credentials", "password"]
    client: Client = Client()
    endpoints: Endpoints = Endpoints()
    request: TokenRequest = TokenRequest()
    scopes: tuple[str, ...] = ()
    audiences: tuple[str, ...] = ()
    issuers: tuple[str, ...] = ()
    username: str = ""
    password: str = ""


def read_config(config: Any) -> OAuth:
    """The typed properties. Raises UnsentError (configuration) that names the property."""
    try:
        return msgspec.convert(config, OAuth)
    except msgspec.ValidationError as problem:
        raise UnsentError(fault("configuration", f"the OAuth properties are not supported: {problem}")) from problem


class _Kept(msgspec.Struct, frozen=True):
    value: str
    until: float


class Tokens:
    """Fetches and keeps access tokens."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._asking: dict[str, asyncio.Lock] = {}

    async def get(self, config: OAuth, variables: Any, deadline: float, *, discover: bool, renew: bool = False) -> str:
        """An access token for an ``oauth2`` (or, with `discover`, ``oidc``) configuration. Raises UnsentError.

        `renew` asks anew even if a token is kept: the participant did not accept it.
        """
        authority = address(config.authority, variables)
        key = _digest([str(authority), discover, config])
        stale = self._find(key)
        if stale is not None and not renew:
            return stale.value
        lock = self._asking.setdefault(key, asyncio.Lock())
        try:
            async with asyncio.timeout_at(deadline), lock:
                found = self._find(key)
                if found is not None and found is not stale:
                    return found.value  # someone else has just asked
                endpoint = await self._endpoint(config, authority, variables, deadline, discover=discover)
                token, lifetime_s = await self._ask(config, endpoint, deadline)
                self._keep(key, token, lifetime_s)
                return token
        except TimeoutError:
            raise UnsentError(fault("timeout", f"no access token from {authority.origin()} in time")) from None
        finally:
            if not lock.locked():
                self._asking.pop(key, None)

    def _find(self, key: str) -> _Kept | None:
        kept = self._kept.get(key)
        return kept if kept is not None and kept.until > time.monotonic() else None

    def _keep(self, key: str, value: str, lifetime_s: float) -> None:
        # Short-lived tokens lose a tenth of their life to the leeway, not all of it.
        self._kept[key] = _Kept(value, time.monotonic() + lifetime_s - min(_LEEWAY_S, lifetime_s / 10))
        self._kept.move_to_end(key)
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)

    async def _endpoint(self, config: OAuth, authority: URL, variables: Any, deadline: float, *, discover: bool) -> URL:
        if not discover:
            # "The relative path": it is appended to the authority's own path, also when it starts with a slash.
            return address(str(authority).rstrip("/") + "/" + config.endpoints.token.lstrip("/"), variables)
        where = authority if authority.path.endswith(DISCOVERY) else URL(str(authority).rstrip("/") + "/" + DISCOVERY)
        key = _digest(["discovery", str(where)])
        if (kept := self._find(key)) is not None:
            return URL(kept.value)
        reply = await self._send(Request("GET", where, {"Accept": "application/json"}), deadline)
        endpoint = _read(reply, where).get("token_endpoint")
        if not isinstance(endpoint, str):
            raise UnsentError(fault("authentication", f"{where} names no token_endpoint"))
        url = address(endpoint, None)
        self._keep(key, str(url), _DISCOVERY_LIFETIME_S)
        return url

    async def _ask(self, config: OAuth, endpoint: URL, deadline: float) -> tuple[str, float]:
        answer = _read(await self._send(_token_request(config, endpoint), deadline), endpoint)
        token = answer.get("access_token")
        if not isinstance(token, str) or not token or not token.isprintable():
            raise UnsentError(fault("authentication", f"{endpoint} gave no access_token"))
        _check_issuer(config, token)
        lifetime = answer.get("expires_in")
        try:
            return token, max(0.0, float(lifetime)) if lifetime is not None else _UNKNOWN_LIFETIME_S
        except (TypeError, ValueError):
            return token, _UNKNOWN_LIFETIME_S

    async def _send(self, request: Request, deadline: float) -> Reply:
        try:
            reply = await self._exchange.send(request, deadline)
        except LostError as problem:
            # The token request is lost, but the callout itself was never sent.
            raise UnsentError(problem.fault) from problem
        if 200 <= reply.status < 300:
            return reply
        detail = f"{request.title} answered {reply.status} {reply.reason}".rstrip()
        if reply.status >= 500 or reply.status in _BUSY:
            retry_after_s = read_retry_after(reply.headers.get("retry-after"))
            raise UnsentError(fault("communication", detail, status=reply.status), retry_after_s)
        raise UnsentError(fault("authentication", detail))


def _token_request(config: OAuth, endpoint: URL) -> Request:
    form: dict[str, str] = {"grant_type": config.grant}
    if config.grant == "password":
        form |= {"username": config.username, "password": config.password}
    if config.scopes:
        form["scope"] = " ".join(config.scopes)
    if config.audiences:
        form["audience"] = " ".join(config.audiences)
    headers: dict[str, str] = {"Accept": "application/json", "Content-Type": config.request.encoding}
    _authenticate_client(config.client, form, headers)
    encoded = urlencode(form) if config.request.encoding == FORM else json.dumps(form)
    return Request("POST", endpoint, headers, encoded.encode())


def _authenticate_client(client: Client, form: dict[str, str], headers: dict[str, str]) -> None:
    method = client.authentication
    if method != "none" and client.id is None:
        raise UnsentError(fault("authentication", "oauth2 needs client.id, or client.authentication: none"))
    if method == "client_secret_basic":
        # RFC 6749, 2.3.1: both parts are form-encoded before they are joined.
        pair = f"{quote(client.id or '', safe='')}:{quote(client.secret or '', safe='')}"
        headers["Authorization"] = "Basic " + b64encode(pair.encode()).decode()
        return
    if client.id is not None:
        form["client_id"] = client.id
    if method == "client_secret_post" and client.secret is not None:
        form["client_secret"] = client.secret
    elif method == "private_key_jwt":
        form["client_assertion_type"] = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        form["client_assertion"] = client.assertion or ""


def _read(reply: Reply, where: URL) -> dict[str, Any]:
    problem = reply.damage
    if problem is None:
        try:
            value = read_json(reply.body)
            if isinstance(value, dict):
                return value
            problem = "it is not a JSON object"
        except UnreadableError as unreadable:
            problem = str(unreadable)
    raise UnsentError(fault("authentication", f"the answer of {where} cannot be used: {problem}"))


def _check_issuer(config: OAuth, token: str) -> None:
    """Compare the token's ``iss`` with ``issuers``. Its signature is the participant's business, not ours."""
    if not config.issuers:
        return
    try:
        payload = token.split(".")[1]
        issuer = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["iss"]
    except (IndexError, KeyError, TypeError, ValueError):
        issuer = None
    if issuer not in config.issuers:
        raise UnsentError(
            fault("authentication", f"the access token's issuer {issuer!r} is not one of {config.issuers}")
        )


def _digest(value: Any) -> str:
    return hashlib.sha256(msgspec.json.encode(value)).hexdigest()
