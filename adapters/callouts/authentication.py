"""Authentication of a request: basic, bearer, digest, OAuth 2 and OpenID Connect.

Takes one authentication object of the standard (``{"basic": {...}}``), fully evaluated, references to
``use.authentications`` already inlined. ``use`` *inside* a scheme names a secret that holds the scheme's
properties. What cannot be authenticated is not sent: `UnsentError`.
"""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import aiohttp
import msgspec

from adapters.callouts.content import is_field_value
from adapters.callouts.exchange import UnsentError
from adapters.callouts.oauth import Tokens, read_config
from adapters.callouts.uris import json_kind
from application.ports import Secrets
from domain.errors import fault


class Credentials(msgspec.Struct, frozen=True):
    """What is added to a request; `renewable` ones may be asked for anew after a 401."""

    headers: dict[str, str] = {}
    middlewares: tuple[aiohttp.ClientMiddlewareType, ...] = ()
    renewable: bool = False


class Authenticator:
    """Turns authentication objects into credentials."""

    def __init__(self, tokens: Tokens, secrets: Secrets) -> None:
        self._tokens = tokens
        self._secrets = secrets

    async def credentials(
        self, authentication: Any, variables: Any, deadline: float, *, renew: bool = False
    ) -> Credentials:
        """Credentials for one request; `variables` fill the URI templates of an authority. Raises UnsentError."""
        if not authentication:
            return Credentials()
        scheme, config = self._scheme(authentication)
        if scheme == "bearer":
            return _authorization(f"Bearer {_member(config, 'token', scheme)}")
        if scheme in ("basic", "digest"):
            user, password = _member(config, "username", scheme), _member(config, "password", scheme)
            return _basic(user, password) if scheme == "basic" else _digest(user, password)
        if scheme in ("oauth2", "oidc"):
            token = await self._tokens.get(
                read_config(config), variables, deadline, discover=scheme == "oidc", renew=renew
            )
            return _authorization(f"Bearer {token}", renewable=True)
        raise UnsentError(fault("configuration", f"the authentication scheme {scheme!r} is not supported"))

    def _scheme(self, authentication: Any) -> tuple[str, dict[str, Any]]:
        if not isinstance(authentication, dict) or len(authentication) != 1:
            raise UnsentError(fault("configuration", "authentication must be an object with exactly one scheme"))
        ((scheme, config),) = authentication.items()
        if scheme == "use":
            raise UnsentError(
                fault("authorization", f"the authentication {config!r} is not defined in use.authentications")
            )
        if isinstance(config, dict) and "use" in config:
            config = self._secret(scheme, config["use"])
        if not isinstance(config, dict):
            raise UnsentError(
                fault("configuration", f"authentication.{scheme} must be an object, not {json_kind(config)}")
            )
        return scheme, config

    def _secret(self, scheme: str, name: Any) -> Any:
        secret = self._secrets.get(name) if isinstance(name, str) else None
        if secret is None:
            raise UnsentError(
                fault("authorization", f"authentication.{scheme} uses the secret {name!r}, which is not set")
            )
        return {"token": secret} if scheme == "bearer" and isinstance(secret, str) else secret


def _member(config: dict[str, Any], name: str, scheme: str) -> str:
    value = config.get(name)
    if not isinstance(value, str) or not is_field_value(value):
        found = "missing" if value is None else f"{json_kind(value)}" if not isinstance(value, str) else "not one line"
        raise UnsentError(
            fault("authentication", f"authentication.{scheme}.{name} must be a line of text; it is {found}")
        )
    return value


def _authorization(value: str, *, renewable: bool = False) -> Credentials:
    return Credentials(headers={"Authorization": value}, renewable=renewable)


def _basic(user: str, password: str) -> Credentials:
    if ":" in user:
        raise UnsentError(fault("authentication", "authentication.basic.username must not contain a colon"))
    return _authorization("Basic " + b64encode(f"{user}:{password}".encode()).decode())


def _digest(user: str, password: str) -> Credentials:
    try:
        # One per request: it waits for the challenge (RFC 7616) and then sends the request again with the answer to it.
        return Credentials(middlewares=(aiohttp.DigestAuthMiddleware(user, password, preemptive=False),))
    except ValueError as problem:
        raise UnsentError(fault("authentication", f"authentication.digest: {problem}")) from problem
